"""Listings: a table that fits the terminal, or one plain line for each row where the output is piped."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below headers; columns that are empty in every row are left out."""
    kept = [i for i in range(len(headers)) if any(row[i] for row in rows)]
    headers = [headers[i] for i in kept]
    rows = [[row[i] for i in kept] for row in rows]
    if sys.stdout.isatty():
        _print_rich(headers, rows)
        return
    # Piped: nothing is wrapped or cut, so that a row stays a line.
    widths = [max(len(line[i]) for line in [headers, *rows]) for i in range(len(headers))]
    for line in [headers, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_json(value: Any) -> None:
    """Print plain data as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def _print_rich(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for position, header in enumerate(headers):
        table.add_column(header, overflow="fold", no_wrap=position == 0)
    for row in rows:
        # Text: a plugin's words are never read as markup.
        table.add_row(*map(Text, row))
    Console().print(table)
