"""A scorer that has seen Twemoji, to find names in pictures of a style that the recipe's own has never seen."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import replace

import numpy as np
from mezzotint_emoji.recipe.checkpoint import load_checkpoint
from mezzotint_emoji.recipe.data import Data
from mezzotint_emoji.recipe.errors import need
from mezzotint_emoji.recipe.hardware import keep_freed_memory
from mezzotint_emoji.recipe.manifest import Picture
from mezzotint_emoji.recipe.scorer import FOLDER, SCHEDULE, fit_scorer

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
    folder = demo.folder / f"scorer-{len(asked)}"
    before = need(demo.emoji.work / FOLDER / "state.pt", "train scorer")
    last = load_checkpoint(before)["step"] + STEPS
    if not (folder / "state.pt").exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(before, folder / "state.pt")
    if load_checkpoint(folder / "state.pt")["step"] < last:
        keep_freed_memory()
        fit_scorer(demo.emoji.work, _both(demo.emoji, twemoji, asked), folder, replace(SCHEDULE, steps=last))
    return replace(demo.emoji, scorer=folder)


def _both(emoji: Emoji, twemoji: Twemoji, asked: Collection[Picture]) -> Data:
    measured = {picture.base for picture in asked}
    seen = [picture for picture in twemoji.known if picture.base not in measured]
    known = emoji.data.drawn_often()
    return Data(
        [*known.pictures, *(replace(picture, style=STYLE) for picture in seen)],
        np.concatenate([known.pixels, twemoji.drawings(seen)]),
    )
