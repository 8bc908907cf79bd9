"""What a value derived from weights depends on, cheap enough to be compared at every call."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from torch import Tensor

State = Hashable


def weight_state(*weights: Tensor | None) -> State:
    """Changes when a weight is written in place, gets other storage, or is another tensor."""
    return tuple(None if w is None else (id(w), w._version, w.data_ptr(), w.dtype) for w in weights)


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
