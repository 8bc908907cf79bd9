"""A sheet of pictures with the names of its rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP, HEAD, SIZE = 4, 20, 12


def write_sheet(path: Path, columns: Mapping[str, np.ndarray], rows: Sequence[str]) -> Path:
    """A column of pictures (rows, height, width, 3) for each name, a name beside each row."""
    font = ImageFont.load_default(SIZE)
    beside = round(max(font.getlength(name) for name in rows)) + 2 * GAP
    _, high, wide, _ = next(iter(columns.values())).shape
    sheet = Image.new("RGB", (beside + len(columns) * (wide + GAP), HEAD + len(rows) * (high + GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    for row, name in enumerate(rows):
        pen.text((GAP, HEAD + row * (high + GAP) + high // 2), name, "black", font, anchor="lm")
    for column, (name, pictures) in enumerate(columns.items()):
        left = beside + column * (wide + GAP)
        pen.text((left + wide // 2, HEAD // 2), name, "black", font, anchor="mm")
        for row, pixels in enumerate(pictures):
            sheet.paste(Image.fromarray(pixels), (left, HEAD + row * (high + GAP)))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)
    return path
