"""The resolved hook points of one run: who acts where, in which order, and why. Made before the first step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any

import pluggy

from ..errors import PlanError, PluginError, suggest
from ..hooks.blocks import ATTENTION_POINTS, CROSS_ATTENTION, TOP_LEVEL, Block, match
from ..hooks.markers import PROJECT, Slot, SpecInfo, impl_info
from ..hooks.signatures import hook_points, implementations, spec_info
from ..hookspecs import RunHooks
from ..pipeline.request import Request
from ..plugins.discovery import Owner
from ..plugins.extension import Extension
from ..plugins.registry import Registry
from .order import topological


@dataclass(frozen=True, eq=False)
class Use:
    """An extension in a run."""

    extension: Extension
    label: str
    """Its name, with a number where one run uses several of that name: `lora`, `lora#2`."""
    owner: Owner


@dataclass(frozen=True, eq=False)
class Entry:
    """One implementation at one hook point."""

    point: str
    use: Use
    function: Callable[..., Any]
    arguments: tuple[str, ...]
    reason: str
    """Why it stands where it stands."""
    at: tuple[str, ...] = ()
    """Names of the blocks or layers, at hook points that fire per block."""

    @property
    def label(self) -> str:
        """Label of the extension."""
        return self.use.label

    @property
    def owner(self) -> Owner:
        """Who provides the extension."""
        return self.use.owner


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that is decided about a run before it starts."""

    request: Request | None
    """`None` for extensions that are attached over several runs."""
    uses: tuple[Use, ...]
    points: Mapping[str, tuple[Entry, ...]]
    blocks: Mapping[str, Block]
    """Blocks and attention layers by name."""

    def explain(self) -> str:
        """A table, one row an implementation in order: hook point, slot, extension, from, why."""
        from rich.table import Table

        from ..render import plain

        if not self.points:
            return "no extension in use: the base pipeline runs alone\n"
        table = Table("hook point", "slot", "extension", "from", "why", box=None, pad_edge=False)
        for row in self.rows():
            table.add_row(*(row[key] for key in ("point", "slot", "extension", "from", "why")))
        return plain(table)

    def rows(self) -> list[dict[str, str]]:
        """The table of `explain` as plain data."""
        rows = []
        for point, entries in self.points.items():
            for entry in entries:
                where = f" at {_abbreviate(entry.at)}" if entry.at else ""
                rows.append(
                    {
                        "point": point,
                        "slot": str(_SPECS[point].slot),
                        "extension": entry.label,
                        "from": str(entry.owner),
                        "why": entry.reason + where,
                    }
                )
        return rows


_POINTS = hook_points(RunHooks)
_SPECS: dict[str, SpecInfo] = {name: spec_info(function) for name, function in _POINTS.items()}


def make_plan(
    request: Request | None,
    extensions: Sequence[Extension],
    registry: Registry,
    blocks: Mapping[str, Block],
    layers: Mapping[str, Block],
) -> Plan:
    """Resolve every hook point for these extensions.

    Raises:
        PlanError: a cycle of before and after, two claims on an exclusive slot, a declared conflict, the
            same extension object twice, or a block pattern that matches nothing.
    """
    uses = _name(extensions, registry)
    _refuse_conflicts(uses)
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(RunHooks)
    plugins = [_Attached(use.extension) for use in uses]
    attached = {id(plugin): use for plugin, use in zip(plugins, uses, strict=True)}
    for plugin, use in zip(plugins, uses, strict=True):
        manager.register(plugin, use.label)
    points = {}
    for point in _POINTS:
        impls = [
            (attached[id(impl.plugin)], impl.function)
            for impl in getattr(manager.hook, point).get_hookimpls()
        ]
        if impls:
            points[point] = _resolve(point, impls, uses, layers if point in ATTENTION_POINTS else blocks)
    _refuse_replaced_layers(points)
    return Plan(request, tuple(uses), points, {**blocks, **layers})


class _Attached:
    """What pluggy registers for an extension: its hook methods, compared by identity.

    Two extensions with equal options are two plugins, and pydantic's comparison of tensors never runs.
    """

    def __init__(self, extension: Extension) -> None:
        for name, function in implementations(type(extension)):
            self.__dict__[name] = MethodType(function, extension)


def _name(extensions: Sequence[Extension], registry: Registry) -> list[Use]:
    totals: dict[str, int] = {}
    uses = []
    for position, extension in enumerate(extensions):
        if not isinstance(extension, Extension):
            raise PluginError(f"use= takes Extension objects, not {extension!r}{_class_hint(extension)}")
        if not extension.extension_name:
            raise PluginError(f'{type(extension).__qualname__} has no name: class …(Extension, name="…")')
        if any(extension is earlier for earlier in extensions[:position]):
            raise PlanError(f"{extension} is listed twice in use=")
        name = extension.extension_name
        if not any(extension.hook_names()):
            raise PluginError(
                f"{name} implements no hook point, so it would do nothing; mark its methods with @hookimpl"
            )
        totals[name] = totals.get(name, 0) + 1
        label = name if totals[name] == 1 else f"{name}#{totals[name]}"
        uses.append(Use(extension, label, registry.owner_of(type(extension))))
    return sorted(uses, key=_key)


