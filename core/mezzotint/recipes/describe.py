"""The recipe of a run that was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from .recipe import FORMAT

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

    from ..pipeline.request import Request
    from ..pipeline.run import Run
    from ..planning.plan import Plan
    from ..plugins.discovery import Owner
    from ..plugins.registry import Registry


def files_of(plan: Plan) -> list[dict[str, str]]:
    """SHA-256 of each extension's files: of what a run is about to read, so before it starts."""
    return [use.extension.files() for use in plan.uses]


def describe_run(run: Run, files: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The recipe of a run that is over, without the `index` of one image.

    Args:
        files: what `files_of` gave before the run.
    """
    pipe, request, source = run.pipe, run.request, run.pipe.source
    return {
        "format": FORMAT,
        "prompt": list(request.prompts),
        "negative": list(request.negatives),
        "steps": request.steps,
        "guidance": request.guidance,
        "seed": request.seed,
        "n": request.n,
        "size": list(request.size),
        "dtype": str(pipe.dtype).removeprefix("torch."),
        "device": run.device.type,
        "scheduler": _scheduler(pipe.registry, request, run.scheduler),
        "model": {
            "name": source.name,
            "fingerprint": pipe.fingerprint,
            "plugin": _plugin(source.owner),
        },
        "extensions": [
            {
                "name": use.extension.extension_name,
                "options": use.extension.options(),
                "files": dict(hashes),
                "plugin": _plugin(use.owner),
            }
            for use, hashes in zip(run.plan.uses, files, strict=True)
        ],
        **versions_here(),
    }


def versions_here() -> dict[str, Any]:
    """`mezzotint` and `versions`: what the pixels depend on besides plugins."""
    from .. import __version__

    return {"mezzotint": __version__, "versions": dict(_library_versions())}


@cache
def _library_versions() -> dict[str, str]:
    # Reading metadata takes milliseconds, once for the process is enough.
    return {name: metadata.version(name) for name in ("torch", "diffusers", "transformers")}


def _scheduler(registry: Registry, request: Request, scheduler: SchedulerMixin) -> dict[str, Any]:
    chosen = request.scheduler
    name = chosen if isinstance(chosen, str) else None
    entry: dict[str, Any] = {"name": name, "spacing": request.spacing, "class": type(scheduler).__name__}
    if chosen is not None and name is None:
        config = {key: _plain(value) for key, value in scheduler.config.items() if not key.startswith("_")}
        # A solver with its spacing is known by the solver's name, anything else by its class.
        entry["name"] = config.get("solver") or f"diffusers:{type(scheduler).__name__}"
        entry["spacing"] = config.get("spacing")
        entry["config"] = config
    entry["plugin"] = _plugin(registry.owner_of_scheduler(entry["name"])) if entry["name"] else None
    spacing = entry["spacing"]
    if spacing in registry.spacings:
        entry["spacing_plugin"] = _plugin(registry.spacings.provided(spacing).owner)
    return entry


def _plain(value: Any) -> Any:
    """NumPy's scalars and arrays as JSON has them."""
    return value.tolist() if hasattr(value, "tolist") else value


def _plugin(owner: Owner | None) -> dict[str, str | None] | None:
    if owner is None:
        return None
    return {"name": owner.plugin, "distribution": owner.distribution, "version": owner.version}
