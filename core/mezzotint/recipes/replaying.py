"""`mezzotint.replay`: make an image again from the recipe in its file, or say why not."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MezzotintError, ModelError, ReplayError, RequestError, UnknownNameError
from ..plugins.discovery import State
from ..plugins.registry import Registry
from ..scheduling import make_scheduler
from .image_files import CHUNK, MAX_PIXELS, parse_recipe, read_recipe
from .recipe import check_format, differences

if TYPE_CHECKING:
    from diffusers import SchedulerMixin
    from PIL.Image import Image

    from ..pipeline.pipeline import Pipeline
    from ..pipeline.result import Result
    from ..plugins.extension import Extension

logger = logging.getLogger("mezzotint")

MAX_IMAGES = 4096
MAX_EDGE = 16_384
MAX_STEPS = 100_000
"""More is no recipe of ours, but a file that wants to keep the machine busy."""
_GO_ON = "To make it anyway, with a picture that may differ: replay(…, anyway=True), or --anyway."


def replay(
    image_or_recipe: str | Path | Image | Mapping[str, Any],
    *,
    pipe: Pipeline | None = None,
    anyway: bool = False,
    plugins: Sequence[object] = (),
) -> Result:
    """Make an image again; on the same machine and versions the pixels are the same.

    An image that was made in a batch is made with its whole batch; it is
    `result.images[recipe["index"]]`.

    Args:
        image_or_recipe: a PNG file of ours, its path, or a recipe (`Result.recipe_of`).
        pipe: the pipeline to use; default: the recipe's model, device and dtype are loaded.
        anyway: go on, with a warning for each, where plugins, model or files are missing or differ.
        plugins: further plugins, as for `mezzotint.load`.

    Raises:
        ReplayError: there is no recipe, or something it needs is missing here or differs; all is named.
    """
    recipe = find_recipe(image_or_recipe)
    check_recipe(recipe)
    found: list[str] = []
    if pipe is None:
        pipe, found = _open(recipe, anyway, plugins)
    use, present, absent = _extensions(recipe, pipe.registry)
    scheduler, unknown = _scheduler(recipe, pipe.registry)
    found += [*absent, *unknown]
    # What is absent is said already; the rest is compared.
    compared = {"name": None} if unknown else recipe["scheduler"]
    found += differences({**recipe, "extensions": present, "scheduler": compared}, pipe)
    if found and not anyway:
        raise ReplayError(f"the image cannot be made again exactly: {'; '.join(found)}. {_GO_ON}")
    for sentence in found:
        logger.warning("%s", sentence)
    return pipe(
        recipe["prompt"],
        negative=recipe["negative"],
        steps=recipe["steps"],
        scheduler=scheduler,
        spacing=recipe["scheduler"].get("spacing") if not recipe["scheduler"].get("config") else None,
        guidance=recipe["guidance"],
        seed=recipe["seed"],
        n=recipe["n"],
        size=tuple(recipe["size"]),
        use=use,
    )


def find_recipe(image_or_recipe: str | Path | Image | Mapping[str, Any]) -> dict[str, Any]:
    """The recipe in a file, an opened image or as it is.

    Raises:
        ReplayError: there is none.
    """
    if isinstance(image_or_recipe, Mapping):
        return dict(image_or_recipe)
    if isinstance(image_or_recipe, str | Path):
        return read_recipe(image_or_recipe)
    text = getattr(image_or_recipe, "info", {}).get(CHUNK)
    if text is None:
        raise ReplayError("this image carries no recipe; open a PNG file that mezzotint wrote")
    return parse_recipe(text, "this image")


def check_recipe(recipe: Mapping[str, Any]) -> None:
    """Refuse a recipe that is not ours, before anything is opened that it names.

    Raises:
        ReplayError: another format, a part of another type, or a size no recipe of ours has.
    """
    check_format(dict(recipe))
    for key, expected in _SHAPE.items():
        if not isinstance(recipe.get(key), expected) or isinstance(recipe.get(key), bool):
            raise ReplayError(f"the recipe is damaged: {key} is {str(recipe.get(key))[:80]!r}")
    scheduler, model = recipe["scheduler"], recipe["model"]
    if not _is_named(model) or not isinstance(model.get("fingerprint"), str):
        raise ReplayError("the recipe is damaged: it does not say which model")
    if recipe["device"] not in ("cpu", "cuda", "mps"):
        raise ReplayError(f"the recipe is damaged: device is {str(recipe['device'])[:80]!r}")
    if "name" not in scheduler or not isinstance(scheduler.get("spacing"), str | None):
        raise ReplayError("the recipe is damaged: it does not say which scheduler and spacing")
    if not isinstance(scheduler.get("name"), str | None) or not isinstance(scheduler.get("class"), str):
        raise ReplayError("the recipe is damaged: it does not say which scheduler")
    if not all(_is_named(one) and isinstance(one.get("options"), dict) for one in recipe["extensions"]):
        raise ReplayError("the recipe is damaged: an extension has no name or no options")
    if not all(_is_plugin(part.get("plugin")) for part in (model, scheduler, *recipe["extensions"])):
        raise ReplayError("the recipe is damaged: a plugin has no name")
    _check_amount(recipe)


def _check_amount(recipe: Mapping[str, Any]) -> None:
    size, images = recipe["size"], len(recipe["prompt"]) * recipe["n"]
    if len(size) != 2 or not all(isinstance(edge, int) and edge > 0 for edge in size):
        raise ReplayError(f"the recipe is damaged: size is {str(size)[:80]}")
    if not 0 < images <= MAX_IMAGES or max(size) > MAX_EDGE or size[0] * size[1] * images > MAX_PIXELS:
        raise ReplayError(
            f"the recipe asks for {images} images of {size[0]}x{size[1]} pixels; that is refused"
        )
    if recipe["steps"] > MAX_STEPS:
        raise ReplayError(f"the recipe asks for {recipe['steps']} steps; more than {MAX_STEPS:,} are refused")
    if not 0 <= recipe["index"] < images:
        raise ReplayError(f"the recipe is damaged: image {recipe['index']} of {images}")


_SHAPE: dict[str, type | tuple[type, ...]] = {
    "prompt": list,
    "negative": list,
    "steps": int,
    "guidance": (int, float),
    "seed": int,
    "n": int,
    "size": list,
    "index": int,
    "dtype": str,
    "device": str,
    "scheduler": dict,
    "model": dict,
    "extensions": list,
}


def _is_named(part: object) -> bool:
    return isinstance(part, dict) and isinstance(part.get("name"), str)


def _is_plugin(plugin: object) -> bool:
    if plugin is None:
        return True
    return _is_named(plugin) and {"distribution", "version"} <= plugin.keys()  # type: ignore[attr-defined]


def _open(recipe: Mapping[str, Any], anyway: bool, plugins: Sequence[object]) -> tuple[Pipeline, list[str]]:
    """The recipe's model on the recipe's device, and what was different about that."""
    from ..models.device import choose_device
    from ..models.loading import load

    found = []
    device, dtype = recipe["device"], recipe["dtype"]
    try:
        choose_device(device)
    except RequestError:
        found.append(f"it was made on {device!r}, which this machine lacks")
        if not anyway:
            raise ReplayError(f"the image cannot be made again exactly: {found[0]}. {_GO_ON}") from None
        device, dtype = "auto", "auto"
    name, plugin = recipe["model"]["name"], recipe["model"].get("plugin")
    try:
        return load(name, device=device, dtype=dtype, plugins=plugins), found
    except (ModelError, UnknownNameError) as error:
        why = _why_absent(plugin, Registry.load(plugins))
        raise ReplayError(f"model {name!r} of the recipe cannot be opened{why}. {error}") from error


def _extensions(
    recipe: Mapping[str, Any], registry: Registry
) -> tuple[list[Extension], list[dict[str, Any]], list[str]]:
    """The recipe's extensions, their entries, and what is missing or differs about them and their files."""
    use, present, found = [], [], []
    for entry in recipe["extensions"]:
        name = entry["name"]
        if name not in registry.extensions:
            found.append(f"extension {name!r} is not here{_why_absent(entry.get('plugin'), registry)}")
            continue
        try:
            extension = registry.extensions[name](**entry["options"])
        except MezzotintError as error:
            raise ReplayError(f"the recipe's options do not fit the extension here: {error}") from error
        use.append(extension)
        present.append(entry)
        found += _other_files(extension, entry.get("files") or {})
    return use, present, found


