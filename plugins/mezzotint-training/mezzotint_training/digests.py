"""SHA-256 of what something is made from: values, files, tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from .errors import DataError


def digest(*parts: object) -> str:
    """Of plain values."""
    return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()


def digest_file(path: Path) -> str:
    """Of a file's bytes.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Of tensors by name: names, types, shapes and bytes."""
    sha256 = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha256.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return sha256.hexdigest()


def digest_module(module: nn.Module) -> str:
    """Of a network's parameters and buffers."""
    return digest_tensors(module.state_dict())
