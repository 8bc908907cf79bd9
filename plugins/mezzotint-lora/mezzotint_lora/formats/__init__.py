"""The layouts of LoRA files; the one that understands the most keys is the file's."""

from __future__ import annotations

from collections.abc import Iterable

from . import diffusers, kohya, peft
from .layout import Layout

LAYOUTS = (kohya.LAYOUT, diffusers.LAYOUT, peft.LAYOUT)


def detect(keys: Iterable[str]) -> Layout | None:
    """The layout that reads all keys or else the most, the first of several; `None` if none reads any."""
    listed = list(keys)
    best, most = None, 0
    for layout in LAYOUTS:
        count = layout.reads(listed)
        if count == len(listed) and listed:
            return layout
        if count > most:
            best, most = layout, count
    return best