def _other_files(extension: Extension, files: Mapping[str, str]) -> list[str]:
    """A sentence for each file of an extension that is gone or has changed."""
    found = []
    here = extension.files()
    for field, sha256 in files.items():
        path = getattr(extension, field, None)
        if field not in here:
            found.append(f"{extension.extension_name} needs the file {path}, which is not here")
        elif here[field] != sha256:
            found.append(
                f"{extension.extension_name}: the file {path} has other content than the image was made with"
            )
    return found


def _scheduler(
    recipe: Mapping[str, Any], registry: Registry
) -> tuple[str | SchedulerMixin | None, list[str]]:
    """What to hand to the pipeline, and what is missing about it."""
    entry = recipe["scheduler"]
    name, config = entry.get("name"), entry.get("config")
    if isinstance(config, dict):
        return _from_config(str(entry["class"]), config, registry)
    if name is None or name in registry.schedulers or name.partition(":")[0] in registry.families:
        return name, []
    return None, [f"scheduler {name!r} is not here{_why_absent(entry.get('plugin'), registry)}"]


def _from_config(
    name: str, config: dict[str, Any], registry: Registry
) -> tuple[SchedulerMixin | None, list[str]]:
    """A scheduler that was handed over as an object, made again: a solver with its spacing, or diffusers' own."""
    import diffusers

    scheduler_class: Any = getattr(diffusers, name, None)
    try:
        if "solver" in config:
            return _solver(config, registry), []
        if not _is_scheduler(scheduler_class):
            return None, [f"it was made with a {name} object that a recipe cannot describe"]
        return scheduler_class.from_config(config), []
    except (TypeError, ValueError, AttributeError, KeyError, NotImplementedError, ImportError) as error:
        raise ReplayError(
            f"the recipe is damaged: {name} cannot be made from its configuration: {error}"
        ) from None


