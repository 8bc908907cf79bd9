"""LoRA files to and from data: `read_adapter` finds out the layout, `write_adapter` writes the one you name.

from mezzotint_lora.files import read_adapter, write_adapter

adapter = read_adapter("style.safetensors")
write_adapter("style-diffusers.safetensors", adapter, format="diffusers")
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from . import peft_folder
from .adapter import COMPONENTS, Adapter, Delta, Target
from .errors import LoRAError
from .families import BY_NAME, FAMILIES, guess_family, names_of
from .formats import LAYOUTS, detect, diffusers, kohya, peft
from .hashes import with_hashes, without_hashes
from .names import Names
from .printable import printable
from .safetensors_file import read_tensors, write_tensors

Format = Literal["kohya", "diffusers", "peft"]


_TRANSFORMERS = ("transformer.", "lora_transformer_", "diffusion_model.")
"""How names begin that are of no U-Net."""


def read_adapter(path: str | Path) -> Adapter:
    """Read a LoRA file of any layout, or a folder that peft or diffusers wrote.

    Keys that cannot be read are in `Adapter.unread`; whether that is an error is for the caller to say. Modules
    are named as the file names them: see `resolved`.

    Raises:
        LoRAError: there is no such file, it is a pickle, damaged, holds NaN, or is no LoRA at all.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if path.name == peft.WEIGHTS:
        return peft_folder.read([path.parent])
    tensors, metadata = read_tensors(path)
    layout = detect(tensors)
    if layout is None:
        first = next(iter(sorted(tensors)), None)
        refused = next(
            filter(None, (layout.refuses(key) for layout in LAYOUTS for key in sorted(tensors))), None
        )
        if refused is not None:
            raise LoRAError(f"{path} is of {refused}, which is not supported")
        looks = f"its first tensor is {first}" if first else "it holds no tensor"
        if first and first.startswith(_TRANSFORMERS):
            looks += ", so it is for a transformer such as Flux or Stable Diffusion 3, of which mezzotint opens none"
        raise LoRAError(f"{path} is no LoRA file of kohya, LyCORIS, diffusers or peft: {looks}")
    if layout is peft.LAYOUT:
        return peft_folder.read([path.parent], weights=path)
    deltas, unread = layout.parse(tensors)
    if layout is diffusers.LAYOUT:
        configurations = diffusers.configurations(metadata, path)
        deltas = {
            Target(component, module): delta
            for component in COMPONENTS
            for module, delta in peft.with_alphas(
                Adapter(deltas).of(component), configurations.get(component, {})
            ).items()
        }
    return Adapter(deltas, metadata, layout.name, unread)


def write_adapter(
    path: str | Path,
    adapter: Adapter,
    format: Format = "kohya",
    metadata: Mapping[str, str] | None = None,
    names: Mapping[str, Names] | None = None,
) -> None:
    """Write an adapter, all of it or nothing; equal adapters give equal bytes.

    Args:
        path: a `.safetensors` file; for peft a folder, with one folder in it for each model. What was there is
            replaced, a folder only where it holds an adapter and nothing else.
        format: `kohya` (which A1111, ComfyUI and diffusers read), `diffusers`, or `peft`.
        metadata: more words for the header, such as `ss_output_name`; they replace those of the adapter.
        names: module names by component (`Names.of(model)`), where the adapter is in kohya's names and its
            model is none of the known families.

    Raises:
        LoRAError: the format cannot hold this kind of adapter, names cannot be told apart without a model, or there
            is a folder in place of a file, a file in place of a folder, or a folder with more than an adapter in it.
        OSError: the path cannot be written.
    """
    path = Path(path)
    if format not in get_args(Format):
        raise LoRAError(f"there is no LoRA format {format!r}; there are {', '.join(get_args(Format))}")
    if adapter.unread:
        key, why = next(iter(adapter.unread.items()))
        raise LoRAError(f"the adapter has {len(adapter.unread)} keys that would be lost; {key} {why}")
    header = {**adapter.metadata, **(metadata or {})}
    if not all(isinstance(value, str) for value in header.values()):
        raise LoRAError("metadata of safetensors is text: every value must be a string")
    adapter = replace(adapter, metadata=header)
    if format != "peft" and path.is_dir():
        raise LoRAError(
            f"{path} is a folder; a LoRA of {format} is a file, such as {path / 'lora.safetensors'}"
        )
    if format == "kohya":
        _write_kohya(path, adapter, names)
        return
    adapter = resolved(replace(adapter, metadata=without_hashes(header)), names)
    if format == "diffusers":
        tensors, words = diffusers.write(adapter)
        write_tensors(path, tensors, words)
    else:
        peft_folder.write(path, adapter)


