"""What is seen while images are made: a live bar on a terminal, a line for each run elsewhere. On stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import click

if TYPE_CHECKING:
    from ..pipeline.run import Progress


class Display(Protocol):
    """Shows how far the work is. `runs` runs follow each other, each of some images."""

    def start_run(self, label: str) -> None:
        """A run begins; `label` is such as `image 2 of 4`."""

    def step(self, progress: Progress) -> None:
        """A step of the run is done."""

    def end_run(self) -> None:
        """The run's images are saved."""


class Silent:
    """Shows nothing."""

    def start_run(self, label: str) -> None:
        """Nothing."""

    def step(self, progress: Progress) -> None:
        """Nothing."""

    def end_run(self) -> None:
        """Nothing."""


class Lines:
    """One line for each run, for logs."""

    def __init__(self) -> None:
        self._label = ""
        self._steps = 0
        self._began = 0.0

    def start_run(self, label: str) -> None:
        """Remember what is being made."""
        self._label, self._began = label, time.perf_counter()

    def step(self, progress: Progress) -> None:
        """Count."""
        self._steps = progress.count

    def end_run(self) -> None:
        """Say it."""
        seconds = time.perf_counter() - self._began
        click.echo(f"{self._label}: {self._steps} steps in {seconds:.1f} s", err=True)


class Bar:
    """A live bar over all runs, with step and time left, and the forming image if wanted."""

    def __init__(self, runs: int, steps: int | None, preview: bool) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._runs = runs
        self._total = steps
        self._preview = preview
        self._before = self._steps = 0
        self._console = Console(stderr=True)
        self._progress = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("step {task.fields[step]}/{task.fields[steps]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=self._console,
        )
        self._task = self._progress.add_task("", total=None, step="-", steps="-")
        self.live = Live(self._progress, console=self._console, transient=True, refresh_per_second=8)

    def start_run(self, label: str) -> None:
        """Show its label."""
        self._progress.update(self._task, description=label, step=0)

    def step(self, progress: Progress) -> None:
        """Move the bar, and show the image as it is."""
        self._steps = progress.count
        self._progress.update(
            self._task,
            completed=self._before + progress.index + 1,
            total=self._total or self._runs * progress.count,
            step=progress.index + 1,
            steps=progress.count,
        )
        if self._preview:
            from rich.console import Group

            from .half_blocks import half_blocks

            picture = half_blocks(progress.preview()[0], self._console.width, self._console.height - 2)
            self.live.update(Group(picture, self._progress))

    def end_run(self) -> None:
        """The bar goes on with the next run."""
        self._before += self._steps


@contextmanager
def showing(
    runs: int, *, quiet: bool = False, preview: bool = False, steps: int | None = None
) -> Iterator[Display]:
    """The display that fits where stderr goes.

    Args:
        steps: of all runs together, where they differ.
    """
    if quiet:
        yield Silent()
    elif not sys.stderr.isatty():
        yield Lines()
    else:
        bar = Bar(runs, steps, preview)
        with bar.live:
            yield bar


@contextmanager
def waiting(message: str, *, quiet: bool) -> Iterator[Any]:
    """A spinner with a message while something takes a few seconds; nothing where nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(message):
        yield
