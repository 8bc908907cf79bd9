"""`mezzotint lora extract`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import mezzotint

from ..combining import extract
from ..files import write_adapter
from ..loading import models_of
from ..names import Names
from .options import check_free, counting, force_option, format_option, keep_of, keep_options, output_argument


@click.command("extract")
@click.argument("base")
@click.argument("tuned")
@output_argument
@keep_options(required=True)
@click.option(
    "--norms", is_flag=True, help="Keep changes of norms and biases too, whole; few programs read them."
)
@format_option
@force_option
def command(
    base: str,
    tuned: str,
    output: Path,
    rank: int,
    ratio: float | None,
    fro: float | None,
    cumulative: float | None,
    norms: bool,
    format: Any,
    force: bool,
) -> None:
    """Make the LoRA that turns model BASE into model TUNED; both are names or folders."""
    check_free(output, force)
    keep = keep_of(rank, ratio=ratio, fro=fro, cumulative=cumulative)
    assert keep is not None  # --rank is required
    first, second = models_of(mezzotint.load(base)), models_of(mezzotint.load(tuned))
    with counting("extracting") as progress:
        adapter, share = extract(first, second, keep, norms, progress)
    write_adapter(output, adapter, format, names={name: Names.of(model) for name, model in first.items()})
    click.echo(f"{len(adapter.deltas)} modules, {share:.1%} of the change", err=True)
    click.echo(str(output))
