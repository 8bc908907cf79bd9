"""Outlines drawn by hand, and what they make of a prompt: the same noise with and without them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ..command import Demo
from ..drawing import PLAIN, draw, with_control
from ..sheet import write_sheet

Pen = ImageDraw.ImageDraw
SEED = 3


def circle(pen: Pen) -> None:
    """In a corner."""
    pen.ellipse((4, 8, 34, 38), outline="white")


def house(pen: Pen) -> None:
    """With a door."""
    pen.polygon([(10, 30), (32, 10), (54, 30)], outline="white")
    pen.rectangle((15, 30, 49, 56), outline="white")
    pen.rectangle((28, 42, 37, 56), outline="white")


def heart(pen: Pen) -> None:
    """The curve of four cosines."""
    turn = np.linspace(0, 2 * np.pi, 200)
    across = 16 * np.sin(turn) ** 3
    up = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
    pen.line([(32 + 1.1 * x, 30 - 1.1 * y) for x, y in zip(across, up, strict=True)], fill="white")


def tree(pen: Pen) -> None:
    """A triangle on a trunk."""
    pen.polygon([(32, 4), (14, 44), (50, 44)], outline="white")
    pen.rectangle((28, 44, 36, 58), outline="white")


DRAWN: dict[str, Callable[[Pen], None]] = {
    "flat icon of slightly smiling face": circle,
    "flat icon of house": house,
    "flat icon of evergreen tree": tree,
    "flat icon of strawberry": heart,
    "3d render of pizza": heart,
}


def show_outlines(demo: Demo, network: Path) -> Path:
    """A row for each prompt."""
    outlines = [drawn_by(shape) for shape in DRAWN.values()]
    pictures = {
        name: draw(demo.pipe, list(DRAWN), demo.kept, f"outlines, {name}", use=use, seed=SEED)
        for name, use in {"with it": with_control(network, outlines), "without": PLAIN}.items()
    }
    return write_sheet(demo.folder / "outlines.png", {"outline": np.stack(outlines), **pictures}, list(DRAWN))


def drawn_by(shape: Callable[[Pen], None]) -> np.ndarray:
    """White on black, (64, 64, 3)."""
    canvas = Image.new("RGB", (64, 64))
    shape(ImageDraw.Draw(canvas))
    return np.asarray(canvas)
