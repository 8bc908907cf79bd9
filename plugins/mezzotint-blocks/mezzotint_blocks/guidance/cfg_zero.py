"""CFG-Zero*: the negative prediction is scaled to fit the positive one, and a first step may be left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mezzotint import ClassifierFreeGuidance, Extension, Field, Guidance, Run, hookimpl
from mezzotint.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor


class CFGZero(Extension, name="cfg-zero"):
    """CFG-Zero*: fit the negative prediction to the positive one before guiding (Fan et al. 2025).

    Made for flow models, where it corrects a velocity that is wrong early on; the fit helps others too.
    """

    zero_init: int | None = Field(
        None, ge=0, description="first steps that predict zero; default: 1 for flow models, else 0"
    )

    @hookimpl
    def guidance(self, run: Run) -> Guidance:
        """At the scale of the call.

        Raises:
            RequestError: every step would predict zero.
        """
        if self.zero_init and self.zero_init >= run.request.steps:
            raise RequestError(
                f"cfg-zero: zero_init={self.zero_init} leaves none of {run.request.steps} steps; lower it"
            )
        return FittedGuidance(run.request.guidance, self.zero_init)


class FittedGuidance(ClassifierFreeGuidance):
    """`s * negative + scale * (positive - s * negative)` with the best s."""

    def __init__(self, scale: float, zero_init: int | None) -> None:
        super().__init__(scale)
        self._zero_init = zero_init

    def combine(self, predictions: Mapping[str, Tensor], run: Run) -> Tensor:
        """The guided prediction, or zero in the first steps."""
        positive = predictions["positive"]
        if len(self.passes(run)) == 1:
            return positive
        if run.step is not None and run.step.index < self._zeroed(run):
            return positive.new_zeros(positive.shape)
        negative = predictions["negative"]
        negative = negative * fit(positive, negative)
        return negative + self.scale * (positive - negative)

    def _zeroed(self, run: Run) -> int:
        if self._zero_init is not None:
            return self._zero_init
        return int(run.frame().prediction_type == "flow_prediction")


def fit(positive: Tensor, negative: Tensor) -> Tensor:
    """The factor (n, 1, 1, 1) that brings the negative prediction nearest to the positive one: <p, q> / |q|²."""
    p, q = positive.flatten(1).float(), negative.flatten(1).float()
    factor = (p * q).sum(1, keepdim=True) / ((q**2).sum(1, keepdim=True) + 1e-8)
    return factor.to(positive.dtype).view(-1, 1, 1, 1)
