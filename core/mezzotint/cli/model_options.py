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
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .extension_fields import describe_field, is_flag, type_label
from .extension_values import as_list, convert

Command = TypeVar("Command", bound=Callable[..., Any])


def options_of(model: type[BaseModel], *, without: Collection[str] = ()) -> Callable[[Command], Command]:
    """A decorator that gives a command an option for each field; `learning_rate` is `--learning-rate`.

    A field that is true or false is a pair of flags; one that holds a sequence takes values with commas between (those
    inside brackets and quotes do not count), or a JSON list. An option that is not given is handed over as `None`.
    Nothing is checked here: that is the model's work.

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
        name: _value(name, field, values[name])
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


def _value(name: str, field: FieldInfo, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    plain, of = convert(value), _element_of(field.annotation)
    if of is None or isinstance(plain, list):
        return plain
    parts = as_list(name, value.removesuffix(","))
    # A single word is a list of one; one of another kind may have a notation of its own, such as 64x64.
    return parts if of is str or len(parts) != 1 else parts[0]


def _element_of(annotation: Any) -> Any:
    """What a sequence holds; `None` for what is no sequence."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return next(filter(None, map(_element_of, get_args(annotation))), None)
    if origin not in (list, tuple, set, frozenset):
        return None
    of = get_args(annotation)[0]
    return get_args(of)[0] if get_origin(of) is Annotated else of
