"""DoRA: the direction of W + ΔW with a length of its own, m · (W + ΔW) / ‖W + ΔW‖ (Liu et al. 2024, eq. 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def delta_weight(weight: Tensor, change: Tensor, magnitude: Tensor) -> Tensor:
    """What DoRA adds to a weight, as a difference, so that a multiple of it is between the base and all of it.

    Args:
        weight: the base, (out, in, …).
        change: ΔW with α / r.
        magnitude: (out, 1, …), a length for each row; or (1, in, …), for each column, as older LyCORIS wrote.

    The norm has LyCORIS's ε, so that a row of zeros stays one.
    """
    import torch

    moved = weight + change
    kept = 0 if by_rows(magnitude, weight) else 1
    dims = [dim for dim in range(weight.ndim) if dim != kept]
    norm = torch.linalg.vector_norm(moved, dim=dims, keepdim=True) + torch.finfo(moved.dtype).eps
    return moved * (magnitude / norm) - weight


def by_rows(magnitude: Tensor, weight: Tensor) -> bool:
    """Whether there is a length for each output, rather than for each input."""
    return magnitude.shape[0] == weight.shape[0] and magnitude.numel() == weight.shape[0]
