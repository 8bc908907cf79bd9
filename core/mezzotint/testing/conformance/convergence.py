"""Observed order of convergence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SOLVER_STEPS = (128, 256)
"""In float64, far into the limit."""
SCHEDULER_STEPS = (24, 48, 96)
"""In float32, before its rounding is what is measured."""
MORE_STEPS = 512
"""Where the order is not settled at the others."""
SINGLE_PRECISION_FLOOR = 2e-5


@dataclass(frozen=True)
class Convergence:
    """Errors at growing numbers of steps."""

    numbers: tuple[int, ...]
    errors: tuple[float, ...]

    @property
    def order(self) -> float:
        """log(error ratio) / log(step ratio) of the two finest; NaN unless there are two finite errors."""
        if len(self.errors) < 2 or not all(0 < error < math.inf for error in self.errors[-2:]):
            return math.nan
        coarse, fine = self.errors[-2:]
        return math.log(coarse / fine) / math.log(self.numbers[-1] / self.numbers[-2])

    @property
    def pair(self) -> tuple[int, int]:
        """The two numbers of steps that `order` is taken between."""
        return (self.numbers[-2], self.numbers[-1]) if len(self.numbers) > 1 else (0, self.numbers[-1])


def converge(
    error: Callable[[int], float], numbers: Sequence[int], *, floor: float, least: int = 2
) -> Convergence:
    """Measure `error(n)` for growing n, until the errors are so small that rounding speaks in them.

    Args:
        floor: errors below this are left out once there are `least` others.
    """
    errors: list[float] = []
    for n in numbers:
        errors.append(error(n))
        if not math.isfinite(errors[-1]):
            break
        if errors[-1] < floor and len(errors) > least:
            errors.pop()
            break
    return Convergence(tuple(numbers[: len(errors)]), tuple(errors))


def converge_solver(
    error: Callable[[int], float], *, floor: float, settled: Callable[[float], bool]
) -> Convergence:
    """Measure a solver, and once more with more steps unless its order is `settled`."""
    found = converge(error, SOLVER_STEPS, floor=floor)
    if settled(found.order):
        return found
    return Convergence((*found.numbers, MORE_STEPS), (*found.errors, error(MORE_STEPS)))


def converge_scheduler(error: Callable[[int], float]) -> Convergence:
    """Measure a scheduler, which computes in float32."""
    return converge(error, SCHEDULER_STEPS, floor=SINGLE_PRECISION_FLOOR)
