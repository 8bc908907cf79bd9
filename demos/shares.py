"""Shares and means with 95 % intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Z = 1.959964
ROUNDS = 4000


@dataclass(frozen=True)
class Measured:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float
    count: int
    """Pictures that it comes from."""

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def share(hits: np.ndarray) -> Measured:
    """How many of (n,) bool are true, with Wilson's interval, which holds near 0 and 1 as well (Wilson 1927)."""
    count, found = len(hits), float(hits.mean())
    middle = (found + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * np.sqrt(found * (1 - found) / count + Z**2 / (4 * count**2))
    return Measured(found, max(0.0, float(middle - half)), min(1.0, float(middle + half)), count)


def mean(values: np.ndarray) -> Measured:
    """Of (n,) numbers, with a bootstrap interval."""
    means = values[_again(len(values))].mean(1)
    return _between(float(values.mean()), means, len(values))


def ratio(hits: np.ndarray, base: np.ndarray, *, paired: bool = True) -> Measured:
    """The share of one, (n,) bool, over that of the other, (m,) bool; where the base has no hit there is no ratio: NaN.

    Args:
        paired: both are of the same n pictures, and the interval is bootstrapped over these.
    """
    places = _again(len(hits))
    above = hits[places].mean(1)
    below = base[places if paired else _again(len(base), seed=1)].mean(1)
    value = float(hits.mean() / base.mean()) if base.any() else float("nan")
    return _between(value, above[below > 0] / below[below > 0], len(hits))


def _again(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, count, (ROUNDS, count))


def _between(value: float, drawn: np.ndarray, count: int) -> Measured:
    low, high = np.quantile(drawn, (0.025, 0.975)) if len(drawn) else (float("nan"),) * 2
    return Measured(value, float(low), float(high), count)
