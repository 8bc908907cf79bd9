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
    width, height = size
    scaled = scale(pixels, scaled_size(control.size, size, mode))
    if mode == "just":
        return Image.fromarray(scaled)
    top, left = abs(height - scaled.shape[0]) // 2, abs(width - scaled.shape[1]) // 2
    if mode == "crop":
        return Image.fromarray(np.ascontiguousarray(scaled[top : top + height, left : left + width]))
    filled = np.empty((height, width, 3), np.uint8)
    filled[:] = border_colour(pixels)
    filled[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return Image.fromarray(filled)


def scaled_size(old: tuple[int, int], size: tuple[int, int], mode: ResizeMode) -> tuple[int, int]:
    """What (width, height) becomes before it is cropped or filled up to `size`."""
    if mode == "just":
        return size
    ratios = size[0] / old[0], size[1] / old[1]
    factor = max(ratios) if mode == "crop" else min(ratios)
    # Rounding must not leave a gap where the picture is to be covered, or a side of no pixels.
    return max(1, round(old[0] * factor)), max(1, round(old[1] * factor))


def resize_picture(picture: Image, size: tuple[int, int]) -> Image:
    """A picture, not a map, at (width, height)."""
    from PIL.Image import Resampling

    smaller = size[0] * size[1] < picture.size[0] * picture.size[1]
    return picture.resize(size, Resampling.LANCZOS if smaller else Resampling.BICUBIC)


def border_colour(pixels: Any) -> Any:
    """Median colour of the outermost rows and columns of (h, w, 3); corners count twice."""
    import numpy as np

    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return np.median(border, axis=0).astype(np.uint8)


def scale(pixels: Any, size: tuple[int, int]) -> Any:
    """Pixels (h, w, 3) at (width, height), interpolated as the kind of map demands."""
    import cv2
    import numpy as np
    from PIL import Image

    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    found = Image.fromarray(pixels).getcolors(MAX_SEGMENTS)
    colours = MAX_SEGMENTS if found is None else len(found)
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
    import cv2
    import numpy as np

    ink = (binary > 0).astype(np.uint8)
    numbered, removed = np.array([[128, 1, 2], [64, 0, 4], [32, 16, 8]], np.float32), _removed()
    while True:
        before = int(ink.sum())
        for half in removed:
            around = cv2.filter2D(ink, cv2.CV_8U, numbered, borderType=cv2.BORDER_CONSTANT)
            ink &= cv2.LUT(around, half)
        if int(ink.sum()) == before:
            return ink * 255


def _removed() -> list[Any]:
    """For each half of an iteration, by the neighbours that are ink as bits of a number: 0 if a pixel goes, else 1.

    Neighbours are numbered clockwise from the north, P2 … P9 of the paper.
    """
    import numpy as np

    around = np.arange(256)[:, None] >> np.arange(8) & 1 > 0
    count = around.sum(1)
    rises = (~around & np.roll(around, -1, axis=1)).sum(1)
    goes = (count >= 2) & (count <= 6) & (rises == 1)
    halves = []
    for first, second in (((0, 2, 4), (2, 4, 6)), ((0, 2, 6), (0, 4, 6))):
        is_open = ~around[:, first].all(1) & ~around[:, second].all(1)
        halves.append((~(goes & is_open)).astype(np.uint8))
    return halves
