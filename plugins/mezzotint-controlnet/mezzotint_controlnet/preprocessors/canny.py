"""`canny`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mezzotint.errors import RequestError

if TYPE_CHECKING:
    from PIL.Image import Image


def canny(image: Image, *, low: int = 100, high: int = 200) -> Image:
    """White edges on black (Canny 1986, as OpenCV has it).

    Args:
        low, high: gradients below `low` are no edge, above `high` always one; between, where they touch one.
    """
    import cv2
    import numpy as np
    from PIL import Image

    if not 0 <= low <= high:
        raise RequestError(f"canny: low must lie between 0 and high, got low={low}, high={high}")
    edges = cv2.Canny(np.asarray(image.convert("RGB")), low, high)
    return Image.fromarray(edges).convert("RGB")
