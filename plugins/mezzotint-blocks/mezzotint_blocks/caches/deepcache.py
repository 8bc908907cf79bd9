"""DeepCache: deep features at every n-th step only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mezzotint import BlockOutput, Extension, Field, hookimpl

from .deep_blocks import PLACES, deep_blocks
from .reuse import Evaluation, Reuse

if TYPE_CHECKING:
    from mezzotint import Block, Run
    from torch import Tensor


class DeepCache(Extension, name="deepcache"):
    """Run the deep blocks of the U-Net at every n-th step and reuse their output between (Ma et al. 2024).

    Approximate. An interval of 1 changes nothing, bit for bit. Steps are evaluations of the U-Net.
    Residuals of a ControlNet reach the shallow blocks at every step, the deep ones when they run.
    """

    interval: int = Field(3, ge=1, description="deep blocks run at every n-th step; 1 is off")
    branch: int = Field(0, ge=0, description="layers of the encoder that run at every step")
    start: float = Field(0.0, ge=0, le=1, description="part of the run before which every step is complete")

    @hookimpl(at=PLACES)
    def unet_block(
        self, block: Block, forward: Callable[[Tensor], BlockOutput], hidden_states: Tensor, run: Run
    ) -> BlockOutput | None:
        """Take what is kept between the steps that run everything."""
        reuse = run.state(self, lambda: Reuse(deep_blocks(run.pipe.unet, self.branch)))
        return reuse.answer(block, forward, hidden_states, run, lambda kept, _: self._between(kept, run))

    def _between(self, kept: Evaluation, run: Run) -> bool:
        step: Any = run.step
        # A set of passes may come back after a gap, when what is kept of it is too old.
        fresh = 0 < step.index - kept.step < self.interval
        return bool(fresh and step.index % self.interval and step.fraction >= self.start)

    @hookimpl
    def latents(self, run: Run) -> None:
        """Say what was saved."""
        run.publish(self, **run.state(self, lambda: Reuse(deep_blocks(run.pipe.unet, self.branch))).outputs())
