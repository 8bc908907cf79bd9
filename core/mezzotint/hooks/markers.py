"""The two markers: `hookspec` for core, `hookimpl` for plugins and extensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import FunctionType, MethodType
from typing import Any, TypeVar, overload

import pluggy

PROJECT = "mezzotint"
_pluggy_hookspec = pluggy.HookspecMarker(PROJECT)
_pluggy_hookimpl = pluggy.HookimplMarker(PROJECT)

F = TypeVar("F", bound=Callable[..., Any])

BlockPatterns = str | Sequence[str] | Callable[[Any], str | Sequence[str]]
"""Which blocks or attention layers a hook wants: a pattern, several, or a function of the extension."""


class Slot(StrEnum):
    """How the answers of several plugins at one hook point are combined."""

    PROVIDER = "provider"
    """Asked once, when the plugin loads; every plugin's list is kept."""
    EXCLUSIVE = "exclusive"
    """At most one; two claims are an error that names both."""
    CHAIN = "chain"
    """Each receives what the one before returned; `None` leaves it unchanged."""
    COLLECT = "collect"
    """All are asked and the answers are reduced, e.g. residuals are summed; `None` adds nothing."""
    CONTEXT = "context"
    """Chain of context managers, entered in order and left in reverse."""


@dataclass(frozen=True)
class SpecInfo:
    """What core knows of a hook point beyond its signature."""

    slot: Slot
    where: str
    since: str
    per_block: bool = False


@dataclass(frozen=True)
class ImplInfo:
    """What a hook implementation declares beyond its signature."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    at: BlockPatterns | None = None


def hookspec(slot: Slot, *, where: str, since: str = "0.1", per_block: bool = False) -> Callable[[F], F]:
    """Declare a hook point with its slot kind, its place in the pipeline and the version that added it."""

    def mark(function: F) -> F:
        function.mezzotint_spec_info = SpecInfo(slot, where, since, per_block)  # type: ignore[attr-defined]
        return _pluggy_hookspec(function)

    return mark


@overload
def hookimpl(function: F) -> F: ...
@overload
def hookimpl(
    *, before: str | Sequence[str] = (), after: str | Sequence[str] = (), at: BlockPatterns | None = None
) -> Callable[[F], F]: ...
def hookimpl(
    function: F | None = None,
    *,
    before: str | Sequence[str] = (),
    after: str | Sequence[str] = (),
    at: BlockPatterns | None = None,
) -> F | Callable[[F], F]:
    """Mark a function or method as the implementation of the hook point of the same name.

    Args:
        before, after: names of extensions that this one goes before or after at this hook point.
            A name that is not in use is no error; `Plan.explain` shows it.
        at: which blocks or attention layers, for hook points that fire per block. A pattern such as
            `"up.*.resnets.*"` (`*` is one part of the name, `**` any number), several of them, or a
            function from the extension to them. Default: all blocks `down.*`, `mid`, `up.*`, and for
            attention hook points every cross-attention layer, `**.attn2`.

    An implementation takes any subset of the hook point's arguments, by name.
    """

    def mark(implementation: F) -> F:
        implementation.mezzotint_impl_info = ImplInfo(_names(before), _names(after), at)  # type: ignore[attr-defined]
        return _pluggy_hookimpl(implementation)

    return mark(function) if function is not None else mark


def impl_info(function: Callable[..., Any]) -> ImplInfo:
    """The `ImplInfo` of a function marked with `hookimpl`."""
    info = getattr(function, "mezzotint_impl_info", None)
    return info if isinstance(info, ImplInfo) else ImplInfo()


def is_hookimpl(value: object) -> bool:
    """Whether `hookimpl` marked this function, or a static or class method at either side of it."""
    function = value.__func__ if isinstance(value, staticmethod | classmethod | MethodType) else value
    # Functions alone are asked: `getattr` makes some objects do work, such as what pydantic puts into a class.
    return isinstance(function, FunctionType) and "mezzotint_impl_info" in vars(function)


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
