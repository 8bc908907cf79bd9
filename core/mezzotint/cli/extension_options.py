"""Options of `mezzotint generate` that extensions bring, made from their declarations.

`--lora FILE,weight=0.8` adds one extension and may be repeated; `--freeu` needs no value where every
option has a default (`--freeu=backbone=1.4` gives some); `--lora-weight 0.8` sets one option of the
only extension of that name, and switches it on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..errors import RequestError
from ..plugins.extension import Extension
from ..plugins.registry import Registry
from .extension_fields import choices_of, describe_field, is_flag, option_name, type_label
from .extension_values import as_list, convert, parse_value


@dataclass(frozen=True)
class ExtensionOptions:
    """The options of one extension."""

    name: str
    extension: type[Extension]
    title: str
    """Heading of its section in the help."""
    options: tuple[click.Option, ...]
    left_out: tuple[str, ...] = ()
    """Options whose name is taken, with what to write instead."""

    @property
    def value_is_optional(self) -> bool:
        """Whether `--NAME` alone is enough."""
        return _needs_nothing(self.extension)


_LIKE_A_VALUE = re.compile(r"[-+]?\.?\d\S*|(?!--)\S*=\S*|\S+,\S+")
"""One word that is a number, has an equals sign or a comma: hardly a prompt."""


def options_of(registry: Registry, taken: Collection[str]) -> list[ExtensionOptions]:
    """Options for every extension of the registry, except names that are `taken` (with dashes).

    An extension's own name comes before another one's option of the same name.
    """
    names = {name: f"--{name}" for name in registry.extensions}
    free = {name for name, flag in names.items() if flag not in taken}
    used = {*taken, *(names[name] for name in free)}
    return [_options_of(registry, name, used) for name in names if name in free]


def join_optional_values(args: Sequence[str], known: Sequence[ExtensionOptions]) -> list[str]:
    """Make `--freeu` and `--freeu backbone=1.4` unmistakable for click: `--freeu=`, `--freeu=backbone=1.4`.

    What follows `--freeu` is its value only if it begins with one of its options; else it is a prompt.
    """
    optional = {f"--{one.name}": one for one in known if one.value_is_optional}
    joined: list[str] = []
    rest = list(args)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            return [*joined, argument, *rest]
        if argument in optional:
            fields = "|".join(re.escape(field) for field in optional[argument].extension.model_fields)
            follows = bool(rest) and bool(fields) and re.match(f"({fields})=", rest[0].replace("-", "_"))
            if rest and not follows and _is_like_a_value(rest[0], optional[argument].extension):
                raise RequestError(
                    f"{rest[0]!r} after {argument} would be a prompt; if it is its value, write {argument}={rest[0]}, "
                    "else put the prompt first"
                )
            argument = f"{argument}={rest.pop(0) if follows else ''}"
        joined.append(argument)
    return joined


def _is_like_a_value(word: str, extension: type[Extension]) -> bool:
    """Whether a word is hardly a prompt: of the form of a value, one of an option's choices, or a file."""
    choices = {choice for info in extension.model_fields.values() for choice in choices_of(info.annotation)}
    return bool(_LIKE_A_VALUE.fullmatch(word)) or word in choices or Path(word).is_file()


def extensions_from(known: Sequence[ExtensionOptions], values: Mapping[str, Any]) -> list[Extension]:
    """The extensions that a command line switches on.

    Args:
        values: click's values by parameter name.

    Raises:
        RequestError: a value is malformed or out of range, or it is not clear which extension it is for.
    """
    return [extension for one in known for extension in _instances(one, values)]


def _instances(one: ExtensionOptions, values: Mapping[str, Any]) -> list[Extension]:
    fields = list(one.extension.model_fields)
    single = {
        field: value if isinstance(value, bool) else convert(value)
        for field in fields
        if (value := values.get(_parameter(one.name, field))) is not None
    }
    texts: Sequence[str] = values.get(_parameter(one.name)) or ()
    if single and len(texts) > 1:
        flag = f"--{option_name(one.name, next(iter(single)))}"
        raise RequestError(
            f"{flag} could belong to each of {len(texts)} --{one.name}; write it into the value of one: "
            f"--{one.name} {texts[-1]},{next(iter(single))}=…"
        )
    if single and not texts:
        return [_make(one, single)]
    made = []
    for text in texts:
        positional, named = parse_value(one.name, text, fields)
        if len(positional) > len(fields):
            raise RequestError(f"--{one.name} {text}: {len(positional)} values for {len(fields)} options")
        by_position = dict(zip(fields, positional, strict=False))
        for field in [*named, *by_position]:
            if field in single:
                raise RequestError(
                    f"{field} of {one.name} is given twice: in --{one.name} {text} "
                    f"and as --{option_name(one.name, field)}"
                )
            if field in named and field in by_position:
                raise RequestError(f"--{one.name} {text}: {field} is given twice, by position and by name")
        made.append(_make(one, {**by_position, **named, **single}))
    return made


def _make(one: ExtensionOptions, options: Mapping[str, Any]) -> Extension:
    fields = one.extension.model_fields
    return one.extension(
        **{
            field: as_list(one.name, value) if type_label(fields[field]) == "LIST" else value
            for field, value in options.items()
        }
    )


def _options_of(registry: Registry, name: str, used: set[str]) -> ExtensionOptions:
    provided = registry.extensions.provided(name)
    extension = provided.spec
    options = [_main_option(name, extension)]
    left_out = []
    for field, info in extension.model_fields.items():
        flag = f"--{option_name(name, field)}"
        if flag in used:
            left_out.append(f"{flag} has another meaning here; write --{name} {field}=…")
            continue
        used.add(flag)
        options.append(_field_option(name, field, flag, info, used))
    owner = provided.owner
    source = f"{owner.distribution} {owner.version}" if owner.distribution else owner.plugin
    summary = extension.summary()
    return ExtensionOptions(
        name,
        extension,
        f"{name}: {summary} ({source})" if summary else f"{name} ({source})",
        tuple(options),
        tuple(left_out),
    )


def _main_option(name: str, extension: type[Extension]) -> click.Option:
    fields = list(extension.model_fields)
    if _needs_nothing(extension):
        text = "Switch it on." if not fields else f"Switch it on; --{name}={fields[0]}=… sets options."
        metavar = ""
    else:
        text = "Switch it on: values in the order below, or key=value, with commas between."
        if name not in extension.conflicts:
            text += " Repeatable."
        metavar = f"{next(iter(fields)).upper()}[,KEY=VALUE…]"
    return click.Option([f"--{name}", _parameter(name)], multiple=True, metavar=metavar, help=text)


def _field_option(name: str, field: str, flag: str, info: Any, used: set[str]) -> click.Option:
    declaration = [flag, _parameter(name, field)]
    help_text = describe_field(info)
    if is_flag(info):
        opposite = f"--no-{option_name(name, field)}"
        if opposite not in used:
            used.add(opposite)
            declaration[0] = f"{flag}/{opposite}"
        return click.Option(declaration, is_flag=True, default=None, help=help_text)
    return click.Option(declaration, metavar=type_label(info), help=help_text)


def _needs_nothing(extension: type[Extension]) -> bool:
    return not any(info.is_required() for info in extension.model_fields.values())


def _parameter(name: str, field: str = "") -> str:
    """Name of the value that click hands over; the prefix keeps it apart from generate's own parameters."""
    return f"ext_{name.replace('-', '_')}__{field}"
