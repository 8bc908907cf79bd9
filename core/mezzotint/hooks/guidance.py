"""Which passes the U-Net runs at a step, and how their predictions become one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from .conditioning import Pass

if TYPE_CHECKING:
    from torch import Tensor

    from ..pipeline.run import Run

POSITIVE = Pass("positive")
NEGATIVE = Pass("negative")


class Guidance(Protocol):
    """What the `guidance` hook point returns."""

    def passes(self, run: Run) -> tuple[Pass, ...]:
        """The passes of the step `run.step`, in batch order; at least one."""

    def combine(self, predictions: Mapping[str, Tensor], run: Run) -> Tensor:
        """One prediction (n, c, h, w) from those of the passes, by pass name."""


def default_guidance(run: Run) -> Guidance:
    """Classifier-free guidance at the request's scale; one pass for a model distilled with the scale as an input."""
    distilled = run.pipe.unet.config.time_cond_proj_dim is not None
    return ClassifierFreeGuidance(1.0 if distilled else run.request.guidance)


class ClassifierFreeGuidance:
    """`negative + scale * (positive - negative)` (Ho & Salimans 2022, eq. 6 with w = scale - 1).

    A scale of 1 or less runs the positive pass alone, as diffusers does.
    """

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self._passes = (NEGATIVE, POSITIVE) if scale > 1 else (POSITIVE,)

    def passes(self, run: Run) -> tuple[Pass, ...]:
        """Negative and positive, or positive alone."""
        return self._passes

    def combine(self, predictions: Mapping[str, Tensor], run: Run) -> Tensor:
        """The guided prediction."""
        positive = predictions["positive"]
        if len(self._passes) == 1:
            return positive
        negative = predictions["negative"]
        return negative + self.scale * (positive - negative)
