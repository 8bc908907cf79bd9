"""LoKr: ΔW = w1 ⊗ w2 · α / r, either factor whole or of low rank (Yeh et al. 2023, LyCORIS, sec. 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def rank(tensors: Mapping[str, Tensor]) -> int:
    """Of the factor of low rank; where both are whole, the rank that would not have been low."""
    for name in ("w1_b", "w2_b"):
        if name in tensors:
            return int(tensors[name].shape[0])
    return int(max(tensors["w2"].shape[:2]))


def highest_rank(tensors: Mapping[str, Tensor]) -> int:
    """Of ΔW as a matrix: the product of its factors' ranks."""
    first, second = (
        min(len(whole), whole[0].numel())
        if (whole := tensors.get(f"w{which}")) is not None
        else len(tensors.get(f"t{which}", tensors[f"w{which}_b"]))
        for which in "12"
    )
    return int(first * second)


def is_scaled(tensors: Mapping[str, Tensor]) -> bool:
    """Whether α / r counts: LyCORIS ignores it where both factors are whole."""
    return not {"w1", "w2"} <= tensors.keys()


def delta_weight(tensors: Mapping[str, Tensor]) -> Tensor:
    """ΔW without α / r; (out, in · kh · kw) for a convolution whose w2 is flat."""
    import torch

    first = tensors["w1"] if "w1" in tensors else tensors["w1_a"] @ tensors["w1_b"]
    second = _second(tensors)
    return torch.kron(first.reshape(*first.shape, *[1] * (second.ndim - 2)), second)


def _second(tensors: Mapping[str, Tensor]) -> Tensor:
    import torch

    if "w2" in tensors:
        return tensors["w2"]
    a, b = tensors["w2_a"], tensors["w2_b"]
    if "t2" in tensors:
        # torch.kron refuses some orders of memory.
        return torch.einsum("r s h w, r o, s i -> o i h w", tensors["t2"], a, b).contiguous()
    return a @ b
