"""LoHa: ΔW = (w1_a · w1_b) ∘ (w2_a · w2_b) · α / r (Hyeon-Woo et al. 2021, FedPara, prop. 1 and 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def rank(tensors: Mapping[str, Tensor]) -> int:
    """Rows of `w1_b`."""
    return int(tensors["w1_b"].shape[0])


def highest_rank(tensors: Mapping[str, Tensor]) -> int:
    """Of ΔW as a matrix (prop. 1): the product of its halves' ranks."""
    first, second = (len(tensors.get(f"t{which}", tensors[f"w{which}_b"])) for which in "12")
    return int(first * second)


def delta_weight(tensors: Mapping[str, Tensor]) -> Tensor:
    """ΔW without α / r; (out, in · kh · kw) for a convolution without a Tucker core."""
    return _half(tensors, "1") * _half(tensors, "2")


def _half(tensors: Mapping[str, Tensor], which: str) -> Tensor:
    import torch

    a, b = tensors[f"w{which}_a"], tensors[f"w{which}_b"]
    core = tensors.get(f"t{which}")
    if core is None:
        return a @ b
    return torch.einsum("r s h w, r o, s i -> o i h w", core, a, b)
