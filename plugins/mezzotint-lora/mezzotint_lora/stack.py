"""All adapters that are on one model at the moment, from any number of extensions.

They share layers, so they are kept together: the sum is made in the order of their content, and the model is what it
was when the last one leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .adapter import Delta
from .layer import AdaptedLayer, Part

if TYPE_CHECKING:
    from torch.nn import Module


@dataclass(frozen=True, eq=False)
class Use:
    """An adapter on one model: what to add where, and how."""

    order: str
    """A digest of its content, by which sums are ordered."""
    deltas: Mapping[str, Delta]
    """By module path."""
    weights: Mapping[str, float]
    """By module path; those of 0 are left alone."""
    fuse: bool = False
    rank: int = 0
    """Room for ranks, so that others can take its place in a compiled model; 0 for none."""


class Stack:
    """The adapters of one model."""

    def __init__(self, model: Module) -> None:
        self._model = model
        self._layers: dict[str, AdaptedLayer] = {}
        self._compiled_for: set[str] = set()
        """Modules that any adapter with room was on: the next one fills those it lacks with zeros."""

    @contextmanager
    def using(self, use: Use) -> Iterator[Handle]:
        """Have an adapter on the model for a while; on leaving, the others stay and the rest is as it was.

        Raises:
            ShapeError: a delta does not fit; nothing is left behind.
        """
        parts = {
            path: Part(use.order, delta, use.weights[path], use.fuse)
            for path, delta in use.deltas.items()
            if use.weights[path]
        }
        paths = list(parts)
        if use.rank:
            self._compiled_for |= parts.keys()
            paths = sorted(self._compiled_for)
        layers = {path: self._layer(path) for path in paths}
        room = {path: layer.rank for path, layer in layers.items()}
        try:
            for path, layer in layers.items():
                layer.rank = max(layer.rank, use.rank)
                if path in parts:
                    layer.parts.append(parts[path])
                layer.settle()
            yield Handle(self, parts)
        finally:
            self._drop(layers, parts, room)

    def _layer(self, path: str) -> AdaptedLayer:
        if path not in self._layers:
            self._layers[path] = AdaptedLayer(self._model.get_submodule(path))
        return self._layers[path]

    def _drop(
        self, layers: Mapping[str, AdaptedLayer], parts: Mapping[str, Part], room: Mapping[str, int]
    ) -> None:
        """Take parts off; all layers are seen to, whatever happens on the way."""
        failed: list[BaseException] = []
        for path, layer in layers.items():
            layer.parts = [part for part in layer.parts if part is not parts.get(path)]
            layer.rank = room[path]
            try:
                if layer.parts or layer.rank:
                    layer.settle()
                else:
                    layer.restore()
            except BaseException as error:
                layer.restore()
                failed.append(error)
        if failed:
            raise failed[0]


class Handle:
    """An adapter that is on a model."""

    def __init__(self, stack: Stack, parts: Mapping[str, Part]) -> None:
        self._stack = stack
        self._parts = parts
        self._factor = 1.0

    def scale(self, factor: float) -> None:
        """Multiply its weights by a factor from now on, in place of the one before."""
        if factor == self._factor:
            return
        self._factor = factor
        for path, part in self._parts.items():
            part.factor = factor
            self._stack._layer(path).follow()
