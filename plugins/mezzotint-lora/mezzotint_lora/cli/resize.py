"""`mezzotint lora resize`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..combining import resize
from ..describing import describe
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
    output_argument,
)


@click.command("resize")
@click.argument("file", type=click.Path(path_type=Path))
@output_argument
@keep_options(
    required=False,
    rank="Largest rank to keep; may be left out beside one of the next three, which then decide alone.",
)
@format_option
@model_option
@force_option
def command(
    file: Path,
    output: Path,
    rank: int | None,
    ratio: float | None,
    fro: float | None,
    cumulative: float | None,
    format: Any,
    model: str | None,
    force: bool,
) -> None:
    """Lower the rank of a LoRA; in each module the nearest one of that rank is kept.

    How far is said by --rank, or by --ratio, --fro or --cumulative within the rank that the file has, or by both. Ranks
    are never raised: a module whose rank is lower already stays at that.
    """
    check_free(output, force)
    keep = keep_of(rank, ratio=ratio, fro=fro, cumulative=cumulative, alone=True)
    if keep is None:
        raise LoRAError("say how far: --rank N, or --ratio, --fro or --cumulative X")
    with counting("resizing") as progress:
        adapter = resize(read_adapter(file), keep, progress)
    write_adapter(output, adapter, format, names=names_of_model(model))
    ranks = ", ".join(f"{rank} ({count})" for rank, count in describe(output, adapter).ranks.items())
    click.echo(f"rank (modules): {ranks}", err=True)
    click.echo(str(output))
