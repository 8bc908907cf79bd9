"""`blur`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mezzotint.errors import RequestError

if TYPE_CHECKING:
    from PIL.Image import Image


def blur(image: Image, *, sigma: float = 9.0) -> Image:
    """Gaussian blur: colours and composition stay, detail is for the model to invent.

    Args:
        sigma: standard deviation in pixels of the picture.
    """
    import cv2
    import numpy as np
    from PIL import Image

    if not 0 < sigma <= 256:
        raise RequestError(f"blur: sigma must lie above 0 and be at most 256 pixels, got {sigma}")
    return Image.fromarray(cv2.GaussianBlur(np.asarray(image.convert("RGB")), (0, 0), sigma))
