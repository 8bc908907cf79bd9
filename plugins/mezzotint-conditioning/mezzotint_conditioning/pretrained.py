"""Opening a transformers model from a folder: safetensors, its shapes checked before a weight is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.errors import ModelError
from mezzotint.models.weights import check_shapes, find_weights, variant_of
from mezzotint.strangers_json import parse

if TYPE_CHECKING:
    import torch


def open_pretrained(folder: Path, cls: Any, what: str, dtype: torch.dtype) -> Any:
    """A model in evaluation mode, without gradients.

    Args:
        folder: with `config.json` and weights, as `save_pretrained` writes them.
        cls: of transformers.
        what: how errors call it, such as "the image encoder".

    Raises:
        ModelError: the folder, its configuration or its weights are missing, of another kind, or damaged.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder; {what} is one with config.json and safetensors weights")
    try:
        config = parse((folder / "config.json").read_text(encoding="utf-8"))
        kind = config["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(
            f"{folder / 'config.json'} is missing or no model's; {what} is a {cls.__name__}"
        ) from None
    if kind != cls.config_class.model_type:
        raise ModelError(
            f"{folder} holds a model of type {kind!r}; {what} is a {cls.__name__} ({cls.config_class.model_type!r})"
        )
    check_shapes(cls, config, find_weights(folder))
    try:
        model = cls.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, variant=variant_of(folder), dtype=dtype
        )
    except Exception as error:
        raise ModelError(f"{folder} cannot be opened as {cls.__name__}: {error}") from error
    return model.eval().requires_grad_(False)
