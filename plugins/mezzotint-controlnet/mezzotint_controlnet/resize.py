"""How a control map of one size meets a picture of another: the web UI's three resize modes.

`just` stretches; `crop` scales until the picture is covered and takes the middle; `fill` scales until the
map fits and fills the rest with the median colour of its border. Interpolation depends on what the map is
(`detectmap_proc` of sd-webui-controlnet): maps of 3 to 199 colours (segmentation) by nearest neighbour, else
area where the map gets smaller and cubic where it does not; black-and-white maps are black and white again
afterwards, and lines of one pixel are one pixel wide again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

ResizeMode = Literal["just", "crop", "fill"]
MAX_SEGMENTS = 200
"""Fewer colours than this, and more than two, are labels, not shades."""


def resize_map(control: Image, size: tuple[int, int], mode: ResizeMode) -> Image:
    """The RGB map at (width, height); one that has that size already is not touched."""
    if control.size == size:
        return control
    import numpy as np
    from PIL import Image

    pixels = np.asarray(control)
    if mode == "just":
        return Image.fromarray(scale(pixels, size))
    (width, height), (old_width, old_height) = size, control.size
    ratios = width / old_width, height / old_height
    factor = max(ratios) if mode == "crop" else min(ratios)
    # Rounding must not leave a gap where the picture is to be covered, or a side of no pixels.
    scaled = scale(pixels, (max(1, round(old_width * factor)), max(1, round(old_height * factor))))
    top, left = abs(height - scaled.shape[0]) // 2, abs(width - scaled.shape[1]) // 2
    if mode == "crop":
        return Image.fromarray(np.ascontiguousarray(scaled[top : top + height, left : left + width]))
    filled = np.empty((height, width, 3), np.uint8)
    filled[:] = border_colour(pixels)
    filled[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return Image.fromarray(filled)


def border_colour(pixels: Any) -> Any:
    """Median colour of the outermost rows and columns of (h, w, 3); corners count twice."""
    import numpy as np

    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return np.median(border, axis=0).astype(np.uint8)


def scale(pixels: Any, size: tuple[int, int]) -> Any:
    """Pixels (h, w, 3) at (width, height), interpolated as the kind of map demands."""
    import cv2
    import numpy as np

    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    colours = len(np.unique(pixels.reshape(-1, 3), axis=0))
    binary = colours == 2 and pixels.min() < 16 and pixels.max() > 240
    if 2 < colours < MAX_SEGMENTS:
        interpolation = cv2.INTER_NEAREST
    elif size[0] * size[1] < width * height:
        interpolation = cv2.INTER_AREA
    else:
        interpolation = cv2.INTER_CUBIC
    scaled = cv2.resize(pixels, size, interpolation=interpolation)
    if not binary:
        return scaled
    grey = scaled.mean(axis=2).astype(np.uint8)
    _, grey = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    if _is_hairline(pixels):
        grey = thin(grey)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _is_hairline(pixels: Any) -> bool:
    """Whether most of the white in a binary map vanishes when 3 × 3 is opened: lines of one pixel."""
    import cv2
    import numpy as np

    opened = cv2.morphologyEx(pixels, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return bool(2 * (opened < pixels).sum() > (pixels > 127).sum())


def thin(binary: Any) -> Any:
    """Lines of a 0/255 map reduced to one pixel (Zhang & Suen 1984, "A fast parallel algorithm for thinning")."""
    import numpy as np

    ink = np.pad(binary > 0, 1)
    while True:
        before = ink.sum()
        for first, second in (((0, 2, 4), (2, 4, 6)), ((0, 2, 6), (0, 4, 6))):
            # Neighbours clockwise from the north: P2 … P9 of the paper.
            around = np.stack([np.roll(ink, shift, axis=(0, 1)) for shift in _CLOCKWISE])
            count = around.sum(axis=0)
            rises = (~around & np.roll(around, -1, axis=0)).sum(axis=0)
            open_ = ~around[list(first)].all(axis=0) & ~around[list(second)].all(axis=0)
            ink = ink & ~((count >= 2) & (count <= 6) & (rises == 1) & open_)
        if ink.sum() == before:
            return ink[1:-1, 1:-1].astype(np.uint8) * 255


_CLOCKWISE = ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))
