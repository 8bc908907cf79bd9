"""From what a person names to a network that is checked and ready, shared between runs by content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mezzotint.errors import ModelError, UnknownNameError
from mezzotint.hashing import hash_model
from mezzotint.models.weights import check_shapes, find_weights, refuse_pickle, variant_of
from mezzotint.strangers_json import parse

if TYPE_CHECKING:
    from mezzotint import Pipeline

Network = TypeVar("Network")

EXTENSIONS = {
    "ControlNetModel": "ControlNet",
    "ControlNetUnionModel": "ControlNetUnion",
    "ControlNetXSAdapter": "ControlNetXS",
    "T2IAdapter": "T2IAdapter",
}
"""Class of a network in diffusers → the extension that runs it."""


def load_network(
    pipe: Pipeline, model: Path, class_name: str, finish: Callable[[Any, str], Network]
) -> Network:
    """The network at a folder, file or plugin's name, on the pipeline's device and in its dtype.

    Args:
        class_name: diffusers' class that the caller can run, one of `EXTENSIONS`.
        finish: checks the network against the pipeline and wraps it; gets it and where it came from.

    Raises:
        ModelError: it is missing, unsafe, incomplete, or another kind of network.
    """
    path = locate(pipe, model)
    key = ("mezzotint_controlnet", class_name, hash_model(path), pipe.dtype, str(pipe.device))
    return pipe.resource(key, lambda: finish(_load(pipe, path, class_name).to(pipe.device), str(path)))


def open_network(pipe: Pipeline, model: Path, class_name: str) -> Any:
    """As `load_network`, one of its own that may be changed, and not checked against the pipeline."""
    return _load(pipe, locate(pipe, model), class_name)


def locate(pipe: Pipeline, model: Path) -> Path:
    """The folder or file; a plugin's name comes before a folder of that name."""
    if str(model) in pipe.registry.models:
        return pipe.registry.models[str(model)].path
    if model.exists():
        return model
    try:
        pipe.registry.models.provided(str(model))
    except UnknownNameError:
        networks = [
            f"{name} ({spec.kind})" for name, spec in pipe.registry.models.items() if spec.kind != "pipeline"
        ]
        there = f"; plugins bring {', '.join(networks)}" if networks else ""
        raise ModelError(
            f"network {model} is no folder or .safetensors file here, and no plugin's model{there}"
        ) from None
    raise AssertionError("unreachable: provided() raises for every name that is not in models")


def _load(pipe: Pipeline, path: Path, class_name: str) -> Any:
    if path.is_dir():
        return _load_folder(path, class_name, pipe)
    refuse_pickle(path)
    if class_name == "ControlNetModel":
        from .single_file import load_controlnet_file

        return load_controlnet_file(path, pipe.unet, pipe.dtype)
    raise ModelError(
        f"{path} is a single file, which says nothing of how a {EXTENSIONS[class_name]} is built; give a diffusers folder"
    )


def _load_folder(folder: Path, class_name: str, pipe: Pipeline) -> Any:
    import diffusers

    config = _read_config(folder)
    found = config.get("_class_name")
    if found != class_name:
        raise ModelError(_other_class(folder, found, class_name))
    cls = getattr(diffusers, class_name)
    check_shapes(cls, config, find_weights(folder))
    network = cls.from_pretrained(
        str(folder),
        local_files_only=True,
        use_safetensors=True,
        variant=variant_of(folder),
        torch_dtype=pipe.dtype,
    )
    # requires_grad stays on, as in diffusers' pipelines: torch's matmul rounds differently without it.
    return network.eval()


def _other_class(folder: Path, found: object, wanted: str) -> str:
    if found in EXTENSIONS:
        return (
            f"{folder} holds a {found}; use {EXTENSIONS[str(found)]}(…) for it, not {EXTENSIONS[wanted]}(…)"
        )
    return f"{folder} holds {found}, expected {wanted}; it is no network for this kind of model"


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        inside = [child.name for child in sorted(folder.iterdir()) if (child / "config.json").is_file()]
        hint = f"; it is a whole pipeline, try {folder / 'controlnet'}" if "controlnet" in inside else ""
        raise ModelError(f"{path} is missing; a network's folder has one{hint}")
    try:
        config = parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise ModelError(f"{path} must hold a JSON object")
    return config
