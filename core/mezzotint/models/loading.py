"""`mezzotint.load`: a model by name, a diffusers folder or a single file, checked before anything runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, UnknownNameError
from ..plugins.absent import hinting_at_absent_plugins
from ..plugins.registry import Registry
from ..strangers_json import parse
from .components import Components, Source, TextEncoder
from .families import STABLE_DIFFUSION_XL, Family, family_of, names_part, text_encoder_names, tokenizer_name
from .fit import check_fit
from .weights import check_shapes, find_weights, variant_of

if TYPE_CHECKING:
    import torch

    from ..pipeline.pipeline import Pipeline

_ONE_AT_A_TIME = threading.Lock()
"""diffusers patches torch's `Module` for the whole process while it opens a model; two at once leave it patched."""


def load(
    model: str | Path = "emoji",
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    plugins: Sequence[object] = (),
) -> Pipeline:
    """Open a model with all installed plugins.

    Args:
        model: the name of a plugin's model (`mezzotint models`), a diffusers folder, or a single
            .safetensors file of Stable Diffusion 1.x or XL. Only safetensors weights are opened; a pickle is
            refused by its content.
        device: `auto`, or what `torch.device` takes.
        dtype: `auto` (float32 on a CPU, float16 on a GPU), `fast` (bfloat16 where the CPU multiplies it
            natively), `float32`, `float16`, `bfloat16`, or a `torch.dtype`.
        plugins: further plugins for this pipeline alone: objects, classes, modules or Python files.

    Raises:
        ModelError: a file is missing, is a pickle, or does not fit; the file and what was expected are named.
        UnknownNameError: no plugin provides the model, and it is no folder.
        PluginError: one of `plugins` does not load.
    """
    registry = Registry.load(plugins)
    with hinting_at_absent_plugins(registry):
        return open_model(model, registry, device=device, dtype=dtype)


def open_model(
    model: str | Path, registry: Registry, *, device: str | torch.device, dtype: str | torch.dtype
) -> Pipeline:
    """`load` with a registry that is there already."""
    folder, source = locate(model, registry)
    from ..pipeline.pipeline import Pipeline
    from .device import choose_device, choose_dtype
    from .single_file import open_single_file

    on = choose_device(device)
    opened = open_single_file if folder.is_file() else open_folder
    components = opened(folder, choose_dtype(dtype, on))
    for module in components.modules.values():
        module.to(on)
    return Pipeline(components, registry, source)


def locate(model: str | Path, registry: Registry) -> tuple[Path, Source]:
    """The folder or file of a model and where it came from; a plugin's name comes before a path of that name."""
    if isinstance(model, str) and model in registry.models:
        provided = registry.models.provided(model)
        spec = provided.spec
        if spec.kind != "pipeline":
            raise ModelError(
                f"{model} ({provided.owner}) is a {spec.kind}, no whole model; hand it to the extension that takes one"
            )
        return spec.path, Source(spec.name, spec.path, provided.owner, spec.defaults)
    path = Path(model)
    if path.is_dir():
        return path, Source(str(model), path)
    if path.is_file():
        return path, Source(str(model), path)
    try:
        registry.models.provided(str(model))
    except UnknownNameError as error:
        raise UnknownNameError(f"{error} It is no folder or file here either.") from None
    raise AssertionError("unreachable: provided() raises for every name that is not in models")


def open_folder(folder: Path, dtype: torch.dtype) -> Components:
    """Check every component of a diffusers folder, then load them in `dtype`.

    Raises:
        ModelError: as for `load`.
    """
    index = _read_json(folder / "model_index.json", "a diffusers folder has one")
    if not names_part(index, "unet"):
        kind = index.get("_class_name")
        raise ModelError(
            f"{folder / 'model_index.json'} names no unet{f' ({kind})' if isinstance(kind, str) else ''}; models that open "
            "have one: Stable Diffusion 1.x and XL, DeepFloyd IF's first stage"
        )
    family = family_of(index)
    _refuse_refiner(folder, index)
    classes = {name: _part_class(folder, index, name, family) for name in family.parts}
    with _ONE_AT_A_TIME:
        for name in filter(_has_weights, classes):
            config = _read_json(folder / name / "config.json", f"it describes the {name}")
            check_shapes(classes[name], config, find_weights(folder / name))
        loaded = {name: _load_part(folder, name, cls, dtype) for name, cls in classes.items()}
    if family.corrects_scheduler:
        _correct_like_diffusers(loaded["scheduler"])
    components = Components(
        unet=loaded["unet"],
        vae=loaded["vae"] if "vae" in loaded else _pixel_space(folder, loaded["unet"]),
        text_encoders={
            name: TextEncoder(loaded[name], loaded[tokenizer_name(name)])
            for name in text_encoder_names(family)
        },
        scheduler=loaded["scheduler"],
        family=family,
        # diffusers' pipeline of Stable Diffusion XL does so where the index says nothing.
        zeros_for_empty_negative=family is STABLE_DIFFUSION_XL
        and _flag(folder, index, "force_zeros_for_empty_prompt", default=True),
    )
    check_fit(folder, components)
    return components


