"""What is made from weights and kept between runs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from mezzotint import weight_sample, weight_state
from torch import Tensor

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Derived(Generic[Value]):
    """A value, and the weights that it was made from."""

    weights: Sequence[Tensor | None]
    state: Hashable
    sample: Hashable
    value: Value


@dataclass(eq=False)
class DerivedStore(Generic[Value]):
    """Values of one pipeline by what they stand for, made anew where their weights are others."""

    kept: dict[Hashable, Derived[Value]] = field(default_factory=dict)

    def of(self, key: Hashable, weights: Sequence[Tensor | None], make: Callable[[], Value]) -> Value:
        """The value of `key`: the one that is kept if no weight was written since, else a new one."""
        state = weight_state(*weights)
        kept = self.kept.get(key)
        if kept is None or kept.state != state:
            kept = self.kept[key] = Derived(weights, state, weight_sample(*weights), make())
        return kept.value

    def begin_run(self) -> None:
        """Forget what came from weights that were written without torch's knowing, through `.data`."""
        for key, kept in list(self.kept.items()):
            if kept.sample != weight_sample(*kept.weights):
                del self.kept[key]

    @property
    def values(self) -> list[Value]:
        """All that is kept."""
        return [kept.value for kept in self.kept.values()]
