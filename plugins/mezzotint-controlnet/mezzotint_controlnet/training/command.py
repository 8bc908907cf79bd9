"""`mezzotint controlnet train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from mezzotint.cli.model_options import options_of
from mezzotint_training.command import read_settings, running, training_options

from .settings import ControlNetSettings


@click.command("train")
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The diffusers folder to write."
)
@training_options
@options_of(ControlNetSettings)
def command(
    data: Path,
    output: Path,
    model: str,
    device: str,
    dtype: str,
    config: Path | None,
    resume: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Train a ControlNet on DATA: a folder of pictures, or a TOML file of kohya's.

    Control maps are made by --preprocess, or lie in the folder --maps under the names of the pictures, or are named in
    metadata.jsonl. Checkpoints, samples and TensorBoard's log go to NAME-training beside the output; --resume goes on
    from there. Several processes: accelerate launch -m mezzotint controlnet train …
    """
    settings = read_settings(ControlNetSettings, config, values)
    with running(model, device=device, dtype=dtype, quiet=quiet) as (pipe, finish):
        from .trainee import train_controlnet

        finish(train_controlnet(pipe, data, output, settings, resume=resume, quiet=quiet))
