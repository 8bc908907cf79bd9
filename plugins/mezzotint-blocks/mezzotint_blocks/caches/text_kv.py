"""Keys and values of the text, projected once for a prompt instead of at every step."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mezzotint import hookimpl, shadowed, weight_state

from ..between_runs import KeepsBetweenRuns

if TYPE_CHECKING:
    from mezzotint import Pipeline, Run
    from torch import Tensor
    from torch.nn import Module

KEPT = 4
"""Projections kept for a layer: steps with other passes (an interval of guidance, a perturbed pass) alternate."""


@dataclass(eq=False)
class Projections:
    """What the layers of one pipeline projected and what they were spared."""

    computed: int = 0
    reused: int = 0


class TextKV(KeepsBetweenRuns, name="text-kv"):
    """Project keys and values of the text once for a prompt; the picture is the same, bit for bit.

    A projection is used again only for the same embeddings object, unchanged, by the same weights, unchanged,
    at the same scales of LoRA adapters; anything else is projected anew. What cannot be seen is a weight
    that is written through `.data` in the middle of a run; `weight.mul_(…)` and a new tensor are seen.
    """

    @hookimpl(after=["lora", "fused-qkv"])
    @contextmanager
    def patch_unet(self, unet: Module, pipe: Pipeline) -> Iterator[None]:
        """Remember what `to_k` and `to_v` of the cross-attention layers compute."""
        counts = _counts(pipe)
        with ExitStack() as stack:
            for path, layer in unet.named_modules():
                if path.endswith("attn2") and hasattr(layer, "set_processor"):
                    for projection in (layer.to_k, layer.to_v):
                        stack.enter_context(shadowed(projection, Remembered(projection, counts)))
            yield

    def begin_run(self, pipe: Pipeline) -> None:
        """Count from here, whatever a run that was interrupted left."""
        counts = _counts(pipe)
        counts.computed = counts.reused = 0

    @hookimpl
    def latents(self, run: Run) -> None:
        """Say what was saved."""
        counts = _counts(run.pipe)
        run.publish(self, projections_run=counts.computed, projections_reused=counts.reused)


def _counts(pipe: Pipeline) -> Projections:
    return pipe.resource("text-kv projections", Projections)


@dataclass(eq=False)
class Remembered:
    """The forward of a projection, with what it gave for the last few inputs."""

    projection: Any
    counts: Projections
    kept: list[tuple[Tensor, Hashable, Tensor]] = field(default_factory=list)
    """(input, state, output), latest first. The input is held, so that its identity is not given away."""
    original: Callable[..., Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.original = self.projection.forward

    def __call__(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The projection of (rows, tokens, dim), remembered or computed."""
        state = None if args or kwargs else projection_state(self.projection, hidden_states)
        if state is None:
            self.counts.computed += 1
            return self.original(hidden_states, *args, **kwargs)
        for seen, with_state, output in self.kept:
            if seen is hidden_states and with_state == state:
                self.counts.reused += 1
                return output
        self.counts.computed += 1
        output = self.original(hidden_states)
        self.kept = [(hidden_states, state, output), *self.kept[: KEPT - 1]]
        return output


def projection_state(projection: Any, hidden_states: Tensor) -> Hashable | None:
    """All that the output depends on besides the identity of the input; `None` if that cannot be told.

    Versions of input and weights count writes in place; addresses and identities tell exchanged tensors.
    """
    import torch

    if torch.is_grad_enabled() or hidden_states.is_inference() or projection.training:
        return None
    return (hidden_states._version, weight_state(*projection.parameters()), _adapters(projection))


def _adapters(projection: Any) -> Hashable:
    """What peft's layers keep outside of their weights: scales, and which adapters act."""
    scaling = getattr(projection, "scaling", None)
    if not isinstance(scaling, dict):
        return None
    return (
        tuple(sorted((name, float(value)) for name, value in scaling.items())),
        tuple(getattr(projection, "active_adapters", ())),
        bool(getattr(projection, "disable_adapters", False)),
        tuple(getattr(projection, "merged_adapters", ())),
    )