def _solver(config: Mapping[str, Any], registry: Registry) -> SchedulerMixin:
    apart = {"solver", "spacing", "solver_options", "spacing_options"}
    return make_scheduler(
        config["solver"],
        spacing=config["spacing"],
        like={key: value for key, value in config.items() if key not in apart},
        schedulers=registry.schedulers,
        families=registry.families,
        spacings=registry.spacings,
        options={**config.get("solver_options", {}), **config.get("spacing_options", {})},
    )


def _is_scheduler(value: object) -> bool:
    from diffusers import SchedulerMixin

    return isinstance(value, type) and issubclass(value, SchedulerMixin)


def _why_absent(plugin: Mapping[str, Any] | None, registry: Registry) -> str:
    if plugin is None:
        return ""
    for row in registry.rows:
        if row.owner.plugin == plugin["name"] and row.state is not State.LOADED:
            return f": plugin {plugin['name']} is {row.state} ({row.cause})"
    return f"; it came with {_plugin_label(plugin)}"


def _plugin_label(plugin: Mapping[str, Any]) -> str:
    if plugin["distribution"] is None:
        return f"the local plugin {plugin['name']!r} (add it: plugins=[…], or --plugin FILE)"
    distribution, version = plugin["distribution"], plugin["version"]
    return f"{distribution} {version} (pip install {distribution}=={version})"
