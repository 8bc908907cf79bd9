"""What a recipe asks for and does not find here, or finds different: one sentence each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..plugins.discovery import Owner, State
from .describe import versions_here
from .recipe import ExtensionEntry, PluginEntry, Recipe

if TYPE_CHECKING:
    from ..pipeline.pipeline import Pipeline
    from ..plugins.extension import Extension
    from ..plugins.registry import Names, Registry


def model_differences(recipe: Recipe, pipe: Pipeline) -> list[str]:
    """About the model: other weights, another plugin, another scheduler of its own."""
    model, scheduler = recipe.model, recipe.scheduler
    found = []
    if model.fingerprint and model.fingerprint != pipe.fingerprint:
        found.append(f"model {model.name!r} has other weights here than the image was made with")
    own = type(pipe.scheduler).__name__
    if scheduler.name is None and scheduler.spacing is None and scheduler.class_ != own:
        found.append(f"the model's own scheduler was {scheduler.class_}; here it is {own}")
    return found + part_differences("model", model.name, model.plugin, pipe.registry)


def extension_differences(entry: ExtensionEntry, extension: Extension, registry: Registry) -> list[str]:
    """About one extension: its plugin, and each of its files that is gone or has changed."""
    found = part_differences("extension", entry.name, entry.plugin, registry)
    here = extension.files()
    for field, sha256 in entry.files.items():
        path = getattr(extension, field, f"of its option {field}")
        if field not in here:
            found.append(f"{entry.name} needs the file {path}, which is not here")
        elif here[field] != sha256:
            found.append(f"{entry.name}: the file {path} has other content than the image was made with")
    return found


def scheduler_differences(recipe: Recipe, registry: Registry) -> list[str]:
    """About the plugins of the scheduler and of its spacing."""
    scheduler = recipe.scheduler
    found = []
    if scheduler.name is not None:
        found += part_differences("scheduler", scheduler.name, scheduler.plugin, registry)
    if scheduler.spacing is not None:
        found += part_differences("spacing", scheduler.spacing, scheduler.spacing_plugin, registry)
    return found


def changed_versions(recipe: Recipe) -> list[str]:
    """Libraries of another version than the image was made with: a likely reason for other pixels."""
    here = versions_here()
    old = {"mezzotint": recipe.mezzotint, **recipe.versions}
    new = {"mezzotint": here["mezzotint"], **here["versions"]}
    return [
        f"it was made with {name} {version}, here is {new[name]}"
        for name, version in old.items()
        if name in new and version != new[name]
    ]


def why_absent(plugin: PluginEntry | None, registry: Registry) -> str:
    """The end of a sentence about a part that nobody provides here."""
    if plugin is None:
        return ""
    for row in registry.rows:
        if row.owner.plugin == plugin.name and row.state is not State.LOADED:
            return f": plugin {plugin.name} is {row.state} ({row.cause})"
    if plugin.distribution is None:
        return f"; it came with the local plugin {plugin.name!r} (add it: plugins=[…], or --plugin FILE)"
    pinned = f"{plugin.distribution}=={plugin.version}"
    return f"; it came with {plugin.distribution} {plugin.version} (pip install {pinned})"


def part_differences(kind: str, name: str, plugin: PluginEntry | None, registry: Registry) -> list[str]:
    """Who provides the part `name` here, against who provided it when the image was made."""
    if plugin is None:
        return []
    what = f"{kind} {name!r}"
    owner = _owner(kind, name, registry)
    if owner is not None and (owner.plugin, owner.distribution) != (plugin.name, plugin.distribution):
        label = plugin.name if plugin.distribution is None else f"{plugin.name} ({plugin.distribution})"
        return [f"{what} was made with plugin {label}; here it is {owner}"]
    if plugin.distribution is None:
        return []
    version = registry.version_of(plugin.distribution)
    wanted = f"{plugin.distribution} {plugin.version}"
    if version is None:
        pinned = f"{plugin.distribution}=={plugin.version}"
        return [f"{what} needs {wanted}, which is not loaded here: pip install {pinned}"]
    if version != plugin.version:
        return [f"{what} was made with {wanted}; here is {version}"]
    return []


def _owner(kind: str, name: str, registry: Registry) -> Owner | None:
    """Who provides that name here, if anyone does."""
    if kind == "scheduler":
        return registry.owner_of_scheduler(name)
    tables: Mapping[str, Names[Any]] = {
        "extension": registry.extensions,
        "model": registry.models,
        "spacing": registry.spacings,
    }
    names = tables[kind]
    return names.provided(name).owner if name in names else None
