"""Every error that mezzotint raises on purpose: one clear sentence, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class MezzotintError(Exception):
    """Base of all errors that are meant for the person at the keyboard (exit code 2, no traceback)."""


class PluginError(MezzotintError):
    """A plugin or extension breaks the contract: unknown hook, wrong argument, wrong return type."""


class DuplicateNameError(MezzotintError):
    """Two plugins claim one name. Nothing is last-wins, so neither is used."""


class UnknownNameError(MezzotintError, KeyError):
    """A model, scheduler, spacing, extension or plugin that nobody provides."""

    __str__ = Exception.__str__


class PlanError(MezzotintError):
    """The extensions of a run cannot be combined: a cycle, a conflict, two claims on one slot."""


class HookReturnError(MezzotintError):
    """A hook returned something of the wrong type, shape, dtype or device."""


class RequestError(MezzotintError):
    """An argument of a run is out of range or of the wrong kind."""


class ModelError(MezzotintError):
    """A model folder or file is incomplete, malformed, of another kind, or unsafe to open."""


class ReplayError(MezzotintError):
    """A recipe asks for a plugin, model or file that is missing here or differs."""


def unknown_name(kind: str, name: str, known: Iterable[str], hint: str = "") -> UnknownNameError:
    """An `UnknownNameError` that suggests close matches, or lists what there is."""
    return UnknownNameError(f"no {kind} named {name!r}; {suggest(name, known)}{' ' + hint if hint else ''}")


def suggest(name: str, known: Iterable[str]) -> str:
    """`did you mean …?` for near misses, else the whole list."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"there {'are' if len(names) != 1 else 'is'}: {', '.join(names) or 'none'}."


def option_errors(
    owner: str,
    fields: Iterable[str],
    error: ValidationError,
    *,
    elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """What pydantic found wrong with options, as one sentence for the person who typed them.

    Args:
        owner: whose options they are.
        fields: the names that there are.
        elsewhere: names that other programs use, and what to write here instead.
    """
    parts = []
    for problem in error.errors(include_url=False):
        where = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            meant = f"did you mean {elsewhere[where]}?" if where in elsewhere else suggest(where, fields)
            parts.append(f"no option {where!r}; {meant}")
        elif problem["type"] == "missing":
            parts.append(f"option {where!r} is required")
        else:
            got = f", got {_short(problem['input'])}" if problem["type"] != "value_error" else ""
            text = problem["msg"].removeprefix("Value error, ")
            message = f"{text[:1].lower()}{text[1:]}{got}"
            # What is wrong between several options has no place of its own.
            parts.append(f"option {where!r}: {message}" if where else message)
    return f"{owner}: " + "; ".join(parts)


def _short(value: object) -> str:
    """A value as it was written, or its kind where that would fill the screen (a network, a picture)."""
    shown = repr(value)
    return shown if len(shown) <= 200 and "\n" not in shown else f"an object of {type(value).__qualname__}"
