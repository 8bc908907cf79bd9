"""First-block cache: deep blocks run when the first ones say that something has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mezzotint import BlockOutput, Extension, Field, hookimpl

from .deep_blocks import PLACES, deep_blocks
from .reuse import Evaluation, Reuse, relative_change

if TYPE_CHECKING:
    from mezzotint import Block, Run
    from torch import Tensor


class FirstBlockCache(Extension, name="first-block-cache"):
    """Reuse the deep blocks' output while what the first blocks hand them changes little.

    Approximate. The first-block cache of diffusers and ParaAttention for U-Nets: the shallow layers of
    the encoder run at every step, and if their output differs from the last complete step's by less than
    `threshold` (mean absolute difference over mean absolute value), the deep blocks do not run.
    A threshold of 0 changes nothing, bit for bit.
    """

    threshold: float = Field(0.1, ge=0, description="relative change below which deep blocks do not run")
    branch: int = Field(1, ge=0, description="layers of the encoder that run at every step")
    most: int = Field(3, ge=1, description="most steps in a row without the deep blocks")

    @hookimpl(at=PLACES)
    def unet_block(
        self, block: Block, forward: Callable[[Tensor], BlockOutput], hidden_states: Tensor, run: Run
    ) -> BlockOutput | None:
        """Take what is kept while little changes."""
        reuse = run.state(self, lambda: Reuse(deep_blocks(run.pipe.unet, self.branch)))
        return reuse.answer(block, forward, hidden_states, run, lambda kept, now: self._alike(kept, now, run))

    def _alike(self, kept: Evaluation, now: Tensor, run: Run) -> bool:
        step: Any = run.step
        if kept.step == step.index or kept.reuses >= self.most or not self.threshold:
            return False
        return relative_change(now, kept.entered) < self.threshold

    @hookimpl
    def latents(self, run: Run) -> None:
        """Say what was saved."""
        run.publish(self, **run.state(self, lambda: Reuse(deep_blocks(run.pipe.unet, self.branch))).outputs())
