"""What a prompt of the web UI's syntax is made of."""

from __future__ import annotations

from dataclasses import dataclass

ROUND_WEIGHT = 1.1
"""`(text)`"""
SQUARE_WEIGHT = 1 / 1.1
"""`[text]`"""


@dataclass(frozen=True)
class Text:
    """Words as they are, without escapes."""

    text: str


@dataclass(frozen=True)
class Weighted:
    """`(nodes)`, `(nodes:1.3)` or `[nodes]`."""

    nodes: tuple[Node, ...]
    weight: float


@dataclass(frozen=True)
class When:
    """A number of steps, or with a point in it a fraction of them."""

    value: float
    is_fraction: bool

    def steps(self, count: int) -> int:
        """The last step, from 1, before the change; the web UI rounds down."""
        return min(count, int(self.value * count if self.is_fraction else self.value))


@dataclass(frozen=True)
class Edited:
    """`[before:after:when]`, and without one of the two `[after:when]` and `[before::when]`."""

    before: tuple[Node, ...]
    after: tuple[Node, ...]
    when: When


@dataclass(frozen=True)
class Alternating:
    """`[one|two|…]`, the next one at each step."""

    options: tuple[tuple[Node, ...], ...]


Node = Text | Weighted | Edited | Alternating
