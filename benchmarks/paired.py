"""Measuring several ways side by side, turn by turn: what else the machine does meets all of them alike.

A ratio is that of two ways within one round; of the ratios of all rounds the median is given, with its 95 % bootstrap
interval.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Measured = TypeVar("Measured")
Clock = Callable[[], float]


@dataclass(frozen=True)
class Median:
    """A median with its 95 % interval."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        return f"{self.value:{spec}} ({self.low:{spec}} to {self.high:{spec}})"


def in_turn(
    ways: Mapping[str, Callable[[], Measured]], rounds: int, warm_up: int = 0
) -> dict[str, list[Measured]]:
    """What each way measured in each round; a round begins with another way than the one before.

    Args:
        ways: each measures itself once; see `timed`.
        warm_up: rounds before that are not kept.
    """
    names = list(ways)
    found: dict[str, list[Measured]] = {name: [] for name in names}
    for number in range(warm_up + rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            measured = ways[name]()
            if number >= warm_up:
                found[name].append(measured)
    return found


def timed(call: Callable[[], object], clock: Clock = time.perf_counter) -> Callable[[], float]:
    """A way that measures the seconds of a call."""

    def seconds() -> float:
        start = clock()
        call()
        return clock() - start

    return seconds


def median(values: Sequence[float]) -> Median:
    """The median with its bootstrap interval."""
    samples = np.random.default_rng(0).choice(values, size=(2000, len(values)))
    low, high = np.percentile(np.median(samples, axis=1), [2.5, 97.5])
    return Median(statistics.median(values), float(low), float(high))


def ratio(seconds: Sequence[float], others: Sequence[float]) -> Median:
    """Of one way to another, round by round."""
    return median([own / other for own, other in zip(seconds, others, strict=True)])


def add_clock(parser: argparse.ArgumentParser) -> None:
    """The option `--cpu-time`; `clock_of` reads it."""
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count this process's seconds alone, on a machine that others use",
    )


def clock_of(options: argparse.Namespace) -> Clock:
    """The clock that the options choose."""
    return time.process_time if options.cpu_time else time.perf_counter
