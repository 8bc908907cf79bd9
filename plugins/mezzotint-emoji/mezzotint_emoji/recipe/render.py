"""Pictures as arrays of 64 × 64 pixels with transparency."""

import io
import json
from functools import cache
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from .manifest import Picture

SIZE = 64
MARGIN = 3


def render(picture: Picture, unpacked: Path) -> np.ndarray:
    """Draw one picture, uint8 (SIZE, SIZE, 4), with `MARGIN` transparent pixels around."""
    folder = unpacked / picture.archive / "package"
    if picture.name.endswith(".webp"):
        image = Image.open(folder / "assets" / picture.name).convert("RGBA")
    else:
        svg = icon_svg(folder, picture.name)
        image = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=128, height=128))))
        image = image.convert("RGBA")
    side = max(image.size)
    square = Image.new("RGBA", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    inner = SIZE - 2 * MARGIN
    # Colour is premultiplied by alpha while it is resized, or the edges get dark halos.
    small = square.convert("RGBa").resize((inner, inner), Image.Resampling.LANCZOS).convert("RGBA")
    canvas = Image.new("RGBA", (SIZE, SIZE))
    canvas.paste(small, (MARGIN, MARGIN))
    return np.asarray(canvas)


def on_background(rgba: np.ndarray, color: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    """Composite uint8 (n, h, w, 4) onto one colour, uint8 (n, h, w, 3)."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    pixels = rgba[..., :3] * alpha + np.asarray(color, np.float32) * (1 - alpha)
    return pixels.round().astype(np.uint8)


def icon_svg(folder: Path, name: str) -> str:
    """One icon of an Iconify package as an SVG document."""
    icons = _icons(folder)
    if name not in icons["icons"]:
        name = icons["aliases"][name]["parent"]
    icon = icons["icons"][name]
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    view_box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {namespaces} viewBox="{view_box}">{icon["body"]}</svg>'


@cache
def _icons(folder: Path) -> dict:
    return json.loads((folder / "icons.json").read_text())
