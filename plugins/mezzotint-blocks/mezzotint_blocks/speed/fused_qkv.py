"""Queries, keys and values of self-attention from one multiplication."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mezzotint import hookimpl, shadowed

from ..between_runs import KeepsBetweenRuns

if TYPE_CHECKING:
    from mezzotint import Pipeline
    from torch import Tensor

    from .derived import DerivedStore

    Stacked = tuple[Tensor, Tensor | None]
    """(q + k + v, dim) and (q + k + v)."""


class FusedQKV(KeepsBetweenRuns, name="fused-qkv", conflicts=("openvino",)):
    """Compute queries, keys and values of self-attention in one multiplication.

    Exact to rounding. After LoRA: fused weights are taken as they are, layers with adapters that are not
    fused stay as they are. Processors, probes and extra tokens are not affected: the layer's own
    projections answer, from one multiplication.
    """

    @hookimpl(after=["lora", "bf16"])
    @contextmanager
    def patch_unet(self, unet: Any, pipe: Pipeline) -> Iterator[None]:
        """Let the three projections of every self-attention layer share their work."""
        import torch

        from .untouched import is_plain

        store = _store(pipe)
        with ExitStack() as stack:
            for path, layer in unet.named_modules():
                if not path.endswith("attn1") or not hasattr(layer, "to_q"):
                    continue
                projections = (layer.to_q, layer.to_k, layer.to_v)
                if all(is_plain(each, torch.nn.Linear) for each in projections) and _alike(*projections):
                    fused = Fused(projections, store)
                    for position, each in enumerate(projections):
                        stack.enter_context(shadowed(each, fused.part(position)))
            yield

    def begin_run(self, pipe: Pipeline) -> None:
        """See whether weights were written between runs."""
        _store(pipe).begin_run()


def _store(pipe: Pipeline) -> DerivedStore[Stacked]:
    from .derived import DerivedStore

    return pipe.resource("fused qkv", DerivedStore)


def _alike(q: Any, k: Any, v: Any) -> bool:
    return q.in_features == k.in_features == v.in_features and (q.bias is None) == (k.bias is None) == (
        v.bias is None
    )


@dataclass(eq=False)
class Fused:
    """Three projections of one input. The first that is asked computes all of them."""

    projections: tuple[Any, Any, Any]
    store: DerivedStore[Stacked]
    """By the first projection."""
    waiting: tuple[Tensor, tuple[Tensor, ...]] | None = field(default=None)
    """The input and what is computed from it, until the last projection has asked."""

    def part(self, position: int) -> Callable[[Tensor], Tensor]:
        """The forward of one of the projections."""
        original = self.projections[position].forward

        def forward(hidden_states: Tensor) -> Tensor:
            import torch

            if torch.is_grad_enabled():
                return original(hidden_states)
            if position == 0:
                self.waiting = (hidden_states, self._project(hidden_states))
            if self.waiting is None or self.waiting[0] is not hidden_states:
                return original(hidden_states)
            answer = self.waiting[1][position]
            if position == 2:
                self.waiting = None
            return answer

        return forward

    def _project(self, hidden_states: Tensor) -> tuple[Tensor, ...]:
        from torch.nn.functional import linear

        weight, bias = self._weights()
        parts = [each.out_features for each in self.projections]
        return linear(hidden_states, weight, bias).split(parts, dim=-1)

    def _weights(self) -> Stacked:
        weights = [w for each in self.projections for w in (each.weight, each.bias)]
        return self.store.of(self.projections[0], weights, self._stacked)

    def _stacked(self) -> Stacked:
        import torch

        bias = None
        if self.projections[0].bias is not None:
            bias = torch.cat([each.bias.detach() for each in self.projections])
        return torch.cat([each.weight.detach() for each in self.projections]), bias
