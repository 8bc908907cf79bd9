"""What a converted U-Net depends on: the content of its weights, told cheaply while they stay untouched."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from mezzotint import Weights, weight_sample, weight_state


class Watched:
    """A U-Net in one run: its weights, and the layers of peft's that scale them."""

    def __init__(self, unet: Any) -> None:
        self.weights = Weights(unet)
        self._layers = adapter_layers(unet)

    def touched(self) -> Hashable:
        """Changes whenever a weight is written or moved, or the scale of an adapter is set."""
        return weight_state(*self.weights.tensors), adapters(self._layers)

    def sample(self) -> Hashable:
        """A glance at the content of all weights, for once a run: sees what was written through `.data`."""
        return weight_sample(*self.weights.tensors)


def content(unet: Any) -> str:
    """Digest over names, shapes and bytes of all weights, and the scales of adapters that are not fused."""
    digest = hashlib.blake2b(repr(adapters(adapter_layers(unet))).encode(), digest_size=16)
    for name, tensor in (*unet.named_parameters(), *unet.named_buffers()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def adapter_layers(unet: Any) -> list[tuple[str, Any]]:
    """peft's layers, by name."""
    return [
        (name, module)
        for name, module in unet.named_modules()
        if isinstance(getattr(module, "scaling", None), dict)
    ]


def adapters(layers: Sequence[tuple[str, Any]]) -> Hashable:
    """Scales and switches of peft's layers, which are numbers beside the weights."""
    found = []
    for name, module in layers:
        scales = tuple(sorted((key, float(value)) for key, value in module.scaling.items()))
        switches = (str(getattr(module, "active_adapters", "")), bool(module.disable_adapters))
        found.append((name, scales, switches, str(getattr(module, "merged_adapters", ""))))
    return tuple(found)
