"""`mezzotint schedulers compare`."""

from __future__ import annotations

import json
from pathlib import Path

import click
import mezzotint
from mezzotint.errors import RequestError

from .compare import Comparison, compare, sheet

DEFAULT = ("euler", "heun", "dpmpp-2m", "unipc", "deis")


def _numbers(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[int, ...]:
    """Numbers separated by commas."""
    try:
        numbers = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of numbers, such as 5,10,20") from None
    if min(numbers) < 1:
        raise click.BadParameter("steps start at 1")
    return numbers


@click.command("compare")
@click.argument("schedulers", nargs=-1, metavar="[SCHEDULER]...")
@click.option("-m", "--model", default="emoji", show_default=True, help="Name or diffusers folder.")
@click.option("--prompt", default="3d render of a ghost", show_default=True, help="What to draw.")
@click.option("--steps", default="5,10,20", show_default=True, callback=_numbers, help="Numbers of steps.")
@click.option("--spacing", metavar="NAME", help="For all of them.  [default: the model's]")
@click.option("--limit-steps", default=200, show_default=True, help="Steps that stand for the limit.")
@click.option("--guidance", type=float, help="Scale of guidance.  [default: the model's]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the common noise.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Also write all images on one sheet.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    schedulers: tuple[str, ...],
    model: str,
    prompt: str,
    steps: tuple[int, ...],
    spacing: str | None,
    limit_steps: int,
    guidance: float | None,
    seed: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Run schedulers from the same noise and show how near each comes to its own limit."""
    if output is not None and output.exists():
        raise RequestError(f"{output} exists; choose another name for the sheet")
    pipe = mezzotint.load(model)
    found = []
    for each in compare(
        pipe,
        prompt,
        schedulers or DEFAULT,
        steps,
        spacing=spacing,
        seed=seed,
        limit_steps=limit_steps,
        guidance=guidance,
    ):
        found.append(each)
        if not as_json:
            click.echo(_line(each) if len(found) > 1 else f"{_HEADER}\n{_line(each)}")
    if as_json:
        click.echo(json.dumps([_plain(each) for each in found], indent=2))
    if output is not None:
        sheet(found).save(output)
        click.echo(str(output), err=as_json)


_HEADER = f"{'scheduler':24}{'steps':>6}{'evaluations':>13}{'seconds':>9}{'distance':>10}"


def _line(each: Comparison) -> str:
    distance = "random" if each.distance is None else f"{each.distance:.4f}"
    return f"{each.scheduler:24}{each.steps:6d}{each.evaluations:13d}{each.seconds:9.2f}{distance:>10}"


def _plain(each: Comparison) -> dict[str, object]:
    return {
        name: getattr(each, name)
        for name in ("scheduler", "spacing", "steps", "evaluations", "seconds", "distance")
    }
