"""`tile`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mezzotint.errors import RequestError

if TYPE_CHECKING:
    from PIL.Image import Image


def tile(image: Image, *, down: float = 2.0) -> Image:
    """The picture at a coarser resolution: detail is for the model to add, tile for tile.

    Args:
        down: how much coarser; pixels are averaged, and the result scaled up again.
    """
    import cv2
    import numpy as np
    from PIL import Image

    if not 1 <= down <= 64:
        raise RequestError(f"tile: down must lie between 1 and 64, got {down}")
    width, height = image.size
    coarse = max(1, round(width / down)), max(1, round(height / down))
    small = cv2.resize(np.asarray(image.convert("RGB")), coarse, interpolation=cv2.INTER_AREA)
    return Image.fromarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))
