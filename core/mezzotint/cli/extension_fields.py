"""An extension's options as the command line shows them: type, default, limits, description."""

from __future__ import annotations

import types
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

_LIMITS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
_TYPES = {int: "INTEGER", float: "FLOAT", str: "TEXT", Path: "PATH"}


def option_name(extension: str, field: str) -> str:
    """`lora`, `start_at` → `lora-start-at`."""
    return f"{extension}-{field.replace('_', '-')}"


def is_flag(field: FieldInfo) -> bool:
    """Whether the option is true or false."""
    return field.annotation is bool


def type_label(field: FieldInfo) -> str:
    """`FLOAT`, `PATH`, `[a|b]`, …"""
    return _label(field.annotation)


def choices_of(annotation: Any) -> list[str]:
    """What an option of a few choices takes; none for others."""
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(member.value) for member in annotation]
    return []


def describe_field(field: FieldInfo) -> str:
    """Description, default and limits on one line."""
    facts = [*limits(field)]
    if field.is_required():
        facts.insert(0, "required")
    elif field.default_factory is None and field.default not in (None, False, (), []):
        facts.insert(0, f"default: {_plain(field.default)}")
    extra = f"[{'; '.join(facts)}]" if facts else ""
    return "  ".join(part for part in (field.description or "", extra) if part)


def limits(field: FieldInfo) -> list[str]:
    """`0<=x<=1`, or one-sided `x>=0`."""
    low, high = "", ""
    for constraint in field.metadata:
        for attribute, sign in _LIMITS:
            bound = getattr(constraint, attribute, None)
            if bound is None:
                continue
            if sign.startswith(">"):
                low = f"{bound}{sign.replace('>', '<')}x"
            else:
                high = f"x{sign}{bound}"
    if low and high:
        return [f"{low}{high.removeprefix('x')}"]
    if low:
        bound_text, _, _ = low.partition("<")
        return [f"x{'>=' if '<=' in low else '>'}{bound_text}"]
    return [high] if high else []


def _label(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        labels = [_label(part) for part in get_args(annotation) if part is not type(None)]
        return labels[0] if labels else "VALUE"
    choices = choices_of(annotation)
    if choices:
        return f"[{'|'.join(choices)}]"
    if origin in (list, tuple, set, frozenset):
        return "LIST"
    return _TYPES.get(annotation, "VALUE")


def _plain(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list | tuple):
        return ",".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
