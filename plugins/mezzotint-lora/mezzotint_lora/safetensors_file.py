"""Safetensors files of strangers, read with suspicion, and our own, written byte for byte the same each time.

Format: 8 bytes little-endian header length, a JSON header, the tensors
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import os
import secrets
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.strangers_json import parse

from .errors import LoRAError, no_such_file

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER = 100_000_000
"""Bytes; safetensors' own limit."""
_PICKLES = (b"\x80", b"PK\x03\x04", b"(dp", b"(lp")
_PICKLE_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")


def read_header(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Entries (dtype, shape, offsets) by tensor name, and the metadata; no tensor is read.

    Raises:
        LoRAError: no such file, a pickle, or not a whole safetensors file.
    """
    if not path.is_file():
        raise no_such_file(path)
    with path.open("rb") as stream:
        return _header(path, stream.read(8), stream)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors on the CPU, and the metadata.

    The file is read whole, not mapped: what happens to it afterwards changes nothing here.

    Raises:
        LoRAError: as `read_header`; or a tensor holds NaN or infinity.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    _, metadata = read_header(path)
    try:
        # The library checks that the offsets cover the data, once each and without holes.
        tensors = load(path.read_bytes())
    except (SafetensorError, ValueError) as error:
        raise LoRAError(f"{path} is damaged: {error}") from None
    for key, tensor in tensors.items():
        if tensor.is_complex():
            raise LoRAError(f"{path}: tensor {key} holds complex numbers, which no LoRA has")
        if not _is_finite(tensor):
            raise LoRAError(
                f"{path}: tensor {key} holds NaN or infinity; the training that wrote it had diverged"
            )
    return tensors, metadata


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a file whose bytes depend on its content alone, all of it or nothing.

    `safetensors.torch.save_file` orders the metadata differently in each process, so the header is made here;
    tensors stand as that library orders them, by width of their numbers and then by name.

    Raises:
        LoRAError: a tensor is of a type that such files do not have, or holds NaN or infinity, with which none is read.
        OSError: the folder cannot be written, or the disk is full; what stood at `path` still stands.
    """
    for name, tensor in tensors.items():
        if not _is_finite(tensor):
            raise LoRAError(
                f"{name} would hold NaN or infinity, so nothing is written; give smaller weights, or a wider type of number"
            )
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {}
    if metadata:
        header["__metadata__"] = {key: metadata[key] for key in sorted(metadata)}
    offset = 0
    for name in order:
        size = tensors[name].numel() * tensors[name].element_size()
        header[name] = {
            "dtype": _dtype(name, tensors[name]),
            "shape": list(tensors[name].shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    encoded += b" " * (-len(encoded) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        # Made anew with what the user's umask allows; `tempfile` would make it private.
        with temporary.open("xb") as stream:
            stream.write(struct.pack("<Q", len(encoded)) + encoded)
            for name in order:
                stream.write(_bytes(tensors[name]))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _header(path: Path, start: bytes, stream: Any) -> tuple[dict[str, Any], dict[str, str]]:
    size = path.stat().st_size
    rest = stream.read(1)
    # A safetensors file starts with a length below 2**27 and its JSON header: no pickle has these bytes.
    if not (start[4:] == b"\0\0\0\0" and rest == b"{") and (
        start.startswith(_PICKLES) or path.suffix in _PICKLE_SUFFIXES
    ):
        raise LoRAError(
            f"{path} is a pickle, which can run any code when it is opened, so it is refused; "
            "get the .safetensors file of this LoRA, or convert it on a machine that may break: "
            "safetensors.torch.save_file(torch.load(FILE, weights_only=True), NEW)"
        )
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise LoRAError(f"{path} is not a safetensors file, or is cut short ({size} bytes)")
    try:
        header = parse(rest + stream.read(length - 1))
    except ValueError as error:
        raise LoRAError(f"{path} is not a safetensors file: its header is not JSON ({error})") from None
    if not isinstance(header, dict):
        raise LoRAError(f"{path} is not a safetensors file: its header is not a JSON object")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise LoRAError(f"{path} is not a safetensors file: its metadata is not text")
    _check_extent(path, header, size - 8 - length)
    return header, metadata


def _check_extent(path: Path, header: Mapping[str, Any], size: int) -> None:
    """Every byte of the data belongs to one tensor; a hole could hide anything, a missing end is a broken download."""
    spans = []
    for key, entry in header.items():
        offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
        shape = entry.get("shape") if isinstance(entry, dict) else None
        numbers = [*offsets, *shape] if isinstance(offsets, list) and isinstance(shape, list) else [None]
        if len(offsets or ()) != 2 or not all(type(number) is int and number >= 0 for number in numbers):
            raise LoRAError(f"{path} is not a safetensors file: its header entry {key!r} is malformed")
        spans.append((offsets[0], offsets[1], key))
    position = 0
    for begin, end, key in sorted(spans):
        if begin != position or end < begin:
            raise LoRAError(f"{path} is damaged: tensor {key} does not begin where the one before it ends")
        position = end
    if position != size:
        raise LoRAError(
            f"{path} is damaged: its header promises {position} bytes of tensors and it has {size}; "
            "download it again"
        )


def _is_finite(tensor: Tensor) -> bool:
    import torch

    # torch has no isfinite of its 8-bit types.
    wide = tensor.float() if tensor.element_size() == 1 else tensor
    return not tensor.is_floating_point() or bool(torch.isfinite(wide).all())


def _dtype(name: str, tensor: Tensor) -> str:
    own = str(tensor.dtype).removeprefix("torch.")
    if own not in _DTYPES:
        raise LoRAError(
            f"{name} holds {own}, for which safetensors files have no name; convert it to float32"
        )
    return _DTYPES[own]


def _bytes(tensor: Tensor) -> bytes:
    import torch

    plain = tensor.detach().cpu().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""


_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}
"""Names of torch's number types in the header."""
