"""What a plugin's command is built from, so that it looks and fails like mezzotint's own.

    @click.command("shout")
    @model_option
    @plugin_option
    @device_options
    def command(model, plugin_files, device, dtype):
        registry = Registry.load(plugin_files)
        pipe = open_pipeline(model, registry, device=device, dtype=dtype)

An error is a `MezzotintError`: it is printed as one sentence, and a traceback only with `--debug`. Ctrl-C where
something is finished is `Interrupted`, with a sentence about what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cli.common_options import device_options, json_option, model_option, plugin_option
from .cli.display import Display, showing, waiting
from .cli.errors import Interrupted
from .cli.open_model import check_model, open_model, show_warnings
from .cli.plugin_loading import hinting_at_failures
from .cli.tables import print_json, print_table

if TYPE_CHECKING:
    from .pipeline.pipeline import Pipeline
    from .plugins.registry import Registry

__all__ = [
    "Display",
    "Interrupted",
    "device_options",
    "hinting_at_failures",
    "json_option",
    "model_option",
    "open_pipeline",
    "plugin_option",
    "print_json",
    "print_table",
    "showing",
]


def open_pipeline(
    model: str, registry: Registry, *, device: str = "auto", dtype: str = "auto", quiet: bool = False
) -> Pipeline:
    """As `mezzotint.load`, with the libraries' own progress bars and warnings off and a spinner while it loads.

    Args:
        registry: `Registry.load(plugin_files)`.

    Raises:
        ModelError, UnknownNameError, RequestError: as `mezzotint.load`; a wrong name before torch is imported.
    """
    with hinting_at_failures(registry):
        check_model(registry, model)
    show_warnings()
    with waiting(f"loading {model} …", quiet=quiet):
        return open_model(model, registry, device=device, dtype=dtype)
