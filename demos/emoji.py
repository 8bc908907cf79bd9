"""The emoji recipe's drawings, captions and scorer, which the demonstrations draw from and measure with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from mezzotint_emoji.recipe.captions import label_of
from mezzotint_emoji.recipe.data import Data, load
from mezzotint_emoji.recipe.manifest import Picture
from mezzotint_emoji.recipe.scorer import Judge
from torch import Tensor

AMONG = 5


@dataclass(frozen=True)
class Emoji:
    """The working folder of the recipe."""

    work: Path
    scorer: Path | None = None
    """Folder of another scorer than the recipe's own."""

    @cached_property
    def data(self) -> Data:
        """Every drawing that the base model can be asked for, held out or not.

        Raises:
            RecipeError: the recipe's drawings are not there.
        """
        return load(self.work)

    @cached_property
    def concepts(self) -> dict[str, Picture]:
        """By code point, what the base model was trained on, in any style."""
        return {picture.base: picture for picture in self.data.drawn_often().pictures}

    @cached_property
    def judge(self) -> Judge:
        """The scorer: pictures and captions as unit vectors of one space.

        Raises:
            RecipeError: it is not trained yet.
        """
        return Judge(self.work, self.scorer)

    def finds_name(self, pixels: np.ndarray, labels: Sequence[str]) -> np.ndarray:
        """R@5 names: for each picture (n, 64, 64, 3), whether its label is among the nearest of all labels, (n,) bool."""
        return _among(self.judge.images(pixels), self._names, labels, self._labels)

    def finds_picture(
        self, pixels: np.ndarray, bases: Sequence[str], others: np.ndarray, theirs: Sequence[str]
    ) -> np.ndarray:
        """R@5 pictures: for each picture (n, 64, 64, 3), whether the nearest of a set show its concept, (n,) bool.

        Args:
            bases: code points of the n concepts.
            others: the set, (m, 64, 64, 3).
            theirs: code points of the m.
        """
        return _among(self.judge.images(pixels), self.judge.images(others), bases, theirs)

    @cached_property
    def _labels(self) -> list[str]:
        return sorted({label_of(picture) for picture in self.data.pictures})

    @cached_property
    def _names(self) -> Tensor:
        # Names alone, as a fifth of the scorer's captions are: it knows no phrase for a new style.
        return self.judge.texts(self._labels)


def _among(features: Tensor, candidates: Tensor, wanted: Sequence[str], names: Sequence[str]) -> np.ndarray:
    nearest = (features @ candidates.T).topk(AMONG, dim=1).indices.tolist()
    return np.array(
        [name in {names[place] for place in row} for name, row in zip(wanted, nearest, strict=True)]
    )
