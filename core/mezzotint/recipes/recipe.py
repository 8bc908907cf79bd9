"""Recipes: everything that is needed to make the same image again, as plain data.

    {"format": 1, "mezzotint": "0.1.0", "prompt": […], "negative": […], "steps": 20, "guidance": 5.0,
     "seed": 7, "n": 1, "size": [64, 64], "index": 0, "dtype": "float32", "device": "cpu",
     "scheduler": {"name": "dpmpp-2m", "spacing": "karras", "class": "…", "plugin": {…}},
     "model": {"name": "emoji", "fingerprint": "…", "plugin": {…}},
     "extensions": [{"name": "lora", "options": {…}, "files": {…}, "plugin": {…}}],
     "versions": {"torch": "…", "diffusers": "…"}}

`plugin` is `{"name", "distribution", "version"}`; `distribution` is null for local files and objects.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ..errors import ReplayError
from ..plugins.discovery import Owner

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

    from ..pipeline.pipeline import Pipeline
    from ..pipeline.request import Request
    from ..planning.plan import Plan
    from ..plugins.registry import Names, Registry

FORMAT = 1


def describe_run(pipe: Pipeline, request: Request, plan: Plan, scheduler: SchedulerMixin) -> dict[str, Any]:
    """The recipe of a run."""
    from .. import __version__

    source = pipe.source
    return {
        "format": FORMAT,
        "mezzotint": __version__,
        "prompt": list(request.prompts),
        "negative": list(request.negatives),
        "steps": request.steps,
        "guidance": request.guidance,
        "seed": request.seed,
        "n": request.n,
        "size": list(request.size),
        "dtype": str(pipe.dtype).removeprefix("torch."),
        "device": pipe.device.type,
        "scheduler": _scheduler(pipe.registry, request, scheduler),
        "model": {
            "name": source.name,
            "fingerprint": pipe.fingerprint,
            "plugin": _plugin(source.owner),
        },
        "extensions": [
            {
                "name": use.extension.extension_name,
                "options": use.extension.options(),
                "files": use.extension.files(),
                "plugin": _plugin(use.owner),
            }
            for use in plan.uses
        ],
        "versions": dict(_versions()),
    }


@cache
def _versions() -> dict[str, str]:
    # Reading metadata takes milliseconds, once for the process is enough.
    return {name: metadata.version(name) for name in ("torch", "diffusers", "transformers")}


def differences(recipe: dict[str, Any], pipe: Pipeline) -> list[str]:
    """What a recipe asks for that is missing here or differs, one sentence each; empty if it can be replayed."""
    found = []
    model = recipe["model"]
    if model["fingerprint"] and model["fingerprint"] != pipe.fingerprint:
        found.append(f"model {model['name']!r} has other weights here than the image was made with")
    parts = [("model", model), *(("extension", extension) for extension in recipe["extensions"])]
    scheduler = recipe["scheduler"]
    if scheduler["name"]:
        parts.append(("scheduler", scheduler))
    for kind, part in parts:
        found += _missing(kind, part, pipe.registry)
    return found


def check_format(recipe: dict[str, Any]) -> None:
    """Refuse a recipe that this version cannot read.

    Raises:
        ReplayError: another format, or one of the parts is absent.
    """
    if recipe.get("format") != FORMAT:
        raise ReplayError(
            f"the recipe has format {recipe.get('format')!r}; this mezzotint reads format {FORMAT}"
        )
    absent = [
        key
        for key in ("prompt", "steps", "seed", "size", "scheduler", "model", "extensions")
        if key not in recipe
    ]
    if absent:
        raise ReplayError(f"the recipe lacks {', '.join(absent)}")


def _scheduler(registry: Registry, request: Request, scheduler: SchedulerMixin) -> dict[str, Any]:
    chosen = request.scheduler
    name = chosen if isinstance(chosen, str) else None
    entry: dict[str, Any] = {
        "name": name,
        "spacing": request.spacing,
        "class": type(scheduler).__name__,
        "plugin": _plugin(registry.owner_of_scheduler(name)) if name else None,
    }
    if chosen is not None and name is None:
        config = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
        # A solver with its spacing is known by the solver's name, anything else by its class.
        entry["name"] = config.get("solver") or f"diffusers:{type(scheduler).__name__}"
        entry["spacing"] = config.get("spacing")
        entry["plugin"] = _plugin(registry.owner_of_scheduler(entry["name"]))
        entry["config"] = config
    return entry


def _plugin(owner: Owner | None) -> dict[str, str | None] | None:
    if owner is None:
        return None
    return {"name": owner.plugin, "distribution": owner.distribution, "version": owner.version}


def _other_owner(kind: str, part: dict[str, Any], registry: Registry) -> Owner | None:
    """Who else provides that name here, if it is another plugin than the recipe's."""
    name, plugin = part["name"], part["plugin"]
    if kind == "scheduler":
        owner = registry.owner_of_scheduler(name)
    else:
        names: Names[Any] = registry.extensions if kind == "extension" else registry.models
        owner = names.provided(name).owner if name in names else None
    same = owner is None or (owner.plugin, owner.distribution) == (plugin["name"], plugin["distribution"])
    return None if same else owner


def _missing(kind: str, part: dict[str, Any], registry: Registry) -> list[str]:
    plugin = part.get("plugin")
    what = f"{kind} {part['name']!r}"
    if plugin is None:
        return []
    if plugin["distribution"] is None:
        if kind == "extension" and part["name"] not in registry.extensions:
            return [f"{what} came from the local plugin {plugin['name']!r}, which is not loaded here"]
        other = _other_owner(kind, part, registry)
        return (
            []
            if other is None
            else [f"{what} came from the local plugin {plugin['name']!r}; here it is {other}"]
        )
    other = _other_owner(kind, part, registry)
    if other is not None:
        return [
            f"{what} was made with plugin {plugin['name']} ({plugin['distribution']}); here it is {other}"
        ]
    version = registry.version_of(plugin["distribution"])
    wanted = f"{plugin['distribution']} {plugin['version']}"
    if version is None:
        return [
            f"{what} needs {wanted}, which is not loaded here: pip install {plugin['distribution']}=={plugin['version']}"
        ]
    if version != plugin["version"]:
        return [f"{what} was made with {wanted}; here is {version}"]
    return []
