"""Textual inversion, learned on the training core of mezzotint: the vectors alone, everything else is frozen.

    settings = TextualInversionSettings(token="<my-cat>", init="cat", steps=500)
    train_textual_inversion(mezzotint.load("emoji"), "pictures", "my-cat.safetensors", settings)

Names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_WHERE = {
    "TextualInversionSettings": "settings",
    "TextualInversionTrainee": "trainee",
    "attached_word": "trainee",
    "train_textual_inversion": "trainee",
}

__all__ = [*_WHERE]

if TYPE_CHECKING:
    from .settings import TextualInversionSettings as TextualInversionSettings
    from .trainee import TextualInversionTrainee as TextualInversionTrainee
    from .trainee import attached_word as attached_word
    from .trainee import train_textual_inversion as train_textual_inversion


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
