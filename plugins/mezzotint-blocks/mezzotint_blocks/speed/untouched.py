"""Whether a block is as its model made it, so that a recording of it would say the same."""

from __future__ import annotations

from typing import Any


def is_changed_inside(block: Any, but: type | tuple[type, ...] = ()) -> bool:
    """Whether another extension is at work in a block: a forward, a processor, a hook, an adapter that is not fused.

    The scale of such an adapter is a number, which a recording would keep as it was.

    Args:
        but: class of forwards that do not count.
    """
    from diffusers.models.attention_processor import AttnProcessor2_0

    for module in block.modules():
        own = vars(module)
        if module is not block and "forward" in own and not isinstance(own["forward"], but):
            return True
        if type(own.get("processor")) not in (type(None), AttnProcessor2_0):
            return True
        if module._forward_hooks or module._forward_pre_hooks or hasattr(module, "base_layer"):
            return True
    return False
