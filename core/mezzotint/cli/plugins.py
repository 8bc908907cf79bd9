"""`mezzotint plugins list`."""

from __future__ import annotations

from typing import Any

import click

from ..plugins.discovery import PluginRow, State
from ..plugins.registry import Registry
from .common_options import debug_option, json_option, plugin_option
from .own_commands import command_conflicts
from .plugin_loading import tolerant_registry
from .tables import print_json, print_table


@click.command("list")
@plugin_option
@json_option
@debug_option
def list_plugins(plugin_files: tuple[str, ...], as_json: bool) -> None:
    """List the plugins: loaded, disabled or failed, what they bring, and why one is not loaded."""
    registry = tolerant_registry(plugin_files)
    rows = [plain_row(registry, row) for row in registry.rows]
    conflicts = [*registry.conflicts(), *command_conflicts(registry)]
    if as_json:
        print_json({"plugins": rows, "conflicts": conflicts})
        return
    if not rows:
        click.echo("No plugin is installed. Start with: pip install mezzotint-emoji mezzotint-schedulers")
        return
    print_table(
        ("plugin", "distribution", "version", "state", "provides", "cause"),
        [
            (
                row["name"],
                row["distribution"] or row["value"],
                row["version"] or "",
                row["state"],
                _counts(row["provides"]),
                row["cause"],
            )
            for row in rows
        ],
    )
    for conflict in conflicts:
        click.echo(f"conflict: {conflict}")
    if any(row["state"] == State.FAILED for row in rows):
        click.echo("\nMore about a failure: mezzotint plugins explain NAME --debug")


def plain_row(registry: Registry, row: PluginRow) -> dict[str, Any]:
    """A plugin as plain data."""
    return {
        "name": row.owner.plugin,
        "distribution": row.owner.distribution,
        "version": row.owner.version,
        "value": row.value,
        "state": str(row.state),
        "provides": registry.provided_by(row.owner) if row.state is State.LOADED else {},
        "cause": row.cause,
    }


def _counts(provides: dict[str, list[str]]) -> str:
    """`model emoji, 14 schedulers`: names where there are few, else how many."""
    parts = []
    for kind, names in provides.items():
        singular = {"families": "family"}.get(kind, kind.removesuffix("s"))
        label = singular if len(names) == 1 else kind
        parts.append(f"{label} {', '.join(names)}" if len(names) <= 3 else f"{len(names)} {label}")
    return ", ".join(parts)
