"""peft's layers as deltas of the untouched base."""

from __future__ import annotations

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from ..adapter import Delta, Target
from ..names import Names
from .injecting import NAME, Injected

_LOHA = ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")
_LOKR = ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")


def deltas_of(injected: Injected, component: str) -> dict[Target, Delta]:
    """What each trained layer adds to its weight, by the module names that files use."""
    names = Names.of(injected.model)
    return {
        Target(component, names.in_files[name]): _delta(layer, injected.starts.get(name))
        for name, layer in injected.layers.items()
    }


def _delta(layer: BaseTunerLayer, start: tuple[Tensor, Tensor] | None) -> Delta:
    scale = float(layer.scaling[NAME])
    if hasattr(layer, "hada_w1_a"):
        tensors = {part: value for part in _LOHA if (value := _part(layer, f"hada_{part}")) is not None}
        return Delta("loha", tensors, alpha=scale * tensors["w1_b"].shape[0])
    if hasattr(layer, "lokr_w1"):
        tensors = {part: value for part in _LOKR if (value := _part(layer, f"lokr_{part}")) is not None}
        if {"w1", "w2"} <= tensors.keys():
            # Readers ignore alpha where both factors are whole, so the scale goes into one of them.
            return Delta("lokr", {**tensors, "w1": tensors["w1"] * scale}, alpha=None)
        rank = next(tensors[part].shape[0] for part in ("w1_b", "w2_b") if part in tensors)
        return Delta("lokr", tensors, alpha=scale * rank)
    down, up = _copy(layer.lora_A[NAME].weight), _copy(layer.lora_B[NAME].weight)
    rank = down.shape[0]
    if start is not None:
        # The start was taken out of the weight: up·down − up₀·down₀, as one product of twice the rank.
        down, up = torch.cat([down, _copy(start[0])]), torch.cat([up, -_copy(start[1])], 1)
        return Delta("lora", {"down": down, "up": up}, alpha=scale * 2 * rank)
    tensors = {"down": down, "up": up}
    if NAME in layer.lora_magnitude_vector:
        magnitude = _copy(layer.lora_magnitude_vector[NAME].weight)
        weight = layer.get_base_layer().weight
        tensors["magnitude"] = magnitude.reshape(-1, *[1] * (weight.ndim - 1))
    # The plain rule alpha / rank, also where peft divided by the root of the rank.
    return Delta("lora", tensors, alpha=scale * rank)


def _part(layer: BaseTunerLayer, name: str) -> Tensor | None:
    parameters = getattr(layer, name, {})
    return _copy(parameters[NAME]) if NAME in parameters else None


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().float().clone()
