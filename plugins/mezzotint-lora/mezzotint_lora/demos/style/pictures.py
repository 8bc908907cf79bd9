"""Which 200 pictures are trained on, and which concepts are kept to look at."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .art import FLUENT_FLAT, TWEMOJI, Art

COUNT = 200
PHRASE = "twemoji of"
"""What the captions begin with; words that the base model knows nothing of."""


def concepts(work: Path) -> tuple[list[str], list[str]]:
    """Names to train on, and the others; both sets are in an order that says nothing about what they show.

    All are in the flat set as well, so that the base model has had a chance to know them.
    """
    shared = set(Art(TWEMOJI, work).names()) & set(Art(FLUENT_FLAT, work).names())
    ranked = sorted(shared, key=lambda name: hashlib.sha256(f"style {name}".encode()).hexdigest())
    return ranked[:COUNT], ranked[COUNT:]


def caption(name: str, phrase: str = PHRASE) -> str:
    """`twemoji of cat face`."""
    return f"{phrase} {name.replace('-', ' ')}"


def write_pictures(work: Path, folder: Path) -> Path:
    """The 200 pictures with their captions beside them, as any folder to train on."""
    folder.mkdir(parents=True, exist_ok=True)
    art = Art(TWEMOJI, work)
    for name in concepts(work)[0]:
        art.picture(name).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"{caption(name)}\n")
    return folder
