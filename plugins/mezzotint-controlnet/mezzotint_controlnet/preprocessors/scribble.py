"""`scribble`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mezzotint.errors import RequestError

if TYPE_CHECKING:
    from PIL.Image import Image


def scribble(image: Image, *, threshold: int = 32, fine: float = 0.5, coarse: float = 5.0) -> Image:
    """Loose white strokes on black, by a difference of Gaussians (XDoG, Winnemöller et al. 2012, thresholded).

    Args:
        threshold: how much darker than its surroundings a stroke is, 0 to 510.
        fine, coarse: standard deviations of the two Gaussians, in pixels.
    """
    import cv2
    import numpy as np
    from PIL import Image

    if not 0 < fine < coarse <= 256:
        raise RequestError(f"scribble: 0 < fine < coarse <= 256 is needed, got fine={fine}, coarse={coarse}")
    pixels = np.asarray(image.convert("RGB")).astype(np.float32)
    difference = cv2.GaussianBlur(pixels, (0, 0), coarse) - cv2.GaussianBlur(pixels, (0, 0), fine)
    # As the web UI's scribble_xdog counts: the weakest channel, rounded to whole levels, doubled.
    darker = 255 - (255 - difference.min(axis=2)).clip(0, 255).astype(np.uint8)
    strokes = np.where(2 * darker.astype(np.int32) > threshold, np.uint8(255), np.uint8(0))
    return Image.fromarray(strokes).convert("RGB")
