"""`mezzotint plugins enable` and `disable`: the decision is kept in the configuration file."""

from __future__ import annotations

import os

import click

from ..errors import MezzotintError, unknown_name
from ..plugins.discovery import installed_entry_points
from ..plugins.settings import config_path, read_disabled, read_settings, write_disabled
from .common_options import debug_option


@click.command()
@click.argument("name")
@debug_option
def disable(name: str) -> None:
    """Never import the plugin NAME (a plugin or a whole distribution) until it is enabled again."""
    path = config_path()
    disabled = read_disabled(path)
    _check_known(name, disabled)
    if name in disabled:
        click.echo(f"{name} is already disabled in {path}.")
        return
    write_disabled(path, [*disabled, name])
    click.echo(f"{name} is disabled in {path}. Undo: mezzotint plugins enable {name}")


@click.command()
@click.argument("name")
@debug_option
def enable(name: str) -> None:
    """Import the plugin NAME (a plugin or a whole distribution) again."""
    path = config_path()
    disabled = read_disabled(path)
    _check_known(name, disabled)
    if name in disabled:
        write_disabled(path, [entry for entry in disabled if entry != name])
        click.echo(f"{name} is enabled again in {path}.")
    still = _still_disabled(name)
    if still:
        raise MezzotintError(still)
    if name not in disabled:
        click.echo(f"{name} is not disabled.")


def _check_known(name: str, disabled: list[str]) -> None:
    """Names come from metadata: nothing is imported to switch it off."""
    points = installed_entry_points()
    known = {point.name for point in points} | {point.dist.name for point in points if point.dist}
    if name not in known and name not in disabled:
        raise unknown_name("plugin", name, known, "See: mezzotint plugins list")


def _still_disabled(name: str) -> str | None:
    """A sentence if something else keeps the plugin off."""
    settings = read_settings(os.environ)
    for point in installed_entry_points():
        distribution = point.dist.name if point.dist else ""
        if name not in (point.name, distribution):
            continue
        reason = settings.reason_to_skip(point.name, distribution)
        if reason is None:
            continue
        if distribution in settings.disabled and distribution != name:
            return f"{name} stays off with its distribution: mezzotint plugins enable {distribution}"
        if point.name in settings.disabled and point.name != name:
            return f"plugin {point.name} of {name} stays off: mezzotint plugins enable {point.name}"
        return f"{name} stays off: {reason}. Change that variable."
    return None
