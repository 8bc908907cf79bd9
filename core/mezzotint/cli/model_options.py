"""Click options for the fields of a pydantic model, for commands whose settings are declared once.

@click.command()
@click.argument("data")
@options_of(TrainingSettings)
def command(data, **values):
    settings = TrainingSettings(**given(TrainingSettings, values))
"""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .extension_fields import describe_field, is_flag, type_label
from .extension_values import convert

Command = TypeVar("Command", bound=Callable[..., Any])


def options_of(model: type[BaseModel], *, without: Collection[str] = ()) -> Callable[[Command], Command]:
    """A decorator that gives a command an option for each field; `learning_rate` is `--learning-rate`.

    A field that is true or false is a pair of flags; one that holds a sequence takes values with commas between, or a
    JSON list. An option that is not given is handed over as `None`. Nothing is checked here: that is the model's work.

    Args:
        without: fields that have no option.
    """
    options = [_option(name, field) for name, field in model.model_fields.items() if name not in without]

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def given(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a command's values, those that are fields of the model and stood on the command line, ready for the model."""
    return {
        name: _value(field, values[name])
        for name, field in model.model_fields.items()
        if values.get(name) is not None
    }


def _option(name: str, field: FieldInfo) -> Callable[[Any], Any]:
    flag = f"--{name.replace('_', '-')}"
    help_text = describe_field(field)
    if is_flag(field):
        opposite = f"--no-{name.replace('_', '-')}"
        return click.option(f"{flag}/{opposite}", name, default=None, help=help_text)
    return click.option(flag, name, metavar=type_label(field), help=help_text)


def _value(field: FieldInfo, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    plain = convert(value)
    if isinstance(plain, str) and _is_sequence(field.annotation) and "," in plain:
        return [part.strip() for part in plain.split(",")]
    return plain


def _is_sequence(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return any(_is_sequence(part) for part in get_args(annotation))
    return origin in (list, tuple, set, frozenset)
