"""Checks that a class, module or object implements only hook points that exist, with arguments they have."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import PluginError, suggest
from .markers import Slot, SpecInfo, impl_info, is_hookimpl


def hook_points(*namespaces: type) -> dict[str, Callable[..., Any]]:
    """Hook points declared in classes such as `RunHooks`, by name, in order of declaration."""
    return {
        name: function
        for namespace in namespaces
        for name, function in vars(namespace).items()
        if hasattr(function, "mezzotint_spec_info")
    }


def spec_info(function: Callable[..., Any]) -> SpecInfo:
    """The `SpecInfo` of a declared hook point."""
    info: SpecInfo = function.mezzotint_spec_info  # type: ignore[attr-defined]
    return info


def implementations(plugin: object) -> Iterator[tuple[str, Any]]:
    """What `hookimpl` marks in a plugin, by name, as it stands in the class; no descriptor is run to find it."""
    return ((name, each) for name, each in sorted(_static_attributes(plugin).items()) if is_hookimpl(each))


def _static_attributes(plugin: object) -> dict[str, Any]:
    """What `inspect.getattr_static` gives for each name of `dir`, many times faster: it runs for every plugin."""
    bases = plugin.__mro__ if isinstance(plugin, type) else type(plugin).__mro__
    found: dict[str, Any] = {}
    for base in reversed(bases):
        found |= vars(base)
    return found if isinstance(plugin, type) else found | getattr(plugin, "__dict__", {})


def check_implementations(plugin: object, title: str, wanted: type, elsewhere: type) -> int:
    """Check every implementation of a plugin against the hook points of `wanted`; return their number.

    Raises:
        PluginError: no such hook point (with the nearest name, or a hint where it belongs to `elsewhere`),
            or an argument that the hook point does not have (with those it has).
    """
    points = hook_points(wanted)
    count = 0
    for name, function in implementations(plugin):
        if name not in points:
            raise PluginError(f"{title}: {_misplaced(name, points, elsewhere)}")
        if isinstance(function, staticmethod | classmethod):
            raise PluginError(f"{title}: {name} is a static or class method; a hook is a plain method")
        _refuse_options(title, name, function, spec_info(points[name]))
        allowed = [p for p in inspect.signature(points[name]).parameters if p != "self"]
        unknown = [p for p in _arguments(function) if p not in allowed]
        if unknown:
            raise PluginError(
                f"{title}: {name}({', '.join(_arguments(function))}) takes {unknown[0]!r}, which the hook point "
                f"lacks; it has ({', '.join(allowed)})"
            )
        count += 1
    return count


def _misplaced(name: str, points: dict[str, Callable[..., Any]], elsewhere: type) -> str:
    if name in hook_points(elsewhere):
        if elsewhere.__name__ == "RunHooks":
            return (
                f"{name!r} is a run hook: make it a method of an Extension and provide that in `extensions`"
            )
        return f"{name!r} is a provider: it belongs in the plugin, not in an extension"
    return f"no hook point {name!r}; {suggest(name, points)}"


def _refuse_options(title: str, name: str, function: Callable[..., Any], spec: SpecInfo) -> None:
    """Refuse options of `hookimpl` and kinds of parameters that would have no effect here."""
    info = impl_info(function)
    if info.at is not None and not spec.per_block:
        raise PluginError(f"{title}: {name} does not fire per block, so at= has no meaning there")
    if spec.slot is Slot.PROVIDER and (info.before or info.after):
        raise PluginError(f"{title}: {name} is a provider, so before= and after= have no meaning there")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise PluginError(
                f"{title}: {name} has the parameter {parameter}; name the arguments that it wants, without * and **"
            )


def _arguments(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]
