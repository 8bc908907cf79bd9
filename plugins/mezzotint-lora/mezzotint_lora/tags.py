"""`<lora:name:0.8>` in a prompt, as A1111 and Forge write it.

`<lora:NAME:TE:UNET>`: the weight of the text encoder (default 1), then that of the U-Net (default: the same); also
by name, `te=0.5`, `unet=0.8`. Source: AUTOMATIC1111 `extensions-builtin/Lora/extra_networks_lora.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint import Extension, Field, hookimpl
from mezzotint.errors import unknown_name
from mezzotint.hooks.prompt_marks import LORA_TAG
from mezzotint_training.outputs import NOT_FOR_TRAINING

from .errors import LoRAError
from .extension import LoRA

if TYPE_CHECKING:
    from mezzotint import Request

_TAG = re.compile(r"<(?:lora|lyco):([^<>]*)>", re.IGNORECASE)
_WITH_BLANKS = re.compile(r"[ \t]*<(?:lora|lyco):[^<>]*>", re.IGNORECASE)


@dataclass(frozen=True)
class Tag:
    """A LoRA that a prompt names."""

    name: str
    text_encoder: float
    unet: float


class LoRATags(Extension, name="lora-tags"):
    """Use the LoRAs that the prompt names: `<lora:name:0.8>`, from a folder."""

    reads = (LORA_TAG,)

    folder: Path = Field(
        description="where the LoRAs are; `name` is a file there without its suffix, or a peft folder; of several, the one "
        "at the top"
    )
    fuse: bool = Field(False, description="as for lora: add them into the weights for the time of the run")
    strict: bool = Field(True, description="as for lora: an error where a key of a file does not fit")

    def files(self) -> dict[str, str]:
        """None: the LoRAs that it brings are recorded themselves, the rest of the folder does not matter."""
        return {}

    @hookimpl
    def request(self, request: Request) -> Request | None:
        """Take the tags out of the prompts and bring the LoRAs that they name."""
        found = [parse(prompt) for prompt in request.prompts]
        for negative in request.negatives:
            if parse(negative)[1]:
                raise LoRAError(
                    f"a LoRA tag in the negative prompt {negative!r} has no effect; put it in the prompt"
                )
        tags = found[0][1]
        if any(others != tags for _, others in found):
            raise LoRAError(
                "the prompts of one run share its model, and these name different LoRAs; make a run for each"
            )
        if not tags:
            return None
        known = list_folder(self.folder)
        loras = tuple(
            LoRA(
                find(tag.name, known, self.folder),
                tag.unet,
                text_encoder_weight=None if tag.unet == tag.text_encoder else tag.text_encoder,
                fuse=self.fuse,
                strict=self.strict,
            )
            for tag in tags
        )
        return replace(request, prompts=tuple(text for text, _ in found), use=(*request.use, *loras))


def parse(prompt: str) -> tuple[str, list[Tag]]:
    """The prompt without its tags (and the blanks before each), and the tags; one without any stays as it is.

    Raises:
        LoRAError: a tag without a name, or a weight that is no number.
    """
    tags = [_tag(found[0], found[1]) for found in _TAG.finditer(prompt)]
    if not tags:
        return prompt, []
    text = _WITH_BLANKS.sub("", prompt)
    return text.lstrip() if _TAG.match(prompt.lstrip()) else text, tags


def list_folder(folder: Path) -> dict[str, list[Path]]:
    """The LoRAs of a folder and its subfolders by name: file names without suffix, and names of peft's folders.

    Raises:
        LoRAError: there is no such folder.
    """
    if not folder.is_dir():
        raise LoRAError(f"{folder}: there is no such folder of LoRAs")
    known: dict[str, list[Path]] = {}
    adapters = {path.parent for path in folder.rglob("adapter_config.json")}
    # A pipeline's adapter is a folder with one for each model.
    adapters = {
        path.parent if path.name in ("unet", "text_encoder", "text_encoder_2") else path for path in adapters
    }
    for path in sorted(adapters):
        known.setdefault(path.name, []).append(path)
    for path in sorted(folder.rglob("*.safetensors")):
        if path.is_file() and not any(parent in adapters for parent in path.parents):
            known.setdefault(path.stem, []).append(path)
    return known


def find(name: str, known: dict[str, list[Path]], folder: Path) -> Path:
    """The LoRA of that name, or of that path below the folder.

    A name is first of all that of a LoRA at the top. Checkpoints of trainings are found by their paths alone: each
    is called as the LoRA that its training makes.

    Raises:
        UnknownNameError: there is none.
        LoRAError: there are several, or checkpoints alone.
    """
    by_name = {
        each: [path for path in paths if not _is_of_training(path, folder)] for each, paths in known.items()
    }
    found = by_name.get(name, [])
    paths = [path for path in found if path.parent == folder] or found or _at(name, known, folder)
    if not paths and name in known:
        raise LoRAError(
            f"{name!r} is a checkpoint of a training; write its path below {folder}, such as "
            f"{_spelt(known[name][-1], folder)}"
        )
    if not paths:
        raise unknown_name("LoRA", name, filter(by_name.get, by_name), f"({folder})")
    if len(paths) > 1:
        raise LoRAError(f"{name!r} could be {_listed(paths)}; write its path below {folder}")
    return paths[0]


def _at(name: str, known: dict[str, list[Path]], folder: Path) -> list[Path]:
    """What lies at this path, which may be without its suffix."""
    paths = [path for found in known.values() for path in found]
    return [path for path in paths if path.relative_to(folder).as_posix() == name] or [
        path for path in paths if _spelt(path, folder) == name
    ]


def _spelt(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix().removesuffix(".safetensors")


def _is_of_training(path: Path, folder: Path) -> bool:
    return any((folder / each / NOT_FOR_TRAINING).exists() for each in path.relative_to(folder).parents[:-1])


def _tag(whole: str, inside: str) -> Tag:
    name, *rest = (part.strip() for part in inside.split(":"))
    by_position = [part for part in rest if "=" not in part]
    by_name = dict(part.split("=", 1) for part in rest if "=" in part)
    unknown = sorted(set(by_name) - {"te", "unet"})
    if not name or len(by_position) > 2 or unknown:
        what = f"has {unknown[0]}=, which is not supported" if unknown else "is not understood"
        raise LoRAError(f"{whole} {what}; write <lora:NAME>, <lora:NAME:0.8> or <lora:NAME:TEXT:UNET>")
    text = by_name.get("te", by_position[0] if by_position else "1")
    unet = by_name.get("unet", by_position[1] if len(by_position) > 1 else text)
    return Tag(name, _number(whole, text), _number(whole, unet))


def _number(whole: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LoRAError(f"{whole}: the weight {text!r} is no number; write <lora:NAME:0.8>")
    return value


def _listed(paths: Sequence[Path]) -> str:
    return " or ".join(str(path) for path in paths)
