"""The registry that a command works with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import click

from ..errors import UnknownNameError
from ..plugins.discovery import State
from ..plugins.registry import Registry
from ..plugins.settings import read_settings


def tolerant_registry(files: Sequence[object] = ()) -> Registry:
    """All plugins, for listings and help: one that fails is a row, even with `MEZZOTINT_STRICT=1`.

    Raises:
        PluginError: one of `files` does not load.
    """
    return Registry.load(files, settings=replace(read_settings(), strict=False))


@contextmanager
def hinting_at_failures(registry: Registry) -> Iterator[None]:
    """Let an unknown name or option also say which plugins are missing: it may have come from one of them."""
    try:
        yield
    except UnknownNameError as error:
        raise UnknownNameError(f"{error}{_failures(registry)}") from None
    except click.NoSuchOption as error:
        message = f"{error.message}{_failures(registry)}"
        raise click.NoSuchOption(error.option_name, message, error.possibilities, error.ctx) from None


def _failures(registry: Registry) -> str:
    failed = [row for row in registry.rows if row.state is State.FAILED]
    if not failed:
        return ""
    names = ", ".join(row.owner.plugin for row in failed)
    number, them = ("A plugin", "it") if len(failed) == 1 else ("Some plugins", "them")
    return f" {number} failed to load ({names}); if it is from {them}: mezzotint plugins explain {failed[0].owner.plugin}"
