"""A scorer that has seen Twemoji, to find names in pictures of a style that the recipe's own has never seen."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import replace

import numpy as np
from mezzotint_emoji.recipe.checkpoint import last_state, load_checkpoint, state_file, training_folder
from mezzotint_emoji.recipe.data import Data
from mezzotint_emoji.recipe.hardware import keep_freed_memory
from mezzotint_emoji.recipe.manifest import Picture
from mezzotint_emoji.recipe.scorer import SCHEDULE, fit_scorer

from ..command import Demo
from ..emoji import Emoji
from .pictures import STYLE, Twemoji

STEPS = 300


def judge_of_both(demo: Demo, twemoji: Twemoji, asked: Collection[Picture]) -> Emoji:
    """The recipe's scorer, trained further with Twemoji's pictures of all concepts but those that are `asked` for.

    It has no word for the new style: Twemoji's pictures come under the captions of the flat ones, so that what it tells
    apart is what they show.

    Raises:
        RecipeError: the recipe's scorer is not trained yet.
    """
    before, folder = demo.emoji.work, demo.folder / f"scorer-{len(asked)}"
    last = last_state(before, "scorer")["step"] + STEPS
    state = state_file(folder)
    if not state.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(state_file(training_folder(before, "scorer")), state)
    if load_checkpoint(state)["step"] < last:
        keep_freed_memory()
        fit_scorer(before, _both(demo.emoji, twemoji, asked), folder, replace(SCHEDULE, steps=last))
    return replace(demo.emoji, scorer=folder)


def _both(emoji: Emoji, twemoji: Twemoji, asked: Collection[Picture]) -> Data:
    measured = {picture.base for picture in asked}
    seen = [picture for picture in twemoji.known if picture.base not in measured]
    known = emoji.data.drawn_often()
    return Data(
        [*known.pictures, *(replace(picture, style=STYLE) for picture in seen)],
        np.concatenate([known.pixels, twemoji.drawings(seen)]),
    )
