"""`mezzotint schedulers compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from mezzotint import Registry
from mezzotint.commands import (
    Interrupted,
    device_options,
    hinting_at_failures,
    json_option,
    model_option,
    open_pipeline,
    plugin_option,
    print_json,
    print_table,
    showing,
)
from mezzotint.errors import MezzotintError, RequestError

from .cells import OWN, Cell, Planned, check_names, plan_cells
from .page import save
from .report import Report, setting_of
from .running import Outcome, Reference, Request, run_cells, starts

SOLVERS = "euler,heun,dpmpp-2m,unipc,deis"
SPACINGS = "trailing,karras"


def names(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    """Names separated by commas."""
    found = tuple(dict.fromkeys(part.strip() for part in value.split(",")))
    if not all(found):
        raise click.BadParameter(f"{value!r} is no list of names, such as {SOLVERS}")
    return found


def numbers(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Numbers separated by commas."""
    if value is None:
        return None
    try:
        found = tuple(dict.fromkeys(int(part) for part in value.split(",")))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of numbers, such as 5,10,20") from None
    return found


def steps_of(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """Numbers of steps."""
    found = numbers(ctx, param, value) or ()
    if min(found) < 1:
        raise click.BadParameter(f"a run has at least 1 step, not {min(found)}")
    return found


@click.command(
    "compare",
    no_args_is_help=True,
    epilog='Example: mezzotint schedulers compare "3d render of a ghost" --solvers dpmpp-2m,unipc --steps 5,10',
)
@click.argument("prompt")
@click.option(
    "--solvers",
    default=SOLVERS,
    show_default=True,
    callback=names,
    metavar="NAMES",
    help="Or diffusers:CLASS.",
)
@click.option(
    "--spacings",
    default=SPACINGS,
    show_default=True,
    callback=names,
    metavar="NAMES",
    help=f"{OWN!r} is that of the model's scheduler.",
)
@click.option(
    "--steps",
    default="5,10,20",
    show_default=True,
    callback=steps_of,
    metavar="NUMBERS",
    help="Numbers of steps.",
)
@click.option(
    "--reference-steps",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    metavar="N",
    help="Steps of the run that stands for the exact solution; 0 leaves it out.",
)
@click.option("--negative", metavar="TEXT", help="What to steer away from.")
@click.option("--guidance", type=float, help="Scale of guidance.  [default: the model's]")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Of the common noise."
)
@click.option(
    "--show-forward",
    is_flag=True,
    help="Also show noise being added to the picture, and the way back beside it.",
)
@click.option(
    "--forward-at",
    callback=numbers,
    metavar="TIMESTEPS",
    help="Timesteps for --show-forward.  [default: eight, evenly]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("schedulers"),
    show_default=True,
    metavar="FOLDER",
    help="A new folder for the report; nothing is overwritten.",
)
@model_option
@device_options
@plugin_option
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but the paths.")
def command(
    prompt: str,
    solvers: tuple[str, ...],
    spacings: tuple[str, ...],
    steps: tuple[int, ...],
    reference_steps: int,
    negative: str | None,
    guidance: float | None,
    seed: int,
    show_forward: bool,
    forward_at: tuple[int, ...] | None,
    output: Path,
    model: str,
    device: str,
    dtype: str,
    plugin_files: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run solvers over spacings and numbers of steps from the same noise, and see how far each is from the limit.

    Writes a report (HTML with everything in it), its numbers as JSON, and the pictures on one sheet.
    """
    registry = Registry.load(plugin_files)
    with hinting_at_failures(registry):
        check_names(registry, solvers, spacings)
    folder = free_folder(output)
    quiet = quiet or as_json
    pipe = open_pipeline(model, registry, device=device, dtype=dtype, quiet=quiet)
    planned, failed = plan_cells(pipe, solvers, spacings, steps)
    if not planned:
        raise RequestError(f"none of these schedulers can run: {next(iter(failed.values()))}")
    request = Request(prompt, negative, seed, guidance)
    outcomes: list[Outcome] = []
    interrupted = False
    reference = None
    try:
        reference = _run(pipe, request, planned, reference_steps, show_forward, outcomes, failed, quiet)
    except KeyboardInterrupt:
        if not outcomes:
            raise
        interrupted = True
    if not outcomes:
        raise RequestError(f"no run came to its end: {next(iter(failed.values()))}")
    report = _report(pipe, request, outcomes, failed, reference, reference_steps, show_forward, forward_at)
    paths = save(report, pipe, folder)
    if as_json:
        print_json({**report.as_data(), "paths": {name: str(path) for name, path in paths.items()}})
    else:
        if not quiet:
            _print(report)
        for path in paths.values():
            click.echo(path)
    if interrupted:
        raise Interrupted(f"{len(outcomes)} of {len(planned)} runs are in {paths['report.html']}")


def _run(
    pipe: Any,
    request: Request,
    planned: list[Planned],
    reference_steps: int,
    show_forward: bool,
    outcomes: list[Outcome],
    failed: dict[Cell, str],
    quiet: bool,
) -> Reference | None:
    """Fill `outcomes` and `failed`, so that what is there survives Ctrl-C."""
    kinds = starts(pipe, planned) | {"marginal"} if reference_steps else set()
    runs = len(planned) + len(kinds)
    total = sum(plan.evaluations for plan in planned) + reference_steps * len(kinds)
    strip_of = _shown_steps(planned)
    longest = max(planned, key=lambda plan: plan.cell.steps).cell

    def recorded(cell: Cell) -> bool:
        return cell.steps == strip_of or (show_forward and cell == longest)

    with showing(runs, quiet=quiet, steps=total) as display:
        reference = None
        if reference_steps:
            reference = Reference(pipe, request, reference_steps, display.step)
            try:
                for kind in sorted(kinds):
                    display.start_run(f"reference of {reference_steps} steps")
                    reference.run(kind)
                    display.end_run()
            except MezzotintError as error:
                click.echo(f"warning: no reference, and so no distances: {error}", err=True)
                reference = None
        for one in run_cells(
            pipe,
            request,
            planned,
            reference,
            recorded=recorded,
            on_start=lambda cell: display.start_run(f"{cell.row}, {cell.steps} steps"),
            on_step=display.step,
            on_end=display.end_run,
        ):
            if isinstance(one, Outcome):
                outcomes.append(one)
            else:
                failed[one[0]] = one[1]
    return reference


def _shown_steps(planned: list[Planned]) -> int:
    """The number of steps whose predictions are shown: the largest that is not over 20, else the smallest."""
    found = {plan.cell.steps for plan in planned}
    return max((steps for steps in found if steps <= 20), default=min(found))


def _report(
    pipe: Any,
    request: Request,
    outcomes: list[Outcome],
    failed: dict[Cell, str],
    reference: Reference | None,
    reference_steps: int,
    show_forward: bool,
    forward_at: tuple[int, ...] | None,
) -> Report:
    forward = []
    if show_forward and (long := [one for one in outcomes if one.moments]):
        from .forward import levels

        forward = levels(pipe, max(long, key=lambda one: len(one.moments)), forward_at)
    return Report(
        request,
        pipe.source.name,
        outcomes,
        failed,
        None if reference is None else reference.image,
        reference_steps,
        forward,
        setting_of(pipe),
    )


def free_folder(wanted: Path) -> Path:
    """The folder, or its name with the first free number where there is something already."""
    folder, number = wanted, 2
    while folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        folder, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
    return folder


def _print(report: Report) -> None:
    print_table(
        ("solver", "spacing", "steps", "evaluations", "seconds", "distance"),
        [
            (
                one.cell.solver,
                one.cell.spacing,
                str(one.cell.steps),
                str(one.evaluations),
                f"{one.seconds:.2f}",
                one.why_none if one.distance is None else f"{one.distance:.4f}",
            )
            for one in report.outcomes
        ],
    )
    for cell, why in report.failed.items():
        click.echo(f"not run: {cell.row}, {cell.steps} steps: {why}", err=True)