def resolved(adapter: Adapter, names: Mapping[str, Names] | None = None) -> Adapter:
    """The adapter with its modules in diffusers' dotted names.

    Args:
        names: of the model, by component; default: those of the family that the adapter is for.

    Raises:
        LoRAError: a module is unknown.
    """
    if names is None:
        if not any(_is_underscored(target.module) for target in adapter.deltas):
            return adapter
        names = _known_names(adapter)
    deltas: dict[Target, Delta] = {}
    for target, delta in adapter.deltas.items():
        known = names.get(target.component)
        module = None if known is None else known.spellings.get(target.module)
        if known is None or module is None:
            raise LoRAError(
                f"there is no module {target.module} in the {target.component}; name the model that this LoRA is "
                f"for ({_model_option(adapter)})"
            )
        deltas[Target(target.component, known.in_files[module])] = delta
    return replace(adapter, deltas=deltas)


def _known_names(adapter: Adapter) -> dict[str, Names]:
    guess = guess_family(adapter)
    candidates = [guess.family] if guess.family else FAMILIES
    for family in candidates:
        names = names_of(family)
        if all(
            target.component in names and target.module in names[target.component].spellings
            for target in adapter.deltas
        ):
            return names
    said = f"it is for {guess.title}" if guess else "it is for no family that is known here"
    raise LoRAError(
        f"the module names of this kohya file cannot be told apart: {said}; name the model "
        f"({_model_option(adapter)})"
    )


def _model_option(adapter: Adapter) -> str:
    """`--model` with the name that the header has, in one word as a shell takes it."""
    name = printable(adapter.metadata.get("ss_sd_model_name", "")).strip()
    if not name or name == "None" or len(name) > 80:
        return "--model FOLDER"
    return f"--model {shlex.quote(name)}, as its header says, or --model FOLDER"


def _is_underscored(module: str) -> bool:
    return "." not in module and module not in ("conv_in", "conv_out", "conv_norm_out", "text_projection")


def _write_kohya(path: Path, adapter: Adapter, names: Mapping[str, Names] | None) -> None:
    sdxl = guess_family(adapter).family is BY_NAME["sdxl"]
    if sdxl:
        # kohya's SDXL files have the original U-Net's names, and their readers expect them.
        known = (names or names_of(BY_NAME["sdxl"])).get("unet")
        if known is not None:
            adapter = replace(adapter, deltas=dict(_sgm(adapter.deltas, known)))
    words = {key: value for key, value in adapter.metadata.items() if key != diffusers.CONFIG_KEY}
    # What diffusers' writer says about the framework; kohya's has no such word.
    words = {key: value for key, value in words.items() if (key, value) != ("format", "pt")}
    tensors = kohya.write(adapter, sdxl)
    write_tensors(path, tensors, with_hashes(tensors, words))


def _sgm(deltas: Mapping[Target, Delta], names: Names) -> Iterable[tuple[Target, Delta]]:
    for target, delta in deltas.items():
        module = names.spellings.get(target.module) if target.component == "unet" else None
        yield target if module is None else Target("unet", names.sgm.get(module, module)), delta


def _read_folder(folder: Path) -> Adapter:
    parts = [folder / component for component in COMPONENTS if (folder / component / peft.WEIGHTS).is_file()]
    if parts:
        return peft_folder.read(parts)
    if (folder / peft.WEIGHTS).is_file():
        return peft_folder.read([folder])
    if (folder / diffusers.WEIGHTS).is_file():
        return read_adapter(folder / diffusers.WEIGHTS)
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return read_adapter(files[0])
    raise LoRAError(
        f"{folder} holds no LoRA: expected {peft.WEIGHTS} (peft), {diffusers.WEIGHTS} (diffusers) "
        f"or one .safetensors file, found {len(files)}"
    )
