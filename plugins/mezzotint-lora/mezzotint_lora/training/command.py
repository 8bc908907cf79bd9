"""`mezzotint lora train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from mezzotint.cli.model_options import options_of
from mezzotint_training.command import read_settings, running, training_options

from .settings import LoRASettings


@click.command("train")
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The .safetensors file to write."
)
@training_options
@options_of(LoRASettings)
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
    """Train a LoRA on DATA: a folder of pictures, or a TOML file of kohya's.

    A picture's caption is in a .txt beside it, or in metadata.jsonl. Checkpoints, samples and TensorBoard's log go to
    NAME-training beside the output; --resume goes on from there. Several processes: accelerate launch -m mezzotint
    lora train …
    """
    settings = read_settings(LoRASettings, config, values)
    with running(model, device=device, dtype=dtype, quiet=quiet) as (pipe, finish):
        from .trainee import train_lora

        finish(train_lora(pipe, data, output, settings, resume=resume, quiet=quiet))
