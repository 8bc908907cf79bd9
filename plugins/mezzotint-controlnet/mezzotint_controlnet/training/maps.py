"""Control maps of the pictures: files of their own, or made by a preprocessor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from mezzotint import Pipeline
from mezzotint_training import DataError, Dataset, TrainingData, View
from mezzotint_training.data.folder import same_name_in
from mezzotint_training.data.images import load_conditioning, load_view
from PIL import Image
from torch import Tensor

from ..preprocess import parse_preprocessor, preprocess
from .settings import ControlNetSettings


class Maps:
    """Maps of views, kept where latents are."""

    def __init__(self, pipe: Pipeline, settings: ControlNetSettings) -> None:
        self._settings = settings
        self._registry = pipe.registry
        self._call = None if settings.preprocess is None else parse_preprocessor(settings.preprocess)
        if self._call is not None:
            self._registry.preprocessors.provided(self._call[0])
        self._kept: dict[View, Tensor] = {}

    def of(self, views: Sequence[View]) -> Tensor:
        """(n, 3, height, width) in [0, 1].

        Raises:
            DataError: a picture or map cannot be read.
        """
        return torch.stack([self._one(view) for view in views])

    def _one(self, view: View) -> Tensor:
        if view not in self._kept:
            made = load_conditioning(view) if self._call is None else self._made(view)
            if self._settings.cache == "off":
                return made
            self._kept[view] = made
        return self._kept[view]

    def _made(self, view: View) -> Tensor:
        assert self._call is not None
        pixels = (load_view(view, self._settings.background) + 1) * 127.5
        picture = Image.fromarray(pixels.round().clamp(0, 255).permute(1, 2, 0).byte().numpy())
        name, options = self._call
        found = preprocess(self._registry, name, picture, options)
        return torch.from_numpy(np.array(found, dtype=np.float32) / 255).permute(2, 0, 1)


def with_maps(data: TrainingData, folder: Path | None) -> TrainingData:
    """The data with the maps of a folder.

    Raises:
        DataError: a picture has none.
    """
    if folder is None:
        return data

    def paired(dataset: Dataset) -> Dataset:
        items = tuple(replace(item, conditioning=same_name_in(folder, item.path)) for item in dataset.items)
        return Dataset(items, dataset.placements)

    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give one with control maps in it")
    return replace(data, training=paired(data.training), held_out=paired(data.held_out))