def _class_hint(value: object) -> str:
    return f"; write {value.__name__}(…)" if isinstance(value, type) and issubclass(value, Extension) else ""


def _key(use: Use) -> tuple[str, int]:
    name, _, number = use.label.partition("#")
    return name, int(number or 1)


def _refuse_conflicts(uses: Sequence[Use]) -> None:
    names = {use.extension.extension_name: use for use in uses}
    for use in uses:
        for other in use.extension.conflicts:
            if other in names and names[other] is not use:
                if other == use.extension.extension_name:
                    raise PlanError(f"{use.label} ({use.owner}) may be used once in a run; give one of it")
                raise PlanError(
                    f"{use.label} ({use.owner}) declares a conflict with {other} ({names[other].owner}): "
                    "use one of them"
                )


def _resolve(
    point: str,
    impls: Iterable[tuple[Use, Callable[..., Any]]],
    uses: Sequence[Use],
    places: Mapping[str, Block],
) -> tuple[Entry, ...]:
    spec = _SPECS[point]
    found = sorted(impls, key=lambda pair: _key(pair[0]))
    here = [use for use, _ in found]
    by_name: dict[str, list[Use]] = {}
    for use in here:
        by_name.setdefault(use.extension.extension_name, []).append(use)
    edges = []
    for use, function in found:
        info = impl_info(function)
        edges += [(use, other) for name in info.before for other in by_name.get(name, ())]
        edges += [(other, use) for name in info.after for other in by_name.get(name, ())]
    try:
        ordered = topological(here, edges, {use: _key(use) for use in here})
    except PlanError as error:
        raise PlanError(f"hook point {point}: {error}") from None
    functions = {id(use): function for use, function in found}
    entries = tuple(
        _entry(point, spec, use, functions[id(use)], here, {u.extension.extension_name for u in uses}, places)
        for use in ordered
    )
    if spec.slot is Slot.EXCLUSIVE:
        _refuse_second_claim(point, spec, entries)
    return entries


def _entry(
    point: str,
    spec: SpecInfo,
    use: Use,
    function: Callable[..., Any],
    here: Sequence[Use],
    in_use: set[str],
    places: Mapping[str, Block],
) -> Entry:
    info = impl_info(function)
    reasons = [
        f"{word} {name}" + ("" if name in in_use else " (not in use)")
        for word, names in (("before", info.before), ("after", info.after))
        for name in names
    ]
    if not reasons:
        reasons = ["alone here"] if len(here) == 1 else ["by name"]
    at = _places(point, use, info.at, places) if spec.per_block else ()
    parameters = tuple(p for p in inspect.signature(function).parameters if p != "self")
    return Entry(point, use, function, parameters, ", ".join(reasons), at)


def _places(point: str, use: Use, at: Any, places: Mapping[str, Block]) -> tuple[str, ...]:
    pattern = at(use.extension) if callable(at) else at
    if pattern is None:
        pattern = CROSS_ATTENTION if point in ATTENTION_POINTS else TOP_LEVEL
    names = match(pattern, places)
    if not names and places:
        first = pattern if isinstance(pattern, str) else ", ".join(pattern)
        raise PlanError(
            f"{use.label} ({use.owner}): {point} at {first!r} matches no place; {suggest(first, places)}"
        )
    return tuple(names)


def _refuse_second_claim(point: str, spec: SpecInfo, entries: Sequence[Entry]) -> None:
    claimed: dict[str, Entry] = {}
    for entry in entries:
        for place in entry.at if spec.per_block else ("",):
            other = claimed.setdefault(place, entry)
            if other is not entry:
                where = f" at {place}" if place else ""
                raise PlanError(
                    f"hook point {point}{where} takes one extension, and two claim it: {other.label} "
                    f"({other.owner}) and {entry.label} ({entry.owner}); use one of them"
                )


def _refuse_replaced_layers(points: Mapping[str, tuple[Entry, ...]]) -> None:
    replaced = {place: entry for entry in points.get("attention_processor", ()) for place in entry.at}
    for point in ("cross_attention_tokens", "attention_probe"):
        for entry in points.get(point, ()):
            for place in entry.at:
                if place in replaced:
                    other = replaced[place]
                    raise PlanError(
                        f"{other.label} ({other.owner}) replaces the attention of {place}, so {point} of "
                        f"{entry.label} ({entry.owner}) cannot act there; use one of them"
                    )


def _abbreviate(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{names[0]}, {names[1]} … {names[-1]} ({len(names)})"
