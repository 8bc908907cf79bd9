"""Whether modules are as their model made them, so that a recording of them would say the same."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any


def is_plain(module: Any, kind: type) -> bool:
    """Whether a module is of exactly this class and computes with its own forward.

    A subclass or a wrapper (peft's LoRA layers) computes something else, and so does one whose forward is shadowed.
    """
    hooks = ("_forward_hooks", "_forward_pre_hooks")
    return (
        type(module) is kind
        and "forward" not in vars(module)
        and not any(getattr(module, name) for name in hooks)
    )


def has_foreign_forward(module: Any) -> bool:
    """Whether its forward is somebody's who might answer differently the next time.

    A callable that never does, and depends on nothing but its arguments, says so by an attribute `is_pure`.
    """
    own = vars(module).get("forward")
    return own is not None and not getattr(own, "is_pure", False)


def is_changed_inside(block: Any) -> bool:
    """Whether another extension is at work in a block: a forward, a processor, a hook, an adapter that is not fused.

    The scale of such an adapter is a number, which a recording would keep as it was. The block's own forward does not
    count, as whoever asks has put his own there: see `has_foreign_forward`.
    """
    from diffusers.models.attention_processor import AttnProcessor2_0

    for module in block.modules():
        if module is not block and has_foreign_forward(module):
            return True
        if type(vars(module).get("processor")) not in (type(None), AttnProcessor2_0):
            return True
        if module._forward_hooks or module._forward_pre_hooks or hasattr(module, "base_layer"):
            return True
    return False


def settings_of(block: Any) -> Hashable:
    """The numbers and switches that its modules keep beside their weights, which a recording would keep as they were.

    Diffusers' own switches are such: `unet.enable_freeu(…)`, `unet.enable_forward_chunking(…)`.
    """
    return tuple(
        tuple(
            (name, value)
            for name, value in vars(module).items()
            if value is None or type(value) in (bool, int, float, str)
        )
        for module in block.modules()
    )
