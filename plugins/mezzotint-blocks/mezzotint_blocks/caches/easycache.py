"""EasyCache: no block runs while the output is predicted to change little."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mezzotint import BlockOutput, Extension, Field, hookimpl

from .deep_blocks import EVERYTHING, deep_blocks
from .reuse import Evaluation, Reuse, relative_change

if TYPE_CHECKING:
    from mezzotint import Block, Run
    from torch import Tensor


@dataclass(eq=False)
class Change:
    """How much the U-Net's output changes with its input, as measured at complete steps."""

    reuse: Reuse
    entered: Tensor | None = None
    """What entered the U-Net's blocks at the last step, complete or not."""
    predicted: float = 0.0
    """Sum of the predicted relative changes of the output since the last complete step."""
    rate: float | None = None
    """Relative change of the output over that of the input between the last two complete steps."""
    inputs: tuple[Tensor, ...] = ()
    output: Tensor | None = None


class EasyCache(Extension, name="easycache"):
    """Leave the whole U-Net out while its output is predicted to change little (Zhou et al. 2025).

    Approximate. Between two complete steps the relative change of output over that of the input is measured;
    it predicts later changes from the input's, and these add up until they reach `threshold`. A threshold
    of 0 changes nothing, bit for bit.
    """

    threshold: float = Field(0.1, ge=0, description="relative change of the output that is let pass")
    warmup: int = Field(3, ge=2, description="complete steps before the first reuse")
    most: int = Field(3, ge=1, description="most steps in a row that reuse")

    def _state(self, run: Run) -> Change:
        return run.state(self, lambda: Change(Reuse(deep_blocks(run.pipe.unet, EVERYTHING))))

    @hookimpl
    def unet_block(
        self, block: Block, forward: Callable[[Tensor], BlockOutput], hidden_states: Tensor, run: Run
    ) -> BlockOutput | None:
        """Take what is kept while little changes."""
        change = self._state(run)
        return change.reuse.answer(
            block, forward, hidden_states, run, lambda kept, now: self._alike(change, kept, now, run)
        )

    def _alike(self, change: Change, kept: Evaluation, now: Tensor, run: Run) -> bool:
        step: Any = run.step
        before, change.entered = change.entered, now
        if before is None or before.shape != now.shape or change.rate is None or kept.step == step.index:
            return False
        change.predicted += change.rate * relative_change(now, before)
        enough = len(change.reuse.computed_steps) >= self.warmup and kept.reuses < self.most
        if enough and change.predicted < self.threshold:
            return True
        change.predicted = 0.0
        return False

    @hookimpl
    def unet_output(self, prediction: Tensor, run: Run) -> None:
        """Measure the rate of change at complete steps."""
        change = self._state(run)
        if change.reuse.reusing:
            return
        passes = tuple(pass_.name for pass_ in run.passes)
        entered = change.reuse.kept[passes].entered
        change.entered = entered
        if change.output is not None and change.output.shape == prediction.shape:
            (last,) = change.inputs
            moved = relative_change(entered, last)
            change.rate = relative_change(prediction, change.output) / moved if moved else None
        change.inputs, change.output = (entered,), prediction

    @hookimpl
    def latents(self, run: Run) -> None:
        """Say what was saved."""
        run.publish(self, **self._state(run).reuse.outputs())
