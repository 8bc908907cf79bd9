"""`shuffle`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mezzotint.errors import RequestError

if TYPE_CHECKING:
    from PIL.Image import Image


LONGEST = 2**15 - 1
"""OpenCV counts in 16 bits here."""


def shuffle(image: Image, *, seed: int = 0, scale: int = 256) -> Image:
    """The picture's colours without its composition: pixels from places that a smooth random flow names.

    Args:
        seed: of the flow; the same seed gives the same picture.
        scale: coarseness of the flow in pixels of a picture of 512; larger moves larger pieces.
    """
    import cv2
    import numpy as np
    from PIL import Image

    if seed < 0 or scale < 1:
        raise RequestError(
            f"shuffle: seed must be at least 0 and scale at least 1, got seed={seed}, scale={scale}"
        )
    random = np.random.default_rng(seed)
    width, height = image.size
    if max(width, height) > LONGEST:
        raise RequestError(
            f"shuffle takes sides of up to {LONGEST} pixels, and this picture is {width}×{height}"
        )
    across = _smooth(random, width, height, scale) * (width - 1)
    down = _smooth(random, width, height, scale) * (height - 1)
    pixels = np.asarray(image.convert("RGB"))
    return Image.fromarray(cv2.remap(pixels, across, down, cv2.INTER_LINEAR))


def _smooth(random: Any, width: int, height: int, scale: int) -> Any:
    """Noise (height, width) that changes over `scale` pixels of 512, from 0 to 1 exactly."""
    import cv2
    import numpy as np

    cells = max(2, round(512 / scale) + 1)
    noise = cv2.resize(
        random.random((cells, cells), np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    low, high = noise.min(), noise.max()
    return ((noise - low) / max(high - low, np.float32(1e-6))).astype(np.float32)
