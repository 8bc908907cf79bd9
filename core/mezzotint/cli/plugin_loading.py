"""The registry that a command works with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import click

from ..plugins.absent import hint_at_absent_plugins, hinting_at_absent_plugins
from ..plugins.registry import Registry
from ..plugins.settings import read_settings


def tolerant_registry(files: Sequence[object] = ()) -> Registry:
    """All plugins, for listings and help: one that fails is a row, even with `MEZZOTINT_STRICT=1`.

    Raises:
        PluginError: one of `files` does not load.
    """
    return Registry.load(files, settings=replace(read_settings(), strict=False))


def show_absent_plugins(registry: Registry) -> None:
    """Below an empty listing: which plugins are not loaded."""
    hint = hint_at_absent_plugins(registry, "one").strip()
    if hint:
        click.echo(hint)


@contextmanager
def hinting_at_failures(registry: Registry) -> Iterator[None]:
    """Let an unknown name or option also say which plugins are not loaded: it may come from one of them."""
    with hinting_at_absent_plugins(registry):
        try:
            yield
        except click.NoSuchOption as error:
            message = f"{error.message}{hint_at_absent_plugins(registry)}"
            raise click.NoSuchOption(error.option_name, message, error.possibilities, error.ctx) from None
