"""`mezzotint.replay`: make an image again from the recipe in its file, or say why not."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MezzotintError, ModelError, ReplayError, RequestError, UnknownNameError
from ..plugins.registry import Registry
from ..scheduling import make_scheduler
from .differences import (
    changed_versions,
    extension_differences,
    model_differences,
    scheduler_differences,
    why_absent,
)
from .image_files import CHUNK, parse_recipe, read_recipe
from .recipe import Recipe

if TYPE_CHECKING:
    from diffusers import SchedulerMixin
    from PIL.Image import Image

    from ..pipeline.pipeline import Pipeline
    from ..pipeline.result import Result
    from ..plugins.extension import Extension

logger = logging.getLogger("mezzotint")

_GO_ON = "To make it anyway, with a picture that may differ: replay(…, anyway=True), or --anyway."


def replay(
    image_or_recipe: str | Path | Image | Mapping[str, Any] | Recipe,
    *,
    pipe: Pipeline | None = None,
    anyway: bool = False,
    plugins: Sequence[object] = (),
) -> Result:
    """Make an image again; on the same machine and versions the pixels are the same.

    An image that was made in a batch is made with its whole batch; it is
    `result.images[recipe["index"]]`. Other versions of torch, diffusers or mezzotint than it was made with
    are a warning, as most give the same pixels.

    Args:
        image_or_recipe: a PNG file of ours, its path, or a recipe (`Result.recipe_of`).
        pipe: the pipeline to use; default: the recipe's model, device and dtype are loaded.
        anyway: go on, with a warning for each, where plugins, model or files are missing or differ.
        plugins: further plugins, as for `mezzotint.load`.

    Raises:
        ReplayError: there is no recipe, or something it needs is missing here or differs; all is named.
    """
    recipe = find_recipe(image_or_recipe)
    found: list[str] = []
    if pipe is None:
        pipe, found = _open(recipe, anyway, plugins)
    found += model_differences(recipe, pipe)
    use, differing = _extensions(recipe, pipe.registry)
    found += differing
    scheduler, differing = _scheduler(recipe, pipe.registry)
    found += differing
    if found and not anyway:
        raise ReplayError(f"the image cannot be made again exactly: {'; '.join(found)}. {_GO_ON}")
    for sentence in (*found, *changed_versions(recipe)):
        logger.warning("%s", sentence)
    width, height = recipe.size
    return pipe(
        recipe.prompt,
        negative=recipe.negative,
        steps=recipe.steps,
        scheduler=scheduler,
        spacing=recipe.scheduler.spacing if recipe.scheduler.config is None else None,
        guidance=recipe.guidance,
        seed=recipe.seed,
        n=recipe.n,
        size=(width, height),
        use=use,
    )


def find_recipe(image_or_recipe: str | Path | Image | Mapping[str, Any] | Recipe) -> Recipe:
    """The recipe in a file, in an opened image or in plain data, checked.

    Raises:
        ReplayError: there is none, or it is damaged.
    """
    if isinstance(image_or_recipe, Recipe):
        return image_or_recipe
    if isinstance(image_or_recipe, Mapping):
        return Recipe.read(image_or_recipe)
    if isinstance(image_or_recipe, str | Path):
        return Recipe.read(read_recipe(image_or_recipe))
    text = getattr(image_or_recipe, "info", {}).get(CHUNK)
    if text is None:
        raise ReplayError("this image carries no recipe; open a PNG file that mezzotint wrote")
    return Recipe.read(parse_recipe(text, "this image"))


def _open(recipe: Recipe, anyway: bool, plugins: Sequence[object]) -> tuple[Pipeline, list[str]]:
    """The recipe's model on the recipe's device, and what was different about that."""
    from ..models.device import choose_device
    from ..models.loading import load

    found = []
    device, dtype = recipe.device, recipe.dtype
    try:
        choose_device(device)
    except RequestError:
        found.append(f"it was made on {device!r}, which this machine lacks")
        if not anyway:
            raise ReplayError(f"the image cannot be made again exactly: {found[0]}. {_GO_ON}") from None
        return load(recipe.model.name, plugins=plugins), found
    name = recipe.model.name
    try:
        return load(name, device=device, dtype=dtype, plugins=plugins), found
    except (ModelError, UnknownNameError) as error:
        why = why_absent(recipe.model.plugin, Registry.load(plugins))
        raise ReplayError(f"model {name!r} of the recipe cannot be opened{why}. {error}") from error


def _extensions(recipe: Recipe, registry: Registry) -> tuple[list[Extension], list[str]]:
    """The recipe's extensions, and what is missing or differs about them and their files."""
    use, found = [], []
    for entry in recipe.extensions:
        if entry.name not in registry.extensions:
            found.append(f"extension {entry.name!r} is not here{why_absent(entry.plugin, registry)}")
            continue
        try:
            extension = registry.extensions[entry.name](**entry.options)
        except MezzotintError as error:
            raise ReplayError(f"the recipe's options do not fit the extension here: {error}") from error
        use.append(extension)
        found += extension_differences(entry, extension, registry)
    return use, found


def _scheduler(recipe: Recipe, registry: Registry) -> tuple[str | SchedulerMixin | None, list[str]]:
    """What to hand to the pipeline, and what is missing or differs about it."""
    entry = recipe.scheduler
    if entry.config is not None:
        scheduler, missing = _from_config(entry.class_, entry.config, registry)
        return scheduler, missing or scheduler_differences(recipe, registry)
    name = entry.name
    if name is None or name in registry.schedulers or name.partition(":")[0] in registry.families:
        return name, scheduler_differences(recipe, registry)
    return None, [f"scheduler {name!r} is not here{why_absent(entry.plugin, registry)}"]


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
