"""Grids of noise levels on which the error of a solver is measured.

Both end at σ_min. The jump from there to 0 does not shrink with the number of steps and would hide the
order of everything before it; it is bounded by a check of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

SIGMA_MAX = 14.61
SIGMA_MIN = 0.0292
"""Range of Stable Diffusion's noise schedule."""


@dataclass(frozen=True)
class Grid:
    """A family of noise levels by number of steps."""

    name: str
    """As in the names of checks."""
    description: str
    position: Callable[[int, int], float]
    """From (i, n) to how far level i of n is on the way from log σ_max to log σ_min, 0 … 1."""

    def __call__(self, n: int, sigma_max: float = SIGMA_MAX, sigma_min: float = SIGMA_MIN) -> Sequence[float]:
        """n + 1 levels from σ_max to σ_min."""
        ratio = sigma_min / sigma_max
        return [sigma_max * ratio ** self.position(i, n) for i in range(n)] + [sigma_min]

    def between(self, coarse: int, fine: int) -> str:
        """Where an order was measured, in words."""
        return f"{self.description}, σ {SIGMA_MAX} → {SIGMA_MIN}, n = {coarse} → {fine}"


EXPONENTIAL = Grid("exponential", "exponential grid", lambda i, n: i / n)
ALTERNATING = Grid(
    "alternating", "grid of log σ steps alternating 1:3", lambda i, n: (2 * i - i % 2) / (2 * n)
)
"""On a smooth grid a multistep solver that ignores the ratio of its steps keeps its order; here it loses it.

For even n; steps 1, 3, 1, 3 … halves of which make an exponential grid of n steps.
"""
GRIDS = (EXPONENTIAL, ALTERNATING)
