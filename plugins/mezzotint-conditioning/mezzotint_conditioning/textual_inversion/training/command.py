"""`mezzotint textual-inversion train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from mezzotint.cli.model_options import options_of
from mezzotint.errors import PluginError

try:
    from mezzotint_training.command import read_settings, running, training_options
except ModuleNotFoundError as error:
    raise PluginError(
        "training needs mezzotint-training: pip install 'mezzotint-conditioning[train]'"
    ) from error

from .settings import TextualInversionSettings


@click.command("train")
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The .safetensors file to write."
)
@training_options
@options_of(TextualInversionSettings)
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
    """Learn a word from DATA: a folder of pictures, or a TOML file of kohya's.

    A picture's caption is in a .txt beside it, or in metadata.jsonl, and has the word in it; without one it is "a
    photo of TOKEN". Checkpoints, samples and TensorBoard's log go to NAME-training beside the output; --resume goes
    on from there.
    """
    settings = read_settings(TextualInversionSettings, config, values)
    with running(model, device=device, dtype=dtype, quiet=quiet) as (pipe, finish):
        from .trainee import train_textual_inversion

        finish(train_textual_inversion(pipe, data, output, settings, resume=resume, quiet=quiet))
