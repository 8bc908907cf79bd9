"""How far a training is: a live bar on a terminal, a line now and then elsewhere. On stderr."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Protocol


class Progress(Protocol):
    """Shows the training."""

    def step(self, step: int, loss: Callable[[], float]) -> None:
        """A step is done; `loss` fetches its running mean from the device, so it is only called to be shown."""

    def say(self, text: str) -> None:
        """Something happened that is worth a line."""


class Pace:
    """Pictures a second and time left, by the median of the last steps: one that compiles or saves says nothing of others."""

    def __init__(self, first: int, last: int, pictures: int) -> None:
        self.last = last
        self.pictures = pictures
        self._seconds: deque[float] = deque(maxlen=50)
        self._before = first, time.perf_counter()

    def at(self, step: int) -> tuple[float, float]:
        """(pictures a second, seconds left)."""
        before, began = self._before
        self._before = step, time.perf_counter()
        if step > before:
            self._seconds.append((self._before[1] - began) / (step - before))
        seconds = max(median(self._seconds), 1e-9) if self._seconds else math.inf
        return self.pictures / seconds, (self.last - step) * seconds if step < self.last else 0.0


class Silent:
    """Shows nothing."""

    def step(self, step: int, loss: Callable[[], float]) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""


class Lines:
    """A line every ten seconds, for logs."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._said = time.perf_counter()

    def step(self, step: int, loss: Callable[[], float]) -> None:
        """A line, if it is time for one."""
        speed, left = self._pace.at(step)
        if time.perf_counter() - self._said >= 10 or step == self._pace.last:
            self._said = time.perf_counter()
            self.say(
                f"step {step}/{self._pace.last}  loss {loss():.4f}  {speed:.1f} images/s  {clock(left)} left"
            )

    def say(self, text: str) -> None:
        """The line."""
        print(text, file=sys.stderr, flush=True)


class Bar:
    """A live bar with loss, pictures a second and time left."""

    def __init__(self, first: int, pace: Pace) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._pace = pace
        self._moved = 0.0
        self.console = Console(stderr=True)
        self.progress = RichProgress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}  {task.fields[speed]:.1f} images/s  {task.fields[left]} left"),
            console=self.console,
        )
        self._task = self.progress.add_task(
            "", total=pace.last, completed=first, loss="", speed=0.0, left="--:--"
        )

    def step(self, step: int, loss: Callable[[], float]) -> None:
        """Move the bar, some times a second."""
        speed, left = self._pace.at(step)
        now = time.perf_counter()
        if now - self._moved < 0.2 and step != self._pace.last:
            return
        self._moved = now
        self.progress.update(
            self._task, completed=step, loss=f"loss {loss():.4f}", speed=speed, left=clock(left)
        )

    def say(self, text: str) -> None:
        """A line above the bar."""
        self.console.print(text, markup=False, highlight=False)


@contextmanager
def showing(first: int, last: int, pictures: int, *, quiet: bool) -> Iterator[Progress]:
    """The display that fits where stderr goes.

    Args:
        pictures: that a step trains on.
    """
    if quiet:
        yield Silent()
        return
    pace = Pace(first, last, pictures)
    if not sys.stderr.isatty():
        yield Lines(pace)
        return
    bar = Bar(first, pace)
    with bar.progress:
        yield bar


def clock(seconds: float) -> str:
    """`1:02:03`, or `02:03` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
