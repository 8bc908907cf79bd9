"""A folder in peft's layout, with one folder in it for each model: read, and written all of it or nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from .adapter import COMPONENTS, Adapter, Delta, Target
from .errors import LoRAError
from .formats import diffusers, peft
from .names import with_text_model
from .safetensors_file import read_tensors, write_tensors

_FILES = (peft.WEIGHTS, peft.CONFIG)


def read(folders: Iterable[Path], weights: Path | None = None) -> Adapter:
    """The adapter whose models have these folders.

    Args:
        weights: a file in the one folder that has another name than peft gives it.

    Raises:
        LoRAError: a file is missing, damaged or refused.
    """
    deltas: dict[Target, Delta] = {}
    words: dict[str, str] = {}
    unread: dict[str, str] = {}
    for folder in folders:
        tensors, metadata = read_tensors(weights or folder / peft.WEIGHTS)
        found, bad = peft.LAYOUT.parse(tensors)
        configuration = peft.read_configuration(folder)
        words.update({key: value for key, value in metadata.items() if (key, value) != ("format", "pt")})
        unread.update(bad)
        modules = {target.module: delta for target, delta in found.items()}
        for module, delta in peft.with_alphas(modules, configuration).items():
            component = folder.name if folder.name in COMPONENTS else peft.component_of(module)
            name = module if component == "unet" else with_text_model(module)
            deltas[Target(component, name)] = delta
    return Adapter(deltas, words, peft.LAYOUT.name, unread)


def write(folder: Path, adapter: Adapter) -> None:
    """Write an adapter in place of the one that is there.

    Raises:
        LoRAError: peft cannot hold it, or there is a file, or a folder with anything else in it.
        OSError: the path cannot be written; what stood there still stands.
    """
    _check_replaceable(folder)
    folder = folder.resolve()
    prepared = {}
    for component in adapter.components:
        deltas = adapter.of(component)
        peft.refuse(deltas, "peft", ("lora", "loha", "lokr"))
        # As transformers 5 names them, where peft looks them up; read again, they have the names that files have.
        tensors = {
            f"base_model.model.{peft.bare(key)}": tensor for key, tensor in peft.tensors(deltas).items()
        }
        prepared[component] = tensors, peft.configuration(deltas)
    words = {key: value for key, value in adapter.metadata.items() if key != diffusers.CONFIG_KEY}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        made = Path(temporary) / "new"
        made.mkdir()
        for component, (tensors, configuration) in prepared.items():
            write_tensors(made / component / peft.WEIGHTS, tensors, {"format": "pt", **words})
            text = json.dumps(configuration, indent=2, sort_keys=True)
            (made / component / peft.CONFIG).write_text(f"{text}\n", encoding="utf-8")
        _put(made, folder, aside=Path(f"{temporary}.old"))


def _put(made: Path, folder: Path, aside: Path) -> None:
    """One folder in place of another, which is deleted only when the new one stands there."""
    if not folder.exists():
        made.rename(folder)
        return
    folder.rename(aside)
    try:
        made.rename(folder)
    except BaseException:
        aside.rename(folder)
        raise
    shutil.rmtree(aside)


def _check_replaceable(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise LoRAError(f"{folder} is a file; a peft adapter is a folder")
    other = next(_others(folder), None)
    if other is not None:
        raise LoRAError(
            f"{folder} holds more than an adapter ({other.relative_to(folder)}), which would be lost; choose another folder"
        )


def _others(folder: Path) -> Iterator[Path]:
    """What is in a folder that is no part of an adapter as peft or this module writes it."""
    for path in sorted(folder.iterdir()):
        if path.name in COMPONENTS and path.is_dir() and not path.is_symlink():
            yield from (inner for inner in sorted(path.iterdir()) if not _is_part(inner))
        elif not _is_part(path):
            yield path


def _is_part(path: Path) -> bool:
    return path.name in _FILES and path.is_file() and not path.is_symlink()
