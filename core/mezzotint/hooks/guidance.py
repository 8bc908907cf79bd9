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


def needs_unconditional(run: Run) -> bool:
    """Whether the run's solver looks at the unconditional prediction, that of the pass `negative` (CFG++)."""
    solver = getattr(getattr(run, "scheduler", None), "solver", None)
    return bool(getattr(solver, "unconditional", False))


class ClassifierFreeGuidance:
    """`negative + scale * (positive - negative)` (Ho & Salimans 2022, eq. 6 with w = scale - 1).

    A scale of 1 or less runs the positive pass alone, as diffusers does, except for a solver that needs both.
    """

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def passes(self, run: Run) -> tuple[Pass, ...]:
        """Negative and positive, or positive alone."""
        return (NEGATIVE, POSITIVE) if self.scale > 1 or needs_unconditional(run) else (POSITIVE,)

    def combine(self, predictions: Mapping[str, Tensor], run: Run) -> Tensor:
        """The guided prediction."""
        positive = predictions["positive"]
        if len(self.passes(run)) == 1:
            return positive
        negative = predictions["negative"]
        return negative + self.scale * (positive - negative)
