"""Guarded discovery: read metadata first, import what may be imported, and survive what fails."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..errors import PluginError
from .settings import Settings

GROUP = "mezzotint.plugins"


class State(StrEnum):
    """What became of a plugin."""

    LOADED = "loaded"
    DISABLED = "disabled"
    FAILED = "failed"


@dataclass(frozen=True)
class Owner:
    """Who a hook, a name or an error belongs to."""

    plugin: str
    distribution: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        if self.distribution is None:
            return f"plugin {self.plugin}"
        return f"plugin {self.plugin} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class PluginRow:
    """One line of `mezzotint plugins list`."""

    owner: Owner
    state: State
    value: str
    """The entry point, file or object it came from."""
    cause: str = ""
    """Why it is not loaded."""
    error: BaseException | None = None


@dataclass(frozen=True)
class Found:
    """A plugin ready to register, or the row that says why not."""

    owner: Owner
    value: str
    plugin: object | None = None
    row: PluginRow | None = None

    def failed(self, error: BaseException, state: State = State.FAILED) -> PluginRow:
        """The row of this plugin after `error`."""
        cause = f"{type(error).__name__}: {error}" if not isinstance(error, PluginError) else str(error)
        return PluginRow(self.owner, state, self.value, cause, error)


def installed_entry_points() -> list[metadata.EntryPoint]:
    """Entry points of the group `mezzotint.plugins`."""
    return [point for point in metadata.entry_points(group=GROUP) if point.dist is not None]


def discover(points: Iterable[metadata.EntryPoint], settings: Settings, host_version: str) -> Iterator[Found]:
    """Import the plugins that may be imported, in order of distribution and name; nothing of the others runs."""
    installed = [_Installed.read(point) for point in points]
    installed.sort(key=lambda one: (one.owner.distribution or "", one.owner.plugin))
    skips = [settings.reason_to_skip(one.owner.plugin, one.owner.distribution or "") for one in installed]
    allowed = [one.owner for one, skip in zip(installed, skips, strict=True) if not skip]
    for one, skip in zip(installed, skips, strict=True):
        point, found = one.point, Found(one.owner, one.point.value)
        refusal = _twins(one.owner.plugin, allowed) or _incompatibility(one.requires, host_version)
        if skip:
            yield replace(found, row=PluginRow(found.owner, State.DISABLED, point.value, skip))
        elif refusal:
            yield replace(found, row=found.failed(PluginError(refusal)))
        else:
            yield _import(found, point.module, point.load)


@dataclass(frozen=True)
class _Installed:
    """An entry point with what its distribution's metadata says, read once."""

    point: metadata.EntryPoint
    owner: Owner
    requires: tuple[str, ...]

    @classmethod
    def read(cls, point: metadata.EntryPoint) -> _Installed:
        if point.dist is None:
            return cls(point, Owner(point.name), ())
        # `dist.name`, `.version` and `.requires` would each parse the file again.
        fields = point.dist.metadata
        owner = Owner(point.name, fields["Name"], fields["Version"])
        return cls(point, owner, tuple(fields.get_all("Requires-Dist") or ()))


def _twins(plugin: str, owners: Iterable[Owner]) -> str | None:
    """Two plugins of one name cannot be told apart by any command, so none of them loads."""
    same = [owner for owner in owners if owner.plugin == plugin]
    if len(same) < 2:
        return None
    both = " and ".join(f"{owner.distribution} {owner.version}" for owner in same)
    return f"plugin {plugin!r} comes from {both}; uninstall or disable one of these distributions"


def _import(found: Found, module: str, load: Callable[[], object]) -> Found:
    try:
        with forgetting_failed_import(module):
            return replace(found, plugin=load())
    except (Exception, SystemExit) as error:
        return replace(found, row=found.failed(error))


def given(plugin: object) -> Found:
    """A plugin that the caller hands over: an object, class or module, or the path of a Python file."""
    if isinstance(plugin, str | Path):
        path = Path(plugin)
        return _import(Found(Owner(path.stem), str(path)), path.stem, lambda: _load_file(path))
    name = getattr(plugin, "__name__", None) or type(plugin).__name__
    return Found(Owner(str(name).rpartition(".")[2]), repr(plugin), plugin)


@contextmanager
def forgetting_failed_import(module: str) -> Iterator[None]:
    """Remove what a failing import left in `sys.modules` of its own package, so that it leaves no trace."""
    before = set(sys.modules)
    try:
        yield
    except BaseException:
        package = module.partition(".")[0]
        for name in set(sys.modules) - before:
            if name == package or name.startswith(package + "."):
                del sys.modules[name]
        raise


def _incompatibility(requires: Iterable[str], host_version: str) -> str | None:
    """What in the distribution's `Requires-Dist` excludes this mezzotint, or `None`."""
    for line in requires:
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            return f"its metadata has an invalid requirement {line!r}: {error}"
        if canonicalize_name(requirement.name) != "mezzotint":
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        if not requirement.specifier.contains(host_version, prereleases=True):
            return f"requires {requirement.name}{requirement.specifier}, this is mezzotint {host_version}"
    return None


def _load_file(path: Path) -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    if not path.is_file():
        raise PluginError(f"no plugin file {path}")
    name = f"mezzotint_local_{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is not a Python file")
    module = module_from_spec(spec)
    # Dataclasses and pydantic look their module up while it runs.
    previous: Any = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        if previous is not None:
            sys.modules[name] = previous
        raise
    return module
