"""Scenes: one or two drawings placed on a background, as data that can be drawn, captioned and pointed at.

The art has transparency, so a scene is composed without a cut-out, and the box and the mask of each object are
exactly known.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from .render import SIZE

WHITE = (255, 255, 255)
BACKGROUNDS = {
    "white": WHITE,
    "light blue": (173, 216, 240),
    "blue": (60, 120, 216),
    "dark blue": (28, 44, 110),
    "light green": (180, 230, 170),
    "green": (60, 160, 80),
    "yellow": (255, 224, 90),
    "orange": (255, 165, 70),
    "red": (214, 60, 60),
    "pink": (255, 190, 210),
    "purple": (140, 90, 190),
    "brown": (140, 96, 64),
    "gray": (150, 150, 150),
    "black": (16, 16, 16),
}
RELATIONS = {
    "left of": 4,
    "right of": 4,
    "above": 2,
    "below": 2,
    "on": 4,
    "in front of": 2,
    "behind": 1,
    "next to": 1,
    "and": 2,
}
"""How two things lie in one picture, and how often each comes."""
Box = tuple[int, int, int, int]
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Placed:
    """Drawing `index` of the data, its art scaled to fill `box` (left, top, right, bottom), in pixels."""

    index: int
    box: Box
    mirrored: bool = False


@dataclass(frozen=True)
class Scene:
    """Objects from back to front on one colour."""

    objects: tuple[Placed, ...]
    background: Color = WHITE


@dataclass(frozen=True)
class Drawn:
    """A scene as pixels (SIZE, SIZE, 3) uint8, and what is visible of each object, (SIZE, SIZE) in 0 to 255."""

    pixels: np.ndarray
    masks: tuple[np.ndarray, ...]


def extent(rgba: np.ndarray) -> Box:
    """The smallest box around what is visible of one drawing, (h, w, 4)."""
    visible = rgba[..., 3] > 16
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def draw_scene(scene: Scene, pixels: np.ndarray) -> Drawn:
    """Compose a scene from `pixels`, the drawings (n, SIZE, SIZE, 4), back to front."""
    canvas = Image.new("RGBA", (SIZE, SIZE), (*scene.background, 255))
    masks: list[np.ndarray] = []
    for placed in scene.objects:
        layer = Image.new("RGBA", (SIZE, SIZE))
        layer.paste(_scaled(pixels[placed.index], placed), placed.box[:2])
        canvas.alpha_composite(layer)
        alpha = np.asarray(layer)[..., 3]
        masks = [(mask * (1 - alpha / 255.0)).round().astype(np.uint8) for mask in masks]
        masks.append(alpha)
    return Drawn(np.asarray(canvas)[..., :3], tuple(masks))


def place(index: int, box: Box, scale: float, center: tuple[float, float], mirrored: bool = False) -> Placed:
    """A drawing of extent `box`, scaled and moved, kept inside the picture."""
    width, height = (max(4, round(scale * side)) for side in (box[2] - box[0], box[3] - box[1]))
    width, height = min(width, SIZE), min(height, SIZE)
    left = int(np.clip(round(center[0] - width / 2), 0, SIZE - width))
    top = int(np.clip(round(center[1] - height / 2), 0, SIZE - height))
    return Placed(index, (left, top, left + width, top + height), mirrored)


def _scaled(rgba: np.ndarray, placed: Placed) -> Image.Image:
    box = extent(rgba)
    art = Image.fromarray(rgba).crop(box)
    size = (placed.box[2] - placed.box[0], placed.box[3] - placed.box[1])
    if art.size != size:
        # Premultiplied while it is resized, or the edges get dark halos.
        art = art.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    return art.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if placed.mirrored else art
