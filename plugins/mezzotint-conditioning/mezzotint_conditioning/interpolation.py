"""Between two embeddings: along the line, or along the arc."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mezzotint import Conditioning
    from torch import Tensor


class Interpolation(StrEnum):
    """The way from one embedding to another."""

    LERP = "lerp"
    """The straight line: (1 − t) a + t b."""
    SLERP = "slerp"
    """The arc between the directions (Shoemake 1985), and the line between the lengths."""


def interpolate(start: Tensor, end: Tensor, t: Tensor, mode: Interpolation) -> Tensor:
    """Embeddings (rows, tokens, dim) between `start` at t = 0 and `end` at t = 1, where they are exact.

    Args:
        t: (rows, 1, 1).
        mode: slerp goes along the arc for each token by itself.
    """
    import torch

    between = torch.lerp(start, end, t) if mode is Interpolation.LERP else _slerp(start, end, t)
    return torch.where(t == 0, start, torch.where(t == 1, end, between))


def interpolate_conditionings(
    start: Conditioning, end: Conditioning, t: Tensor, mode: Interpolation
) -> Conditioning:
    """`start` with embeddings, mask and pooled text between those of both; sizes and the like stay.

    Args:
        t: (rows, 1, 1).
    """
    added = dict(start.added)
    if "text_embeds" in start.added and "text_embeds" in end.added:
        pooled = (each.added["text_embeds"][:, None] for each in (start, end))
        added["text_embeds"] = interpolate(*pooled, t, mode)[:, 0]
    return start.replace(
        embeddings=interpolate(start.embeddings, end.embeddings, t, mode),
        attention_mask=interpolate_masks(start.attention_mask, end.attention_mask, t),
        added=added,
    )


def interpolate_masks(start: Tensor | None, end: Tensor | None, t: Tensor) -> Tensor | None:
    """The mask (rows, tokens) over what `interpolate` gives: tokens that either has, at t = 0 and 1 those of one.

    Args:
        start, end: 1 for tokens to attend to; `None` is all.
        t: (rows, 1, 1).
    """
    import torch

    if start is None and end is None:
        return None
    like = start if start is not None else end
    start, end = (torch.ones_like(like) if mask is None else mask for mask in (start, end))
    t = t[:, :, 0]
    return torch.where(t == 0, start, torch.where(t == 1, end, torch.maximum(start, end)))


def _slerp(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    import torch

    lengths = [each.norm(dim=-1, keepdim=True) for each in (start, end)]
    directions = [each / length.clamp(min=1e-12) for each, length in zip((start, end), lengths, strict=True)]
    angle = (directions[0] * directions[1]).sum(dim=-1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    arc = (((1 - t) * angle).sin() * directions[0] + (t * angle).sin() * directions[1]) / sine.clamp(
        min=1e-12
    )
    # Along one line there is no arc, and between opposites none that is the shortest.
    return torch.where(sine < 1e-4, torch.lerp(start, end, t), arc * torch.lerp(*lengths, t))
