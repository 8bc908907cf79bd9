"""One picture of several images, for `--grid`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def contact_sheet(images: Sequence[Image], columns: int | None = None) -> Image:
    """Images in rows, as square as possible unless `columns` says otherwise, on white with a small gap."""
    from PIL import Image

    columns = min(columns or math.ceil(math.sqrt(len(images))), len(images))
    rows = math.ceil(len(images) / columns)
    width, height = max(image.width for image in images), max(image.height for image in images)
    gap = max(2, min(width, height) // 32)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), "white")
    for position, image in enumerate(images):
        row, column = divmod(position, columns)
        sheet.paste(image, (gap + column * (width + gap), gap + row * (height + gap)))
    return sheet
