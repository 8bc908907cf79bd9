"""What the loaded plugins provide, by name; one registry a pipeline, no module-level state."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pluggy

from ..errors import DuplicateNameError, PluginError, unknown_name
from ..hooks.markers import PROJECT
from ..hooks.signatures import check_implementations, hook_points
from ..hookspecs import Providers, RunHooks
from ..scheduling import SchedulerFamily, SchedulerSpec, SolverSpec, SpacingSpec
from .discovery import Found, Owner, PluginRow, State, discover, given, installed_entry_points
from .extension import Extension
from .settings import Settings, read_settings
from .specs import CommandSpec, ModelSpec, PreprocessorSpec

if TYPE_CHECKING:
    from ..scheduling import SchedulerProvided

Spec = TypeVar("Spec")
logger = logging.getLogger("mezzotint")


@dataclass(frozen=True)
class Provided(Generic[Spec]):
    """A spec and who provides it."""

    spec: Spec
    owner: Owner


class Names(Mapping[str, Spec], Generic[Spec]):
    """Specs of one kind by name. A name that two plugins claim is there for nobody."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._provided: dict[str, list[Provided[Spec]]] = {}

    def add(self, name: str, spec: Spec, owner: Owner) -> None:
        """Record a claim; a second one makes the name unusable."""
        self._provided.setdefault(name, []).append(Provided(spec, owner))

    def __getitem__(self, name: str) -> Spec:
        return self.provided(name).spec

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(name for name, claims in self._provided.items() if len(claims) == 1))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return len(self._provided.get(str(name), ())) == 1

    def provided(self, name: str) -> Provided[Spec]:
        """The spec of that name with its owner.

        Raises:
            UnknownNameError: nobody provides it.
            DuplicateNameError: two plugins do; both are named.
        """
        claims = self._provided.get(name, [])
        if not claims:
            raise unknown_name(self.kind, name, self)
        if len(claims) > 1:
            raise DuplicateNameError(self._both(name))
        return claims[0]

    def conflicts(self) -> list[str]:
        """A sentence for each name that two plugins claim."""
        return [self._both(name) for name, claims in sorted(self._provided.items()) if len(claims) > 1]

    def _both(self, name: str) -> str:
        owners = [claim.owner for claim in self._provided[name]]
        if len(set(owners)) == 1:
            return f"{owners[0]} lists the {self.kind} {name!r} twice; neither is used"
        installed = [owner for owner in owners if owner.distribution]
        fix = (
            f"disable one: mezzotint plugins disable {installed[-1].plugin}"
            if installed
            else "leave one of them out"
        )
        return f"{self.kind} {name!r} is provided by {' and by '.join(map(str, owners))}; neither is used. {fix[:1].upper()}{fix[1:]}"


