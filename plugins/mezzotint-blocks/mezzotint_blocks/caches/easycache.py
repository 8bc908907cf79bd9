"""EasyCache: no block runs while the output is predicted to change little."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mezzotint import BlockOutput, Extension, Field, hookimpl

from .deep_blocks import EVERYTHING, deep_blocks
from .reuse import Evaluation, Passes, Reuse, passes_of, relative_change

if TYPE_CHECKING:
    from mezzotint import Block, Run
    from torch import Tensor


@dataclass(eq=False)
class Change:
    """How much the U-Net's output changes with its input, as measured at complete steps with the same passes."""

    entered: Tensor | None = None
    """What entered the U-Net's blocks at the last step, complete or not."""
    predicted: float = 0.0
    """Sum of the predicted relative changes of the output since the last complete step."""
    rate: float | None = None
    """Relative change of the output over that of the input between the last two complete steps."""
    measured: tuple[Tensor, Tensor] | None = None
    """Input and output of the last complete step."""


@dataclass(eq=False)
class Changes:
    """What one run has kept and measured; a second look within a step is measured apart from the step."""

    reuse: Reuse
    of_passes: dict[Passes, Change] = field(default_factory=dict)

    def now(self, run: Run) -> Change:
        """For the evaluation that is under way."""
        return self.of_passes.setdefault(passes_of(run), Change())


class EasyCache(Extension, name="easycache"):
    """Leave the whole U-Net out while its output is predicted to change little (Zhou et al. 2025).

    Approximate. Between two complete steps the relative change of output over that of the input is measured;
    it predicts later changes from the input's, and these add up until they reach `threshold`. A threshold
    of 0 changes nothing, bit for bit.
    """

    threshold: float = Field(0.1, ge=0, description="relative change of the output that is let pass")
    warmup: int = Field(3, ge=2, description="complete steps before the first reuse")
    most: int = Field(3, ge=1, description="most steps in a row that reuse")

    def _state(self, run: Run) -> Changes:
        return run.state(self, lambda: Changes(Reuse(deep_blocks(run.pipe.unet, EVERYTHING))))

    @hookimpl
    def unet_block(
        self, block: Block, forward: Callable[[Tensor], BlockOutput], hidden_states: Tensor, run: Run
    ) -> BlockOutput | None:
        """Take what is kept while little changes."""
        changes = self._state(run)
        return changes.reuse.answer(
            block, forward, hidden_states, run, lambda kept, now: self._alike(changes, kept, now, run)
        )

    def _alike(self, changes: Changes, kept: Evaluation, now: Tensor, run: Run) -> bool:
        step: Any = run.step
        change = changes.now(run)
        before, change.entered = change.entered, now
        if before is None or change.rate is None or kept.step == step.index:
            return False
        change.predicted += change.rate * relative_change(now, before)
        enough = len(changes.reuse.computed_steps) >= self.warmup and kept.reuses < self.most
        if enough and change.predicted < self.threshold:
            return True
        change.predicted = 0.0
        return False

    @hookimpl
    def unet_output(self, prediction: Tensor, run: Run) -> None:
        """Measure the rate of change at complete steps."""
        reuse, change = self._state(run).reuse, self._state(run).now(run)
        if reuse.reusing:
            return
        entered = reuse.kept[passes_of(run)].entered
        change.entered = entered
        if change.measured is not None:
            last, output = change.measured
            moved = relative_change(entered, last)
            change.rate = relative_change(prediction, output) / moved if moved else None
        change.measured = entered, prediction

    @hookimpl
    def latents(self, run: Run) -> None:
        """Say what was saved."""
        run.publish(self, **self._state(run).reuse.outputs())
