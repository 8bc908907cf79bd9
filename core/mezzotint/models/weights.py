"""Weight files looked at before they are opened: safetensors only, shapes as the configuration says."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..strangers_json import parse

MAX_HEADER = 100_000_000
"""Bytes; safetensors' own limit."""
_PICKLES = {b"\x80": "a pickle", b"PK": "a zip archive (torch.save, so a pickle)", b"(": "a pickle"}
_STEMS = ("diffusion_pytorch_model", "model")
_NAMES = tuple(f"{stem}.safetensors" for stem in _STEMS)
HALF = "fp16"
"""The variant in float16 that many models are downloaded in alone."""


def find_weights(folder: Path) -> dict[str, Path]:
    """Tensor name → safetensors file, for the weights of one component, sharded or not.

    Those of the variant `fp16` where there are no others.

    Raises:
        ModelError: there are none, or only pickles.
    """
    for path, index in _places(folder):
        if path.is_file():
            return dict.fromkeys(read_header(path), path)
        if index.is_file():
            return {tensor: folder / file for tensor, file in _weight_map(index).items()}
    others = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl"))
    if others:
        raise ModelError(_pickle_sentence(folder / others[0], "a pickle by its name"))
    raise ModelError(f"{folder} has no weights; expected {' or '.join(_NAMES)}")


def variant_of(folder: Path) -> str | None:
    """`fp16`, where the weights of a component are there in that variant alone."""
    found = next((path.name for path, index in _places(folder) if path.is_file() or index.is_file()), "")
    return HALF if f".{HALF}." in found else None


def _places(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Where the weights may be: a file, or several with an index."""
    for variant in ("", f".{HALF}"):
        for stem in _STEMS:
            yield (
                folder / f"{stem}{variant}.safetensors",
                folder / f"{stem}.safetensors.index{variant}.json",
            )


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor name → file name beside the index; nothing outside its folder."""
    try:
        files = parse(index.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{index} is not an index of safetensors files: {error!r}") from None
    if not isinstance(files, dict) or not all(
        isinstance(file, str) and Path(file).name == file for file in files.values()
    ):
        raise ModelError(f"{index} must name files in its own folder, without any path")
    return files


def read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file, checked for size: tensor name → dtype, shape, offsets.

    Format: 8 bytes little-endian header length, JSON header, tensor data
    (https://github.com/huggingface/safetensors).

    Raises:
        ModelError: not a safetensors file; a pickle is called by its name.
    """
    refuse_pickle(path)
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER, size - 8):
            raise ModelError(f"{path} is not a safetensors file or is cut short ({size} bytes)")
        try:
            header = parse(stream.read(length))
        except ValueError as error:
            raise ModelError(f"{path} is not a safetensors file: its header is not JSON ({error})") from None
    if not isinstance(header, dict):
        raise ModelError(f"{path} is not a safetensors file: its header is not a JSON object")
    header.pop("__metadata__", None)
    for name, entry in header.items():
        if not _is_tensor_entry(entry):
            raise ModelError(f"{path} is not a safetensors file: its header entry {name!r} is malformed")
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if 8 + length + end != size:
        raise ModelError(
            f"{path} has {size} bytes; its header promises {8 + length + end}: the file is damaged"
        )
    return header


def refuse_pickle(path: Path) -> None:
    """Refuse a pickle under any suffix, by its first bytes; nothing of it is ever executed.

    Raises:
        ModelError: with a sentence that says how to convert it.
    """
    with path.open("rb") as stream:
        start = stream.read(9)
    # A safetensors file starts with a length below 2**27 and then its JSON header: bytes that no pickle has.
    if start[4:] == b"\0\0\0\0{":
        return
    for magic, what in _PICKLES.items():
        if start.startswith(magic):
            raise ModelError(_pickle_sentence(path, what))


def check_shapes(cls: Any, config: Mapping[str, Any], weights: Mapping[str, Path]) -> None:
    """Compare every tensor of the files with what the configuration builds, without reading a weight.

    Raises:
        ModelError: a tensor is missing, unknown or of another shape; file, tensor and both shapes are named.
    """
    expected, tied = _expected_shapes(cls, config)
    headers: dict[Path, dict[str, Any]] = {}
    for path in dict.fromkeys(weights.values()):
        if not path.is_file():
            raise ModelError(f"{path} is missing; the index beside it names it")
        headers[path] = read_header(path)
    prefix = _prefix(expected, weights)
    for name, path in weights.items():
        stored = tuple(headers[path].get(name, {}).get("shape", ()))
        wanted = expected.get(name.removeprefix(prefix))
        if wanted is not None and stored != wanted:
            raise ModelError(
                f"{path}: {name} has shape {stored}; {cls.__name__} with its config.json expects {wanted}"
            )
    missing = [
        name for name in expected if not any(prefix + alias in weights for alias in tied.get(name, (name,)))
    ]
    if missing:
        first = next(iter(weights.values()), Path())
        raise ModelError(f"{first} lacks {_some(missing)}, which {cls.__name__} with its config.json expects")
    unknown = [
        name for name in weights if name.removeprefix(prefix) not in expected and "position_ids" not in name
    ]
    if unknown:
        raise ModelError(
            f"{weights[unknown[0]]} has {_some(unknown)}, which {cls.__name__} with its config.json does not know"
        )


def _is_tensor_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    offsets, shape = entry.get("data_offsets"), entry.get("shape")
    numbers = [*offsets, *shape] if isinstance(offsets, list) and isinstance(shape, list) else [None]
    return (
        isinstance(entry.get("dtype"), str)
        and len(offsets or ()) == 2
        and all(isinstance(number, int) and number >= 0 for number in numbers)
    )


def _expected_shapes(
    cls: Any, config: Mapping[str, Any]
) -> tuple[dict[str, tuple[int, ...]], dict[str, list[str]]]:
    """Shape of each tensor by name, and for those with several names (shared, so stored once) all of them."""
    import torch

    try:
        with torch.device("meta"):
            if hasattr(cls, "config_class"):
                model = cls(cls.config_class(**config))
            else:
                model = cls.from_config(dict(config))
    except Exception as error:
        raise ModelError(f"config.json of {cls.__name__} is not valid: {error}") from error
    tensors = model.state_dict(keep_vars=True)
    names: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        names.setdefault(id(tensor), []).append(name)
    shared = {name: aliases for aliases in names.values() if len(aliases) > 1 for name in aliases}
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}, shared


def _prefix(expected: Mapping[str, object], weights: Mapping[str, Path]) -> str:
    """Some exporters store the text encoder's tensors one level down or up (`text_model.`)."""
    return (
        "text_model."
        if not any(n.startswith("text_model.") for n in expected)
        and any(n.startswith("text_model.") for n in weights)
        else ""
    )


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - 1} more tensors" if len(names) > 1 else ""
    return f"{names[0]}{rest}"


def _pickle_sentence(path: Path, what: str) -> str:
    return (
        f"{path} is {what}, which can run code when it is opened; mezzotint opens only safetensors. "
        "If you trust it, convert it once: open it with diffusers and save it with "
        "save_pretrained(…, safe_serialization=True)"
    )
