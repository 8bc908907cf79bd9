"""`invert`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def invert(image: Image) -> Image:
    """Black and white exchanged: a drawing on paper becomes white lines on black."""
    from PIL import ImageOps

    return ImageOps.invert(image.convert("RGB"))
