"""`python -m mezzotint_emoji.recipe`: the stages of the recipe as commands."""

from pathlib import Path

import click
from mezzotint import MezzotintError
from platformdirs import user_cache_path

working_folder = click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    default=lambda: user_cache_path("mezzotint") / "emoji",
    show_default="emoji in the cache folder of mezzotint",
    help="Folder for packages, pictures and checkpoints (about 1 GB).",
)


class Stages(click.Group):
    """What a person can mend is said in a sentence."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except MezzotintError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=Stages, help=__doc__)
def recipe() -> None:
    """Collect the commands."""


@recipe.command()
@working_folder
def data(work: Path) -> None:
    """Fetch the pinned packages; write manifest, tokenizer, pictures, word vectors and the encoder."""
    from collections import Counter

    from .data import prepare

    prepared = prepare(work)
    for (style, split), count in sorted(Counter((p.style, p.split) for p in prepared.pictures).items()):
        click.echo(f"{style:10} {split:8} {count}")


@recipe.command()
@click.option(
    "--from", "model", type=click.Path(path_type=Path), help="Model folder.  [default: the package's]"
)
@working_folder
def start(model: Path | None, work: Path) -> None:
    """Go on from a finished model: its weights become step 0 of `train unet` and `train decoder`."""
    from .export import MODEL
    from .start import start_from

    start_from(work, model or MODEL)


@recipe.command()
@click.argument("network", type=click.Choice(["unet", "decoder", "scorer"]))
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Cores to use.")
@click.option("--steps", type=click.IntRange(1), help="Length of the schedule.")
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), help="Of the schedule's constant part."
)
@working_folder
def train(network: str, threads: int, steps: int | None, learning_rate: float | None, work: Path) -> None:
    """Train one network; goes on where a killed run stopped.

    The U-Net (with the text encoder) and the decoder of the VAE do not need each other: in any order, or at the
    same time. The scorer is what benchmarks measure with.
    """
    from dataclasses import replace

    import torch

    from .hardware import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(1)  # see parallel.py
    if network == "unet":
        from .train_unet import SCHEDULE
        from .train_unet import train_unet as run
    elif network == "scorer":
        from .scorer import SCHEDULE
        from .scorer import train_scorer as run
    else:
        from .train_decoder import SCHEDULE
        from .train_decoder import train_decoder as run
    schedule = replace(
        SCHEDULE,
        steps=steps or SCHEDULE.steps,
        learning_rate=learning_rate or SCHEDULE.learning_rate,
    )
    run(work, schedule, threads=threads)


@recipe.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png")
@click.option("--steps", default=25, show_default=True)
@click.option("--guidance", default=4.0, show_default=True)
@click.option("--seed", default=7, show_default=True)
@click.option("--pairs", default=0, help="Draw so many random held-out pairs instead, each over its prompt.")
@working_folder
def sheet(path: Path, work: Path, **options: float) -> None:
    """Draw the fixed prompts and some held-out pairs with the last checkpoint."""
    if path.suffix != ".png":
        raise click.BadParameter(f"{path} does not end in .png")
    from .sheet import write_sheet

    write_sheet(work, path, **options)


@recipe.command()
@click.option("--count", default=60, show_default=True)
@working_folder
def couples(count: int, work: Path) -> None:
    """Write the package's prompts of two things, with boxes."""
    from .couples import FILE, draw_couples, write_couples
    from .data import load

    everyday = ("3d", "flat", "noto")
    found, _ = draw_couples(load(work).where(lambda picture: picture.style in everyday), count)
    write_couples(found)
    click.echo(FILE)


@recipe.command()
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), help="Model folder.  [default: the package's]"
)
@working_folder
def export(folder: Path | None, work: Path) -> None:
    """Write the averaged weights of the last checkpoints as a diffusers folder in float16, in place of a model that is there."""
    from .export import MODEL, export

    for part, size in export(work, folder or MODEL).items():
        click.echo(f"{part:14} {size / 1e6:6.2f} MB")


if __name__ == "__main__":
    recipe(prog_name="python -m mezzotint_emoji.recipe")