def _flag(folder: Path, index: dict[str, Any], name: str, *, default: bool) -> bool:
    value = index.get(name, default)
    if not isinstance(value, bool):
        raise ModelError(f"{folder / 'model_index.json'}: {name} is {value!r}; it must be true or false")
    return value


def _pixel_space(folder: Path, unet: Any) -> Any:
    """The autoencoder of a folder that names none."""
    from .pixel_space import PixelSpace

    channels = unet.config.in_channels
    if channels not in (1, 3):
        raise ModelError(
            f"{folder / 'model_index.json'} names no vae, and the {channels} channels that the U-Net takes are no "
            "picture; a Stable Diffusion folder has one (library, class)"
        )
    return PixelSpace(latent_channels=channels).to(unet.dtype).eval()


def _correct_like_diffusers(scheduler: Any) -> None:
    """What `StableDiffusionPipeline` changes about old scheduler configurations when it opens a folder."""
    if scheduler.config.get("steps_offset", 1) != 1:
        scheduler.register_to_config(steps_offset=1)
    if scheduler.config.get("clip_sample", False) is True:
        scheduler.register_to_config(clip_sample=False)


def _refuse_refiner(folder: Path, index: dict[str, Any]) -> None:
    if index.get("requires_aesthetics_score") is True or (
        names_part(index, "text_encoder_2") and not names_part(index, "text_encoder")
    ):
        raise ModelError(
            f"{folder} is the refiner of Stable Diffusion XL, which changes pictures of the base model; open the base "
            "model's folder"
        )


def _part_class(folder: Path, index: dict[str, Any], name: str, family: Family) -> type:
    library, allowed = family.parts[name]
    entry = index.get(name)
    path = folder / "model_index.json"
    if not isinstance(entry, list) or len(entry) != 2 or not all(isinstance(part, str) for part in entry):
        raise ModelError(f"{path} names no {name}; a {family.title} folder has one (library, class)")
    if entry[0] != library or (allowed and entry[1] not in allowed):
        wanted = " or ".join(allowed) or "a scheduler class"
        raise ModelError(f"{path}: {name} is {entry[0]}.{entry[1]}; expected {library}.{wanted}")
    if not (folder / name).is_dir():
        raise ModelError(f"{folder / name} is missing; {path.name} names it as {entry[1]}")
    module = __import__(library)
    cls = getattr(module, entry[1], None)
    if not isinstance(cls, type) or not hasattr(cls, "from_pretrained"):
        raise ModelError(f"{path}: {library} has no class {entry[1]} for {name}")
    return cls


def _has_weights(name: str) -> bool:
    return not name.startswith(("tokenizer", "scheduler"))


def _load_part(folder: Path, name: str, cls: Any, dtype: torch.dtype) -> Any:
    options: dict[str, Any] = {"local_files_only": True}
    if _has_weights(name):
        options |= {"use_safetensors": True, "dtype" if "text" in name else "torch_dtype": dtype}
        options["variant"] = variant_of(folder / name)
    try:
        with _quiet_transformers():
            component = cls.from_pretrained(str(folder / name), **options)
    except Exception as error:
        if (folder / name / "spiece.model").is_file() and find_spec("sentencepiece") is None:
            # transformers guesses another library.
            raise ModelError(
                f"{folder / name} has its words in spiece.model, which needs a library: pip install sentencepiece"
            ) from error
        raise ModelError(f"{folder / name} cannot be opened as {cls.__name__}: {error}") from error
    return component.eval() if hasattr(component, "eval") else component


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bar of transformers for files that are open in a moment."""
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def _read_json(path: Path, why: str) -> dict[str, Any]:
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; {why}") from None
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} must hold a JSON object")
    return content
