"""Textual inversion, learned on the training core of mezzotint: the vectors alone, everything else is frozen.

    settings = TextualInversionSettings(token="<my-cat>", init="cat", steps=500)
    train_textual_inversion(mezzotint.load("emoji"), "pictures", "my-cat.safetensors", settings)

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mezzotint.lazy_names import lazy_names

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


__getattr__ = lazy_names(__name__, _WHERE)
