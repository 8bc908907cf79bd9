"""Region masks: a control that acts in a part of the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def masked(residual: Tensor, mask: Tensor | None) -> Tensor:
    """The residual times the mask at its resolution.

    Bilinear, as sd-webui-controlnet samples `effective_region_mask`: a residual is exactly 0 wherever the
    mask is black at the points that it is sampled from.

    Args:
        residual: (rows, c, h, w).
        mask: (1 or rows, 1, height, width) from 0 to 1, or none.
    """
    if mask is None:
        return residual
    from torch.nn.functional import interpolate

    return residual * interpolate(mask, size=residual.shape[-2:], mode="bilinear").to(residual.dtype)
