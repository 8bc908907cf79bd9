"""How a weight changes over a run: points (fraction of the run, factor), straight lines between them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

Points = Sequence[tuple[float, float]]


def check(points: Points) -> None:
    """Refuse points out of order or outside a run, and factors that are no numbers.

    Raises:
        ValueError: with a sentence.
    """
    fractions = [fraction for fraction, _ in points]
    if any(not 0 <= fraction <= 1 for fraction in fractions):
        raise ValueError("schedule is a list of [fraction, factor]; fractions are from 0 (start) to 1 (end)")
    if fractions != sorted(fractions):
        raise ValueError("schedule: fractions must not fall; two points at one fraction make a jump")


def factor_at(points: Points, fraction: float) -> float:
    """The factor at a fraction of the run; the first and last hold outside, and of a jump the later counts."""
    if not points:
        return 1.0
    after = bisect_right([at for at, _ in points], fraction)
    if after == 0:
        return points[0][1]
    if after == len(points):
        return points[-1][1]
    (start, low), (end, high) = points[after - 1], points[after]
    return low + (high - low) * (fraction - start) / (end - start)
