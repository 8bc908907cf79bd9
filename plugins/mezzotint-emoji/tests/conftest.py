"""Small drawings to make scenes of."""

from collections.abc import Callable

import numpy as np
import pytest
from mezzotint_emoji.recipe.manifest import Picture

LABELS = ("ghost", "red apple", "dog face", "right arrow", "chair", "owl")


def _picture(label: str = "ghost", style: str = "3d", tags: tuple[str, ...] = ("face", "fantasy")) -> Picture:
    code = f"1f{sum(map(ord, label)):03x}"
    return Picture(style, "MIT", code, code, label, tags, "objects", False, "package", "file")


@pytest.fixture(scope="session")
def picture() -> Callable[..., Picture]:
    """Makes a row of a manifest of a label, a style and tags."""
    return _picture


@pytest.fixture(scope="session")
def pictures() -> list[Picture]:
    return [_picture(label, tags=("puppy", label.split()[0])) for label in LABELS]


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """Rectangles of different size and colour, (n, 64, 64, 4)."""
    drawings = np.zeros((len(LABELS), 64, 64, 4), np.uint8)
    for i, drawing in enumerate(drawings):
        drawing[10 + 2 * i : 54, 8 + i : 58 - 3 * i] = (40 * i, 255 - 40 * i, 128, 255)
    return drawings
