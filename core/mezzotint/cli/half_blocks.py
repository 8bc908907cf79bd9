"""An image in a terminal: two pixels a character, the upper half block over a coloured background."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.text import Text

MAX_COLUMNS = 48


def half_blocks(image: Image, columns: int, lines: int) -> Text:
    """The image, scaled to fit into so many columns and lines of a terminal."""
    from PIL import Image
    from rich.style import Style
    from rich.text import Text

    scale = min(min(columns, MAX_COLUMNS) / image.width, 2 * max(lines, 1) / image.height)
    width, height = max(1, round(image.width * scale)), max(2, round(image.height * scale) // 2 * 2)
    pixels = image.convert("RGB").resize((width, height), Image.Resampling.BOX).tobytes()
    text = Text(no_wrap=True)
    for row in range(0, height, 2):
        for column in range(width):
            upper, lower = (3 * ((row + half) * width + column) for half in (0, 1))
            colours = [f"rgb({pixels[at]},{pixels[at + 1]},{pixels[at + 2]})" for at in (upper, lower)]
            text.append("▀", Style(color=colours[0], bgcolor=colours[1]))
        text.append("\n")
    return text
