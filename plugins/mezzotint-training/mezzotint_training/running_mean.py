"""Means of losses that stay on their device until somebody looks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class RunningMean:
    """Of what was added; with `keep` below 1, what is older counts less."""

    total: Tensor | None = None
    count: float = 0.0

    def add(self, loss: Tensor, keep: float = 1.0) -> None:
        """Add a loss, after the others are scaled by `keep`."""
        self.total = loss if self.total is None else self.total * keep + loss
        self.count = self.count * keep + 1

    @property
    def tensor(self) -> Tensor:
        """The mean, on the device."""
        assert self.total is not None
        return self.total / self.count

    def fetch(self) -> float:
        """The mean, from its device."""
        return float(self.tensor)

    def clear(self) -> None:
        """Begin anew."""
        self.total, self.count = None, 0.0
