"""Tensors by the digest of what they were made from."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..digests import digest, digest_tensors
from ..flushing import flush

logger = logging.getLogger("mezzotint")
_CHECKSUM = "sha256"


class TensorStore:
    """Keeps named tensors under a digest, in memory and, with a folder, also on disk for the next training.

    A file on disk is flushed under another name first, so that it is whole or not there, and has a checksum of its
    tensors and their digest; one that cannot be read or holds anything else is as if it were not there, and made again.
    Where there is no room for a file, the tensors stay in memory.
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
        tensors = None if self.folder is None else self._read(key)
        if self.in_memory and tensors is not None:
            self._known[key] = tensors
        return tensors

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep these tensors."""
        written = self.folder is not None and self._disk_works and self._write(key, tensors)
        if self.in_memory or not written:
            self._known[key] = tensors

    def _read(self, key: str) -> dict[str, Tensor] | None:
        try:
            with safe_open(self._path(key), "pt") as file:
                words = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, SafetensorError):
            return None
        return tensors if words.get(_CHECKSUM) == _checksum(key, tensors) else None

    def _write(self, key: str, tensors: dict[str, Tensor]) -> bool:
        path = self._path(key)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
            part.write_bytes(save(whole, {_CHECKSUM: _checksum(key, whole)}))
            flush(part)
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


def _checksum(key: str, tensors: dict[str, Tensor]) -> str:
    return digest(key, digest_tensors(tensors))
