"""What plugins provide, as plain data: models, preprocessors, commands.

Nothing here imports a model or torch; each spec says where the real thing is, so that listings stay quick.
Schedulers and spacings have their own specs in `mezzotint.scheduling`, extensions are classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from PIL.Image import Image


@dataclass(frozen=True)
class RunDefaults:
    """What a run does where the caller is silent; `None` leaves it to the pipeline's own defaults."""

    steps: int | None = None
    guidance: float | None = None
    size: tuple[int, int] | None = None
    """(width, height) in pixels."""
    scheduler: str | None = None
    spacing: str | None = None
    negative: str | None = None


@dataclass(frozen=True)
class ModelSpec:
    """A model, or a part of one, by name: a diffusers folder that a plugin ships."""

    name: str
    path: Path
    description: str = ""
    licence: str = ""
    defaults: RunDefaults = field(default_factory=RunDefaults)
    example_prompts: tuple[str, ...] = ()
    kind: str = "pipeline"
    """`pipeline` is what `mezzotint.load` opens; else the kind of part that an extension takes, such as `controlnet`."""


@dataclass(frozen=True)
class PreprocessorSpec:
    """A function from an image to a control map of the same size."""

    name: str
    function: Callable[..., Image]
    description: str = ""


@dataclass(frozen=True)
class CommandSpec:
    """A subcommand of `mezzotint`, such as `lora train`: `target` is imported when it is called."""

    name: str
    """Words separated by blanks; groups on the way are made as needed."""
    target: str
    """`package.module:attribute` of a `click.Command`."""
    help: str = ""
    """One line for the listing, so that nothing need be imported for it."""

    def load(self) -> click.Command:
        """Import the command."""
        from importlib import import_module

        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command