class Registry:
    """Plugins of one pipeline, and what they provide."""

    def __init__(self) -> None:
        self.rows: list[PluginRow] = []
        self.models: Names[ModelSpec] = Names("model")
        self.schedulers: Names[SolverSpec | SchedulerSpec | type] = Names("scheduler")
        self.families: Names[SchedulerFamily] = Names("scheduler family")
        self.spacings: Names[SpacingSpec] = Names("spacing")
        self.extensions: Names[type[Extension]] = Names("extension")
        self.preprocessors: Names[PreprocessorSpec] = Names("preprocessor")
        self.commands: Names[CommandSpec] = Names("command")
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Providers)
        self._owners: dict[type[Extension], Owner] = {}

    @classmethod
    def load(
        cls,
        plugins: Iterable[object] | str | Path = (),
        *,
        settings: Settings | None = None,
        entry_points: Iterable[metadata.EntryPoint] | None = None,
    ) -> Registry:
        """Discover installed plugins and add the given ones.

        Args:
            plugins: objects, classes, modules or paths of Python files, for this registry alone.
            settings: what is disabled; default: the environment and the person's configuration file.
            entry_points: where to look; default: the installed distributions.

        Raises:
            PluginError: a given plugin, or with `MEZZOTINT_STRICT=1` an installed one, does not load.
            DuplicateNameError: a given plugin claims a name that is taken.
        """
        from .. import __version__

        settings = settings or read_settings()
        registry = cls()
        points = installed_entry_points() if entry_points is None else entry_points
        names: set[str] = set()
        for found in discover(points, settings, __version__):
            names |= {found.owner.plugin, found.owner.distribution or found.owner.plugin}
            row = found.row or registry._try(found)
            registry.rows.append(row)
            if row.state is State.FAILED and settings.strict:
                raise PluginError(f"{row.owner} failed to load: {row.cause}") from row.error
        for sentence in settings.misspelt(names):
            logger.warning("%s", sentence)
        tied = set(registry.conflicts())
        for plugin in (plugins,) if isinstance(plugins, str | Path) else plugins:
            found = given(plugin)
            row = found.row or registry._try(found)
            if row.state is State.FAILED:
                raise PluginError(f"{found.owner} failed to load: {row.cause}") from row.error
            registry.rows.append(row)
        for sentence in registry.conflicts():
            if settings.strict or sentence not in tied:
                raise DuplicateNameError(sentence)
        return registry

    def owner_of(self, extension: type[Extension]) -> Owner:
        """Who provides an extension class; for one that no plugin provides, the module it is defined in."""
        return self._owners.get(extension) or Owner(extension.__module__)

    def version_of(self, distribution: str) -> str | None:
        """Version of a distribution that has a loaded plugin; `None` if it is absent, disabled or failed."""
        versions = [
            row.owner.version
            for row in self.rows
            if row.owner.distribution == distribution and row.state is State.LOADED
        ]
        return versions[0] if versions else None

    def owner_of_scheduler(self, name: str) -> Owner | None:
        """Who provides a scheduler, by its name or by its family's (`diffusers:…`)."""
        prefix, colon, _ = name.partition(":")
        names: Names[Any] = self.families if colon else self.schedulers
        key = prefix if colon else name
        return names.provided(key).owner if key in names else None

    def conflicts(self) -> list[str]:
        """A sentence for each name that two plugins claim, of any kind."""
        return [sentence for names in self._tables().values() for sentence in names.conflicts()]

    def provided_by(self, owner: Owner) -> dict[str, list[str]]:
        """Names that one plugin provides, by kind."""
        return {
            table: found
            for table, names in self._tables().items()
            if (found := [n for n in names if names.provided(n).owner == owner])
        }

    def _tables(self) -> dict[str, Names[Any]]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Names)}

    def _try(self, found: Found) -> PluginRow:
        """Register a plugin, or say why not; a plugin that fails leaves nothing behind."""
        try:
            self._register(found)
        except (Exception, SystemExit) as error:
            return found.failed(error)
        return PluginRow(found.owner, State.LOADED, found.value)

    def _register(self, found: Found) -> None:
        plugin = found.plugin
        if inspect.isclass(plugin):
            plugin = plugin()
        if not check_implementations(plugin, str(found.owner), Providers, RunHooks):
            raise PluginError(
                f"{found.owner}: {found.value} has no function marked with @mezzotint.hookimpl; "
                f"a plugin implements one of {', '.join(hook_points(Providers))}"
            )
        if self._manager.get_plugin(found.owner.plugin) is not None:
            raise PluginError(
                f"a plugin named {found.owner.plugin!r} is loaded already; rename this one, or switch the other off: "
                f"MEZZOTINT_DISABLE={found.owner.plugin}"
            )
        self._manager.register(plugin, found.owner.plugin)
        try:
            provided = [
                (hook, item)
                for hook in hook_points(Providers)
                for item in self._ask(plugin, hook, found.owner)
            ]
        except BaseException:
            self._manager.unregister(name=found.owner.plugin)
            raise
        for hook, item in provided:
            self._add(hook, item, found.owner)

    def _ask(self, plugin: object, hook: str, owner: Owner) -> Sequence[Any]:
        """What a plugin answers to one provider hook, checked."""
        answers: list[Any] = []
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            if implementation.plugin is plugin:
                answer = implementation.function()
                answers = (
                    list(answer) if isinstance(answer, list | tuple) else [] if answer is None else [answer]
                )
        for item in answers:
            if not _acceptable(hook, item):
                raise PluginError(f"{owner}: {hook} must return a list of {_EXPECTED[hook]}, not {item!r}")
        return answers

    def _add(self, hook: str, item: Any, owner: Owner) -> None:
        if hook == "schedulers":
            self._add_scheduler(item, owner)
        elif hook == "extensions":
            self.extensions.add(item.extension_name, item, owner)
            self._owners[item] = owner
        else:
            getattr(self, hook).add(item.name, item, owner)

    def _add_scheduler(self, item: SchedulerProvided, owner: Owner) -> None:
        if isinstance(item, SchedulerFamily):
            self.families.add(item.prefix, item, owner)
        elif isinstance(item, type):
            self.schedulers.add(item.__name__, item, owner)
        else:
            self.schedulers.add(item.name, item, owner)


_EXPECTED = {
    "models": "mezzotint.ModelSpec",
    "schedulers": "what @mezzotint.solver returns, SchedulerSpec, SchedulerFamily or diffusers scheduler classes",
    "spacings": "what @mezzotint.spacing returns",
    "extensions": "Extension classes with a name",
    "preprocessors": "mezzotint.PreprocessorSpec",
    "commands": "mezzotint.CommandSpec",
}
_TYPES: dict[str, tuple[type, ...]] = {
    "models": (ModelSpec,),
    "schedulers": (SolverSpec, SchedulerSpec, SchedulerFamily, type),
    "spacings": (SpacingSpec,),
    "preprocessors": (PreprocessorSpec,),
    "commands": (CommandSpec,),
}


def _acceptable(hook: str, item: object) -> bool:
    if hook == "extensions":
        return isinstance(item, type) and issubclass(item, Extension) and bool(item.extension_name)
    if isinstance(item, type):
        return hook == "schedulers" and all(hasattr(item, name) for name in ("set_timesteps", "step"))
    name = getattr(item, "prefix", None) or getattr(item, "name", None)
    return (
        isinstance(item, _TYPES[hook]) and isinstance(name, str) and name.isprintable() and bool(name.strip())
    )
