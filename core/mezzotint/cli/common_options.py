"""Options that several commands share, mezzotint's own and those of plugins (through `mezzotint.commands`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from ..models.device import DTYPES

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Session:
    """What holds for one command line, whichever command it is."""

    debug: bool = False


def debug_option(command: Command) -> Command:
    """`--debug` in the help of a command; `cli.main` takes it out of the arguments beforehand."""
    return click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(
        command
    )


def json_option(command: Command) -> Command:
    """`--json`, handed over as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def plugin_option(command: Command) -> Command:
    """`--plugin FILE`, repeatable, handed over as `plugin_files`."""
    return click.option(
        "--plugin",
        "plugin_files",
        metavar="FILE",
        multiple=True,
        help="Also load this Python file as a plugin. Repeatable.",
    )(command)


def model_option(command: Command) -> Command:
    """`--model`, handed over as `model`."""
    return click.option(
        "-m",
        "--model",
        default="emoji",
        show_default=True,
        help="Name (mezzotint models) or diffusers folder.",
    )(command)


def device_options(command: Command) -> Command:
    """`--device` and `--dtype`, as `mezzotint.load` takes them."""
    command = click.option(
        "--dtype",
        type=click.Choice(["auto", "fast", *DTYPES]),
        default="auto",
        show_default=True,
        help="Number type of the model.",
    )(command)
    return click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")(
        command
    )


def wants_debug() -> bool:
    """Whether `--debug` stood on the command line."""
    context = click.get_current_context(silent=True)
    return context is not None and context.find_object(Session) == Session(debug=True)
