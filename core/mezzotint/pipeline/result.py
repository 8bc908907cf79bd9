"""What a run gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from ..planning.plan import Plan


@dataclass(frozen=True, eq=False)
class Result:
    """Images of one run with all that is needed to make them again."""

    images: list[Image]
    latents: Tensor
    """(n, c, h, w), as the VAE decoded them."""
    recipe: dict[str, Any]
    """Plain data (JSON types); see `mezzotint.recipe`. `recipe_of(k)` adds which image it is."""
    plan: Plan
    seconds: float
    """Wall time of the run."""
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What extensions published (`Run.publish`), by their label."""

    def __repr__(self) -> str:
        width, height = self.images[0].size
        return f"Result({len(self.images)} images of {width}×{height}, seed {self.recipe['seed']}, {self.seconds:.1f} s)"

    def recipe_of(self, index: int) -> dict[str, Any]:
        """The recipe of image `index`, as it is stored in its file."""
        return {**self.recipe, "index": range(len(self.images))[index]}
