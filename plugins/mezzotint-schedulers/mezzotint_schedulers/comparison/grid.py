"""The pictures on one sheet: a row for each solver and spacing, a column for each number of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

    from .report import Report
    from .running import Outcome

SIZE = 160
"""Pixels of a picture on the sheet, the longer side."""
GAP = 10
LINE = 14


def grid(report: Report) -> Image:
    """The sheet, with evaluations, seconds and distance below each picture."""
    from PIL import Image, ImageDraw, ImageFont

    rows, columns = report.rows, report.columns
    font = ImageFont.load_default(size=12)
    left = GAP * 2 + max(int(font.getlength(row)) for row in rows)
    cell_width = max(SIZE, int(font.getlength("0000 evaluations, 000.00 s"))) + GAP
    cell_height = SIZE + 2 * LINE + GAP
    top = LINE + 2 * GAP
    page = Image.new("RGB", (left + len(columns) * cell_width, top + len(rows) * cell_height), "white")
    draw = ImageDraw.Draw(page)
    for column, steps in enumerate(columns):
        draw.text((left + column * cell_width, GAP), f"{steps} steps", "black", font)
    for number, row in enumerate(rows):
        y = top + number * cell_height
        draw.text((GAP, y + SIZE // 2 - LINE), row, "black", font)
        for column, steps in enumerate(columns):
            found, x = report.at(row, steps), left + column * cell_width
            if isinstance(found, str):
                draw.text((x, y + SIZE // 2 - LINE), "not run" if found else "", "grey", font)
                continue
            page.paste(_fitted(found.image), (x, y))
            for line, text in enumerate(captions(found)):
                draw.text((x, y + SIZE + 2 + line * LINE), text, "black", font)
    return page


def captions(one: Outcome) -> tuple[str, str]:
    """The two lines below a picture."""
    distance = one.why_none if one.distance is None else f"distance {one.distance:.4f}"
    return f"{one.evaluations} evaluations, {one.seconds:.2f} s", distance


def _fitted(image: Image) -> Image:
    from PIL import Image as images

    scale = SIZE / max(image.size)
    # Few pixels are to be seen as such, many are to be averaged.
    how = images.Resampling.NEAREST if scale > 1 else images.Resampling.LANCZOS
    return image.convert("RGB").resize((round(image.width * scale), round(image.height * scale)), how)
