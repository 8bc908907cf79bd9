"""A model folder with LoRAs in its weights."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import mezzotint

from .errors import LoRAError
from .extension import LoRA


def merge_into(model: str | Path, loras: Sequence[tuple[Path, float]], output: Path) -> None:
    """Write a copy of a model with LoRAs added to its weights; all of it or nothing.

    Args:
        model: a name (`mezzotint models`) or diffusers folder.
        loras: files with their weights.
        output: a folder that does not exist yet.

    Raises:
        LoRAError: a LoRA does not fit, the model is a single file or in memory only, or `output` lies within it.
    """
    pipe = mezzotint.load(model, device="cpu")
    source = pipe.source.path
    if source is None:
        raise LoRAError(f"{model} has no folder to copy from")
    if source.is_file():
        raise LoRAError(
            f"{source} is a single file, and LoRAs are merged into diffusers folders; diffusers makes one of it with "
            "from_single_file(FILE).save_pretrained(FOLDER)"
        )
    if output.resolve().is_relative_to(source.resolve()):
        raise LoRAError(f"{output} lies within the model's own folder; name one beside it")
    output.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as temporary,
        pipe.using(*(LoRA(path, weight, fuse=True) for path, weight in loras)),
    ):
        made = Path(temporary) / "model"
        shutil.copytree(source, made, ignore=shutil.ignore_patterns("unet", *pipe.text_encoders))
        pipe.unet.save_pretrained(made / "unet", safe_serialization=True)
        for name, encoder in pipe.text_encoders.items():
            encoder.model.save_pretrained(made / name)
        made.rename(output)
