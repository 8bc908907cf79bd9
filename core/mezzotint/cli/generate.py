"""`mezzotint generate`."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from ..errors import RequestError
from ..plugins.registry import Registry
from ..scheduling import SolverSpec, familiar_names, find_scheduler, find_spacing
from .common_options import debug_option, device_options, json_option, model_option, plugin_option
from .contact_sheet import contact_sheet
from .display import showing, waiting
from .errors import Interrupted
from .extension_options import extensions_from
from .generate_command import GenerateCommand, known_options, known_registry
from .making import Job, Saved, make_images, make_jobs
from .open_model import check_model, open_model, show_warnings
from .output_names import OutputNames, save_under_free_name
from .plugin_loading import hinting_at_failures
from .tables import print_json

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..pipeline.pipeline import Pipeline
    from ..plugins.extension import Extension


def parse_size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """`WIDTHxHEIGHT` in pixels."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,6})\s*[xX×*]\s*(\d{1,6})", value.strip())
    if match is None:
        raise click.BadParameter(f"{value!r} is not WIDTHxHEIGHT, such as 64x64")
    return int(match[1]), int(match[2])


@click.command(
    cls=GenerateCommand,
    no_args_is_help=True,
    epilog='Example: mezzotint generate "3d render of a ghost" -n 4 --grid',
)
@click.argument("prompts", metavar="PROMPT...", nargs=-1, required=True)
@model_option
@click.option("--negative", metavar="TEXT", help="What to steer away from.")
@click.option(
    "--steps", metavar="N", type=click.IntRange(1), help="Steps of the scheduler.  [default: the model's]"
)
@click.option(
    "--scheduler",
    metavar="NAME",
    help="Name (mezzotint schedulers list) or diffusers:CLASS.  [default: the model's]",
)
@click.option("--spacing", metavar="NAME", help="How noise levels are spaced: karras, trailing, …")
@click.option(
    "--guidance", type=float, help="Scale of classifier-free guidance; 1 is off.  [default: the model's]"
)
@click.option("--seed", metavar="N", type=click.IntRange(0), help="Image k gets seed + k.  [default: random]")
@click.option(
    "-n",
    "n",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Images for each prompt.",
)
@click.option(
    "--batch-size",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Images made at once. With 1, each file stands alone.",
)
@click.option("--size", metavar="WxH", callback=parse_size, help="Pixels.  [default: the model's]")
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="Folder, file, or pattern with {prompt} {seed} {number} {model}. Existing files are never overwritten.",
)
@click.option("--grid", is_flag=True, help="Also write all images on one sheet.")
@device_options
@click.option("--preview", is_flag=True, help="Show the image in the terminal as it forms.")
@click.option("--explain", is_flag=True, help="Print what each extension would do, and stop.")
@plugin_option
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but the paths.")
@debug_option
@click.pass_context
def generate(
    ctx: click.Context,
    /,
    prompts: tuple[str, ...],
    model: str,
    seed: int | None,
    n: int,
    batch_size: int,
    output: str | None,
    grid: bool,
    device: str,
    dtype: str,
    preview: bool,
    explain: bool,
    plugin_files: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Make images from a prompt, one file each; each file holds the recipe to make it again.

    Several prompts (in quotes) give N images each.
    """
    registry = known_registry(ctx)
    arguments = {
        key: values[key] for key in ("negative", "steps", "scheduler", "spacing", "guidance", "size")
    }
    extensions = extensions_from(known_options(ctx), values)
    names = OutputNames.parse(output)
    with hinting_at_failures(registry):
        check_model(registry, model)
        _check_scheduler(registry, arguments["scheduler"], arguments["spacing"])
    jobs = make_jobs(prompts, n, secrets.randbelow(2**32) if seed is None else seed, batch_size)
    _check_pictures(extensions, jobs)
    quiet = quiet or as_json
    show_warnings(notes=not quiet)
    with nullcontext() if explain else names.folder_ready():
        with waiting(f"loading {model} …", quiet=quiet):
            pipe = open_model(model, registry, device=device, dtype=dtype)
        if explain:
            _explain(pipe, jobs, arguments, extensions, as_json)
            return
        _make(pipe, jobs, arguments, extensions, names, n if grid else None, preview, as_json, quiet)


def _check_pictures(extensions: Sequence[Extension], jobs: Sequence[Job]) -> None:
    """Refuse pictures for the images of one run where there are several runs."""
    from ..pictures import several_for_one_run

    for extension in extensions if len(jobs) > 1 else ():
        for field, count in several_for_one_run(extension).items():
            raise RequestError(
                f"--{extension.extension_name}: {field} has {count} pictures, one for each image that is made at once, and "
                f"these are {len(jobs)} runs; give one picture, or one prompt with -n {count} --batch-size {count}"
            )


def _make(
    pipe: Pipeline,
    jobs: Sequence[Job],
    arguments: dict[str, Any],
    extensions: Sequence[Extension],
    names: OutputNames,
    sheet_of: int | None,
    preview: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make and save all images; `sheet_of` is how many each prompt has, if all go on one sheet as well."""
    began = time.perf_counter()
    total = sum(job.n for job in jobs)
    saved: list[Saved] = []
    images: list[Image] = []
    sheet = None
    try:
        with showing(len(jobs), quiet=quiet, preview=preview) as display:
            for one, image in make_images(pipe, jobs, arguments, extensions, names, display):
                saved.append(one)
                images += [image] if sheet_of else []
        if sheet_of:
            columns = sheet_of if 1 < sheet_of < total else None
            sheet = _save_sheet(contact_sheet(images, columns), saved[0], names, pipe.source.name)
    except KeyboardInterrupt:
        are = "is" if len(saved) == 1 else "are"
        raise Interrupted(f"{len(saved)} of {total} images {are} finished{_listed(saved)}") from None
    finally:
        # Also where a later image failed: what is finished is there to stay.
        _print_saved(saved, sheet, time.perf_counter() - began, as_json, quiet)


def _listed(saved: Sequence[Saved]) -> str:
    return f" and whole: {', '.join(str(one.path) for one in saved)}" if saved else "; nothing was written"


def _check_scheduler(registry: Registry, scheduler: str | None, spacing: str | None) -> None:
    """Say at once what would otherwise be said after the model is loaded."""
    if scheduler is None or ":" in scheduler:
        return
    scheduler, spacing = familiar_names(scheduler, spacing, registry.schedulers, registry.spacings)
    spec = find_scheduler(scheduler, registry.schedulers, registry.families, registry.spacings)
    if spacing is not None and isinstance(spec, SolverSpec):
        find_spacing(spacing, registry.spacings)


def _save_sheet(sheet: Image, first: Saved, names: OutputNames, model: str) -> str:
    path = names.path(prompt=first.prompt, seed=first.seed, number=1, model=model)
    return str(save_under_free_name(sheet, None, path.with_name(f"{path.stem}-grid.png")))


def _print_saved(
    saved: Sequence[Saved], sheet: str | None, seconds: float, as_json: bool, quiet: bool
) -> None:
    if as_json:
        images = [
            {
                "path": str(one.path),
                "prompt": one.prompt,
                "seed": one.seed,
                "beside": [str(path) for path in one.beside],
            }
            for one in saved
        ]
        print_json({"images": images, "grid": sheet, "seconds": round(seconds, 3)})
        return
    if not quiet and saved:
        count = "1 image" if len(saved) == 1 else f"{len(saved)} images"
        click.echo(f"{count} in {seconds:.1f} s", err=True)
    paths = [path for one in saved for path in (one.path, *one.beside)]
    for path in [*map(str, paths), *([sheet] if sheet else [])]:
        click.echo(path)


def _explain(
    pipe: Pipeline,
    jobs: Sequence[Job],
    arguments: dict[str, Any],
    extensions: Sequence[Extension],
    as_json: bool,
) -> None:
    job = jobs[0]
    plan = pipe.plan(job.prompt, seed=job.seed, n=job.n, use=extensions, **arguments)
    request = plan.request
    assert request is not None  # only Pipeline.using plans without one
    # Built and left: what cannot be built is said here too, not only by the run.
    scheduler = pipe.make_scheduler(request)
    settings: dict[str, Any] = {
        "prompts": list(dict.fromkeys(one.prompt for one in jobs)),
        "model": pipe.source.name,
        "device": str(pipe.device),
        "dtype": str(pipe.dtype).removeprefix("torch."),
        "scheduler": request.scheduler or type(scheduler).__name__,
        "spacing": request.spacing,
        "steps": request.steps,
        "guidance": request.guidance,
        "size": list(request.size),
        "seed": request.seed,
        "images": sum(one.n for one in jobs),
        "runs": len(jobs),
    }
    if as_json:
        print_json({"settings": settings, "plan": plan.rows()})
        return
    for key, value in settings.items():
        if value is not None:
            click.echo(f"{key}: {_shown(key, value)}")
    click.echo(f"\n{plan.explain()}", nl=False)


def _shown(key: str, value: Any) -> str:
    if key == "size":
        return "x".join(map(str, value))
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
