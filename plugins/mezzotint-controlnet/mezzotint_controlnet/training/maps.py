"""Control maps of the pictures: files of their own, or made by a preprocessor."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from mezzotint import Pipeline
from mezzotint_training import DataError, Dataset, Item, TrainingData, View
from mezzotint_training.data.folder import same_name_in
from mezzotint_training.data.images import load_conditioning, load_view
from PIL import Image
from torch import Tensor

from ..preprocess import parse_preprocessor, preprocess
from .settings import ControlNetSettings


class Maps:
    """Maps of views, kept in memory as bytes unless nothing is to be kept."""

    def __init__(self, pipe: Pipeline, settings: ControlNetSettings) -> None:
        self._settings = settings
        self._registry = pipe.registry
        self._call = None if settings.preprocess is None else parse_preprocessor(settings.preprocess)
        if self._call is not None:
            # At once, so that an option that it does not take is not met after hours of encoding.
            preprocess(self._registry, self._call[0], Image.new("RGB", (64, 64)), self._call[1])
        self._kept: dict[View, Tensor] = {}

    def of(self, views: Sequence[View]) -> Tensor:
        """(n, 3, height, width) in [0, 1].

        Raises:
            DataError: a picture or map cannot be read.
        """
        return torch.stack([self._one(view) for view in views]).float() / 255

    def _one(self, view: View) -> Tensor:
        """(3, height, width) of 0 to 255."""
        if view not in self._kept:
            made = (load_conditioning(view) * 255).round().byte() if self._call is None else self._made(view)
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
        return torch.from_numpy(np.array(found)).permute(2, 0, 1)


def with_maps(data: TrainingData, folder: Path | None) -> TrainingData:
    """The data with the maps of a folder.

    A map lies where its picture lies below the folder of the data; where no two pictures have one name, the name is enough.

    Raises:
        DataError: the folder is none, a map is missing or cannot be read, or two pictures would share one.
    """
    if folder is None:
        return data
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give one with control maps in it")
    items = [*data.training.items, *data.held_out.items]
    top = Path(os.path.commonpath([item.path.absolute().parent for item in items]))
    names = Counter(item.path.stem for item in items)

    def with_map(item: Item) -> Item:
        inside = item.path.absolute().relative_to(top)
        found = same_name_in(folder / inside.parent, inside)
        if found is None and names[inside.stem] > 1:
            raise DataError(
                f"{item.path} has no control map at {folder / inside.with_suffix('')}.*, and its name alone does not tell, as "
                f"{names[inside.stem]} pictures have it"
            )
        return replace(item, conditioning=found or same_name_in(folder, inside))

    def paired(dataset: Dataset) -> Dataset:
        return Dataset(tuple(map(with_map, dataset.items)), dataset.placements)

    return replace(data, training=paired(data.training), held_out=paired(data.held_out))
