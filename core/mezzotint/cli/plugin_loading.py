"""The registry that a command works with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..registry import Registry
from ..settings import read_settings


def tolerant_registry(files: Sequence[object] = ()) -> Registry:
    """All plugins, for listings and help: one that fails is a row, even with `MEZZOTINT_STRICT=1`.

    Raises:
        PluginError: one of `files` does not load.
    """
    return Registry.load(files, settings=replace(read_settings(), strict=False))
