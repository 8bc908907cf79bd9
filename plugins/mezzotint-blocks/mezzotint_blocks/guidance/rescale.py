"""The contrast of the unguided prediction for the guided one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mezzotint import Extension, Field, Run, hookimpl

from ..steps import End, Start, within

if TYPE_CHECKING:
    from torch import Tensor


class CFGRescale(Extension, name="cfg-rescale"):
    """Give the guided prediction the standard deviation of the positive one (Lin et al. 2023, section 3.4)."""

    amount: float = Field(0.7, ge=0, le=1, description="share of the rescaled prediction, φ; 0 is off")
    start: Start = 0.0
    end: End = 1.0

    @hookimpl(after=("pag", "sag"))
    def prediction(self, prediction: Tensor, predictions: Mapping[str, Tensor], run: Run) -> Tensor | None:
        """After every term of guidance."""
        if self.amount == 0 or "negative" not in predictions or not within(run, self.start, self.end):
            return None
        return rescale(prediction, predictions["positive"], self.amount)


def rescale(guided: Tensor, positive: Tensor, amount: float) -> Tensor:
    """`φ σ_pos/σ_cfg x_cfg + (1 - φ) x_cfg` for predictions (n, c, h, w)."""
    dims = list(range(1, positive.ndim))
    spread = guided.std(dim=dims, keepdim=True)
    # What has no contrast, as a step that CFG-Zero leaves out, is left without.
    rescaled = guided * (positive.std(dim=dims, keepdim=True) / spread.where(spread > 0, 1))
    return amount * rescaled + (1 - amount) * guided
