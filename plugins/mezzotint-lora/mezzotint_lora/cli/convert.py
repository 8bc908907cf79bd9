"""`mezzotint lora convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..files import read_adapter, write_adapter
from .options import check_free, force_option, format_option, model_option, names_of_model, output_argument


@click.command("convert")
@click.argument("file", type=click.Path(path_type=Path))
@output_argument
@format_option
@model_option
@force_option
def command(file: Path, output: Path, format: Any, model: str | None, force: bool) -> None:
    """Write a LoRA in another format, with its alphas, DoRA, text encoders and metadata.

    OUTPUT is a .safetensors file, for peft a folder. There and back gives the same bytes where each module has an
    alpha of its weights' number type, as kohya writes it.
    """
    check_free(output, force)
    adapter = read_adapter(file)
    write_adapter(output, adapter, format, names=names_of_model(model))
    click.echo(f"{adapter.layout} → {format}: {len(adapter.deltas)} modules", err=True)
    click.echo(str(output))
