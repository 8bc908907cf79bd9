"""`mezzotint bench`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import mezzotint
from mezzotint.errors import RequestError

from .candidates import candidates
from .machine import this_machine
from .measure import Measurement, measure

HEADERS = ("", "exact", "seconds", "speed-up", "spread", "first", "calls saved", "peak MB", "PSNR", "SSIM")


@click.command("bench")
@click.argument("names", nargs=-1, metavar="[EXTENSION]...")
@click.option("-m", "--model", default="emoji", show_default=True, help="Name or diffusers folder.")
@click.option("--prompt", default="3d render of a ghost", show_default=True, help="What to draw.")
@click.option("--steps", type=click.IntRange(1), help="Steps of a run.  [default: the model's]")
@click.option("-n", type=click.IntRange(1), default=1, show_default=True, help="Images at once.")
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Of all runs.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Runs side by side.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads of torch.  [default: torch's]")
@click.option("--compile", "compile_blocks", is_flag=True, help="Compile too; takes a minute to start.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    names: tuple[str, ...],
    model: str,
    prompt: str,
    steps: int | None,
    n: int,
    seed: int,
    rounds: int,
    threads: int | None,
    compile_blocks: bool,
    as_json: bool,
) -> None:
    """Measure what makes pictures faster on this machine with this model, and how far the pictures move.

    Each accelerator and sensible pair runs in turn with the plain pipeline; the speed-up is the median of
    these ratios, the spread their smallest and largest. With EXTENSION names only those are measured.
    """
    if threads:
        import torch

        torch.set_num_threads(threads)
    pipe = mezzotint.load(model)
    _check(names, pipe)
    machine = this_machine(pipe.device)
    chosen = list(candidates(pipe.registry, machine, compile_blocks=compile_blocks, only=names))
    options = {"steps": steps, "n": n, "seed": seed}
    total = sum(4 + 2 * rounds for each in chosen if not each.skipped)
    found = []
    with _progress(total) as (say, ran):
        for candidate in chosen:
            say(candidate.label)
            found.append(measure(pipe, candidate, prompt, options, rounds, ran))
    after = this_machine(pipe.device)
    if as_json:
        about = {
            "machine": vars(machine),
            "load_after": after.load,
            "model": model,
            **options,
            "rounds": rounds,
        }
        click.echo(json.dumps({**about, "measurements": [each.plain() for each in found]}, indent=2))
        return
    width, height = pipe.native_size
    click.echo(f"{machine}; load at the end {after.load:.1f}")
    click.echo(f"{model}, {width}x{height}, {n} at once, {str(pipe.dtype).removeprefix('torch.')}")
    _print_table(found)


def _check(names: tuple[str, ...], pipe: Any) -> None:
    for name in names:
        if name not in pipe.registry.extensions:
            known = ", ".join(sorted(pipe.registry.extensions))
            raise RequestError(f"no extension named {name!r}; there are: {known}")


def _print_table(found: list[Measurement]) -> None:
    rows = [_row(each) for each in found if not each.problem]
    widths = [max(len(row[i]) for row in [HEADERS, *rows]) for i in range(len(HEADERS))]
    for row in [HEADERS, *rows]:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)),
        ]
        click.echo("  ".join(cells).rstrip())
    for each in found:
        if each.problem:
            click.echo(f"{each.label}: not measured, {each.problem}")


def _row(each: Measurement) -> tuple[str, ...]:
    distance = "equal" if each.equal else "inf" if each.psnr == math.inf else _number(each.psnr, ".1f")
    saved = "?" if each.calls_saved is None else f"{each.calls_saved:.0%}"
    return (
        each.label,
        "yes" if each.exact else "",
        _number(each.seconds, ".2f"),
        _number(each.speedup, ".2f"),
        f"{_number(each.slowest, '.2f')}-{_number(each.fastest, '.2f')}",
        _number(each.first_seconds, ".1f"),
        saved,
        _number(each.peak_mb, ".0f"),
        distance,
        _number(each.ssim, ".3f"),
    )


def _number(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)


@contextmanager
def _progress(total: int) -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield (lambda _: None), (lambda: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield (lambda label: bar.update(task, description=label)), (lambda: bar.advance(task))
