"""`python -m mezzotint_lora.demos.style`: fetch, train, draw the sheet and measure; what is there already is kept."""

from __future__ import annotations

import json
from pathlib import Path

import click
from platformdirs import user_cache_path


@click.command(help=__doc__)
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    default=lambda: user_cache_path("mezzotint") / "style",
    show_default="style in the cache folder of mezzotint",
    help="Folder for the packages and pictures (about 30 MB).",
)
@click.option("--to", "folder", type=click.Path(path_type=Path), default=Path("style"), show_default=True)
@click.option("-m", "--model", default="emoji", show_default=True, help="Name or diffusers folder.")
@click.option("--steps", type=click.IntRange(1), help="Of the training.")
@click.option("--measure/--no-measure", default=True, show_default=True, help="Also train the classifier.")
def command(work: Path, folder: Path, model: str, steps: int | None, measure: bool) -> None:
    """Everything, one after the other."""
    from .measuring import measure as measured
    from .measuring import write_sheet
    from .training import train_style

    folder.mkdir(parents=True, exist_ok=True)
    lora = folder / "twemoji-style.safetensors"
    if not lora.exists():
        train_style(work, lora, model, steps=steps)
    click.echo(write_sheet(work, lora, folder / "twemoji-style.png", model))
    if measure:
        found = measured(work, lora, model)
        (folder / "twemoji-style.json").write_text(f"{json.dumps(found, indent=2)}\n")
        for name, value in found.items():
            click.echo(f"{name:16} {value:.2f}")


if __name__ == "__main__":
    command(prog_name="python -m mezzotint_lora.demos.style")
