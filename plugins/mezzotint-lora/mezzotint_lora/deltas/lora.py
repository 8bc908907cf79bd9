"""LoRA (Hu et al. 2021, eq. 3) and LoCon, its form for convolutions: ΔW = up · (mid ·) down · α / r."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def rank(tensors: Mapping[str, Tensor]) -> int:
    """Rows of `down`."""
    return int(tensors["down"].shape[0])


highest_rank = rank


def delta_weight(tensors: Mapping[str, Tensor]) -> Tensor:
    """ΔW without α / r, (out, in) or (out, in, kh, kw)."""
    down, up = factors(tensors)
    return (up.flatten(1) @ down.flatten(1)).view(up.shape[0], *down.shape[1:])


def factors(tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(r, in, …) and (out, r, …); a `mid` (Tucker decomposition) is multiplied into `down`.

    `down` comes first and is 1×1 then, so it commutes with the zero padding of the kernel in `mid`.
    """
    import torch

    down, up = tensors["down"], tensors["up"]
    if "mid" in tensors:
        down = torch.einsum("r s h w, s i -> r i h w", tensors["mid"], down.flatten(1))
    return down, up
