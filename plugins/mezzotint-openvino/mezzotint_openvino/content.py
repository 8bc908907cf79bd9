"""What a converted U-Net depends on: the content of its weights, told cheaply while they stay untouched."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from typing import Any

import torch
from mezzotint import weight_sample, weight_state
from torch import Tensor


def weights_touched(unet: Any) -> Hashable:
    """Changes whenever a weight is written, exchanged or moved, or the scale of an adapter is set."""
    return weight_state(*_tensors(unet)), adapters(unet)


def sampled(unet: Any) -> Hashable:
    """A glance at the content of all weights, for once a run: sees what was written through `.data`."""
    return weight_sample(*_tensors(unet))


def content(unet: Any) -> str:
    """Digest over names, shapes and bytes of all weights, and the scales of adapters that are not fused."""
    digest = hashlib.blake2b(repr(adapters(unet)).encode(), digest_size=16)
    for name, tensor in (*unet.named_parameters(), *unet.named_buffers()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def adapters(unet: Any) -> Hashable:
    """Scales and switches of peft's layers, which are numbers beside the weights."""
    found = []
    for name, module in unet.named_modules():
        scaling = getattr(module, "scaling", None)
        if isinstance(scaling, dict):
            scales = tuple(sorted((key, float(value)) for key, value in scaling.items()))
            switches = (str(getattr(module, "active_adapters", "")), bool(module.disable_adapters))
            found.append((name, scales, switches, str(getattr(module, "merged_adapters", ""))))
    return tuple(found)


def _tensors(unet: Any) -> list[Tensor]:
    return [*unet.parameters(), *unet.buffers()]
