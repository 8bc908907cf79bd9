"""`mezzotint plugins explain`."""

from __future__ import annotations

from typing import Any

import click

from ..errors import unknown_name
from ..plugins.discovery import PluginRow, State
from ..plugins.extension import Extension
from ..plugins.registry import Registry
from .common_options import debug_option, json_option, plugin_option, wants_debug
from .extension_fields import describe_field, option_name, type_label
from .plugin_loading import tolerant_registry
from .plugins import plain_row
from .tables import print_json


@click.command()
@click.argument("name")
@plugin_option
@json_option
@debug_option
def explain(name: str, plugin_files: tuple[str, ...], as_json: bool) -> None:
    """Show what a plugin brings: NAME is a plugin, a distribution or an extension."""
    registry = tolerant_registry(plugin_files)
    details = [_details(registry, row) for row in find_rows(registry, name)]
    if as_json:
        print_json({"plugins": details})
        return
    for position, plugin in enumerate(details):
        if position:
            click.echo()
        _print(plugin)
    _print_traceback(find_rows(registry, name))


def find_rows(registry: Registry, name: str) -> list[PluginRow]:
    """Rows by plugin or distribution, else the plugin that brings an extension of that name."""
    rows = [row for row in registry.rows if name in (row.owner.plugin, row.owner.distribution)]
    if not rows and name in registry.extensions:
        owner = registry.extensions.provided(name).owner
        rows = [row for row in registry.rows if row.owner == owner]
    if not rows:
        known = {row.owner.plugin for row in registry.rows}
        known |= {row.owner.distribution for row in registry.rows if row.owner.distribution}
        raise unknown_name("plugin", name, {*known, *registry.extensions})
    return rows


def _details(registry: Registry, row: PluginRow) -> dict[str, Any]:
    plain = plain_row(registry, row)
    plain["extensions"] = [
        _extension(registry.extensions[name]) for name in plain["provides"].get("extensions", ())
    ]
    return plain


def _extension(extension: type[Extension]) -> dict[str, Any]:
    name = extension.extension_name
    return {
        "name": name,
        "summary": extension.summary(),
        "hook_points": list(extension.hook_names()),
        "conflicts": list(extension.conflicts),
        "options": [
            {
                "name": field,
                "option": f"--{option_name(name, field)}",
                "type": type_label(info) if info.annotation is not bool else "FLAG",
                "required": info.is_required(),
                "help": describe_field(info),
            }
            for field, info in extension.model_fields.items()
        ],
    }


def _print(plugin: dict[str, Any]) -> None:
    click.echo(click.style(plugin["name"], bold=True) + f": {plugin['state']}")
    if plugin["cause"]:
        click.echo(f"  cause: {plugin['cause']}")
    if plugin["distribution"]:
        click.echo(f"  distribution: {plugin['distribution']} {plugin['version']}")
        click.echo(f"  entry point: {plugin['value']}")
    else:
        click.echo(f"  from: {plugin['value']}")
    for kind, names in plugin["provides"].items():
        if kind != "extensions":
            click.echo(f"  {kind}: {', '.join(names)}")
    for extension in plugin["extensions"]:
        _print_extension(extension)
    if plugin["state"] == State.DISABLED:
        click.echo(f"  switch it on: mezzotint plugins enable {plugin['name']}")


def _print_extension(extension: dict[str, Any]) -> None:
    click.echo(f"\n  extension {click.style(extension['name'], bold=True)}: {extension['summary']}")
    click.echo(f"    acts at: {', '.join(extension['hook_points']) or 'no hook point'}")
    if extension["conflicts"]:
        click.echo(f"    not together with: {', '.join(extension['conflicts'])}")
    if extension["options"]:
        formatter = click.HelpFormatter(width=100, max_width=100)
        formatter.current_indent = 4
        rows = [(f"{option['option']} {option['type']}", option["help"]) for option in extension["options"]]
        formatter.write_dl(rows)
        click.echo(formatter.getvalue().rstrip("\n"))


def _print_traceback(rows: list[PluginRow]) -> None:
    if not wants_debug():
        return
    import traceback

    for row in rows:
        if row.error is not None:
            click.echo("".join(traceback.format_exception(row.error)), err=True)
