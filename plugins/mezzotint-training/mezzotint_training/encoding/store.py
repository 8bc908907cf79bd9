"""Tensors by the digest of what they were made from."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

logger = logging.getLogger("mezzotint")


def digest(*parts: object) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()


def digest_module(module: nn.Module) -> str:
    """SHA-256 over a network's parameters and buffers: names, types and bytes."""
    sha256 = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha256.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return sha256.hexdigest()


class TensorStore:
    """Keeps named tensors under a digest, in memory and, with a folder, also on disk for the next training.

    A file on disk is written under another name first, so that it is whole or not there; one that cannot be read is
    made again. Where there is no room for a file, the tensors stay in memory.
    """

    def __init__(self, folder: Path | None = None, *, in_memory: bool = True) -> None:
        self.folder = folder
        self.in_memory = in_memory or folder is None
        self._known: dict[str, dict[str, Tensor]] = {}
        self._disk_works = True

    def get(self, key: str) -> dict[str, Tensor] | None:
        """What was put under this digest, or `None`."""
        if key in self._known:
            return self._known[key]
        if self.folder is None:
            return None
        try:
            tensors = load_file(self._path(key))
        except (OSError, SafetensorError):
            return None
        if self.in_memory:
            self._known[key] = tensors
        return tensors

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep these tensors."""
        written = self.folder is not None and self._disk_works and self._write(key, tensors)
        if self.in_memory or not written:
            self._known[key] = tensors

    def _write(self, key: str, tensors: dict[str, Tensor]) -> bool:
        path = self._path(key)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(save({name: tensor.contiguous() for name, tensor in tensors.items()}))
            os.replace(part, path)
        except OSError as error:
            part.unlink(missing_ok=True)
            self._disk_works = False
            logger.warning(
                "%s cannot be written (%s); the cache stays in memory", path.parent, error.strerror or error
            )
            return False
        return True

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.safetensors"
