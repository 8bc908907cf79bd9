"""T-GATE: from some step on, no cross-attention and no guidance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mezzotint import Extension, Field, hookimpl

if TYPE_CHECKING:
    from mezzotint import Block, Pass, Run
    from torch import Tensor


class TGate(Extension, name="tgate", conflicts=("pag",)):
    """Freeze cross-attention from some step on and run without the negative pass (Liu et al. 2024).

    Approximate. At the gate, each layer's outputs of the passes are averaged; later steps take that in place of
    attending to the text, and run the positive pass alone, which halves the batch. A gate of 1 changes
    nothing, bit for bit. It takes the cross-attention layers whole: not with IP-Adapter or attention maps; and not
    with PAG, whose further pass would be averaged with the others.
    """

    gate: float = Field(0.5, gt=0, le=1, description="part of the run that attends to the text; 1 is off")

    def _beyond(self, run: Run) -> bool:
        step: Any = run.step
        # The first step is never beyond: there would be nothing to take.
        return bool(step.index and step.fraction >= self.gate)

    @hookimpl(after=["cfg-interval"])
    def passes(self, passes: tuple[Pass, ...], run: Run) -> tuple[Pass, ...] | None:
        """The positive pass alone beyond the gate."""
        if not self._beyond(run) or len(passes) == 1:
            return None
        return tuple(pass_ for pass_ in passes if pass_.name == "positive") or None

    @hookimpl
    def attention_processor(self, layer: Block, run: Run) -> Frozen:
        """Attention until the gate, what is kept of it beyond."""
        counts = run.state(self, Counts)
        return Frozen(run.pipe.unet.get_submodule(layer.path).processor, self, run, counts)

    @hookimpl
    def latents(self, run: Run) -> None:
        """Say what was saved."""
        counts = run.state(self, Counts)
        run.publish(self, attentions_run=counts.run, attentions_reused=counts.reused)


@dataclass(eq=False)
class Counts:
    """Calls of cross-attention layers."""

    run: int = 0
    reused: int = 0


@dataclass(eq=False)
class Frozen:
    """The processor of one cross-attention layer: the layer's own until the gate, its last output beyond."""

    original: Any
    extension: TGate
    of: Run
    counts: Counts
    kept: Tensor | None = field(default=None)

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's output (rows, tokens, dim)."""
        run = self.of
        if self.kept is not None and self.extension._beyond(run) and self._fits(hidden_states):
            self.counts.reused += 1
            return self.kept
        self.counts.run += 1
        output: Tensor = self.original(attn, hidden_states, *args, **kwargs)
        # A second look within the step would put its own rows in place of the step's.
        if any(pass_.name == "positive" for pass_ in run.passes):
            passes = len(run.passes)
            self.kept = output.view(passes, -1, *output.shape[1:]).mean(dim=0) if passes > 1 else output
        return output

    def _fits(self, hidden_states: Tensor) -> bool:
        return self.kept is not None and self.kept.shape[:2] == hidden_states.shape[:2]
