"""`mezzotint lora merge`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from ..combining import merge
from ..errors import LoRAError
from ..files import read_adapter, write_adapter
from .options import (
    check_free,
    counting,
    force_option,
    format_option,
    keep_of,
    keep_options,
    model_option,
    names_of_model,
)


@click.command("merge", no_args_is_help=True)
@click.argument("files", metavar="FILE[:WEIGHT]...", nargs=-1, required=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="File, or folder with --into."
)
@click.option(
    "--into", metavar="MODEL", help="Write a copy of this model (name or folder) with the LoRAs in it."
)
@keep_options(required=False)
@format_option
@model_option
@force_option
def command(
    files: tuple[str, ...],
    output: Path,
    into: str | None,
    rank: int | None,
    ratio: float | None,
    fro: float | None,
    cumulative: float | None,
    format: Any,
    model: str | None,
    force: bool,
) -> None:
    """Make one LoRA of several, or a model with them in it.

    Without --rank the sum is exact and the ranks add up; with it, singular values are cut.
    """
    if into is not None and output.exists():
        raise LoRAError(f"{output} exists, and a model is never written over another; choose another name")
    check_free(output, force)
    keep = keep_of(rank, ratio=ratio, fro=fro, cumulative=cumulative)
    paths, weights = zip(*map(_weighted, files), strict=True)
    if into is not None:
        if keep is not None:
            raise LoRAError("--rank is for a LoRA made of LoRAs; a model takes them whole")
        from ..merging_into import merge_into

        merge_into(into, list(zip(paths, weights, strict=True)), output)
    else:
        with counting("merging") as progress:
            adapter = merge(
                [read_adapter(path) for path in paths], weights, keep, names_of_model(model), progress
            )
        write_adapter(output, adapter, format, names=names_of_model(model))
    click.echo(str(output))


def _weighted(text: str) -> tuple[Path, float]:
    """`style.safetensors:0.8`; 1 where no weight is given."""
    path, colon, weight = text.rpartition(":")
    if not colon or Path(text).exists():
        return Path(text), 1.0
    try:
        number = float(weight)
    except ValueError:
        return Path(text), 1.0
    if not math.isfinite(number):
        raise LoRAError(f"{text}: the weight must be a finite number, such as {path}:0.8")
    return Path(path), number
