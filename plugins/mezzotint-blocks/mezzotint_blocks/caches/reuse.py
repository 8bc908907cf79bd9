"""Keeping what deep blocks computed, and giving it out in place of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mezzotint import Block, BlockOutput, Run
    from torch import Tensor

    from .deep_blocks import DeepBlocks

Passes = tuple[str, ...]


@dataclass(eq=False)
class Evaluation:
    """What one evaluation of the U-Net left behind."""

    step: int
    entered: Tensor
    """What entered the first deep block."""
    outputs: dict[str, BlockOutput] = field(default_factory=dict)
    """Of the deep blocks, by name."""
    reuses: int = 0
    """How often it was given out since."""


@dataclass(eq=False)
class Reuse:
    """The store of one run. Evaluations with other passes (a step without the negative one, a second look
    within a step) never share anything: their rows are others.
    """

    deep: DeepBlocks
    kept: dict[Passes, Evaluation] = field(default_factory=dict)
    reusing: bool = False
    """Whether the evaluation that is under way takes what is kept."""
    computed_steps: list[int] = field(default_factory=list)
    """Steps whose deep blocks ran."""
    blocks_run: int = 0
    blocks_reused: int = 0
    """Resnets, attentions and samplers that did not run."""

    def answer(
        self,
        block: Block,
        forward: Callable[[Tensor], BlockOutput],
        hidden_states: Tensor,
        run: Run,
        wanted: Callable[[Evaluation, Tensor], bool],
    ) -> BlockOutput | None:
        """The output of a block: its own, or what is kept of it; `None` for shallow blocks.

        Args:
            wanted: whether to take what is kept; asked once an evaluation, with what now enters the first
                deep block.
        """
        if block.name not in self.deep.names:
            return None
        passes = passes_of(run)
        if block.name == self.deep.first:
            self._decide(passes, hidden_states, run, wanted)
        kept = self.kept[passes]
        if not self.reusing:
            kept.outputs[block.name] = forward(hidden_states)
        return kept.outputs[block.name]

    def _decide(
        self, passes: Passes, hidden_states: Tensor, run: Run, wanted: Callable[[Evaluation, Tensor], bool]
    ) -> None:
        kept = self.kept.get(passes)
        self.reusing = kept is not None and _same_rows(kept, hidden_states) and wanted(kept, hidden_states)
        if kept is not None and self.reusing:
            kept.reuses += 1
            self.blocks_reused += self.deep.steps
            return
        assert run.step is not None
        self.kept[passes] = Evaluation(run.step.index, hidden_states)
        # A step may evaluate the U-Net twice (self-attention guidance).
        if run.step.index not in self.computed_steps[-1:]:
            self.computed_steps.append(run.step.index)
        self.blocks_run += self.deep.steps

    def outputs(self) -> dict[str, object]:
        """What an extension publishes."""
        return {
            "computed_steps": list(self.computed_steps),
            "blocks_run": self.blocks_run,
            "blocks_reused": self.blocks_reused,
        }


def passes_of(run: Run) -> Passes:
    """The names of the passes that are under way."""
    return tuple(pass_.name for pass_ in run.passes)


def _same_rows(kept: Evaluation, hidden_states: Tensor) -> bool:
    return kept.entered.shape == hidden_states.shape and kept.entered.dtype == hidden_states.dtype


def relative_change(now: Tensor, before: Tensor) -> float:
    """Mean absolute difference over mean absolute value, as first-block caches measure it."""
    return float((now - before).abs().mean() / before.abs().mean())
