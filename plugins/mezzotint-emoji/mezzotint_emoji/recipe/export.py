"""Write the pipeline as an ordinary diffusers folder: float16 safetensors and JSON."""

import json
import shutil
from pathlib import Path

import torch

from .errors import RecipeError
from .trained import load_pipeline

MODEL = Path(__file__).resolve().parent.parent / "model"


def export(work: Path, folder: Path = MODEL) -> dict[str, int]:
    """Write the averaged weights of the last checkpoints into `folder`, in place of a model that is there. Returns bytes per part.

    Raises:
        RecipeError: the U-Net or the decoder has no checkpoint, or `folder` holds something other than a model.
    """
    folder = folder.resolve()
    if (
        folder.exists()
        and not (folder / "model_index.json").exists()
        and (folder.is_file() or any(folder.iterdir()))
    ):
        raise RecipeError(f"{folder} is there and is no model; name a new folder")
    pipe = load_pipeline(work)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    pipe.to(torch.float16).save_pretrained(part, safe_serialization=True)
    for path in part.rglob("config.json"):
        edit_config(path, _name_or_path=None)
    # transformers would load float16 where diffusers loads float32, and the two would not fit together.
    edit_config(part / "text_encoder" / "config.json", dtype="float32")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return {
        path.name: sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        for path in sorted(folder.iterdir())
        if path.is_dir()
    }


def edit_config(path: Path, **changes: str | None) -> None:
    """Set entries of a JSON file; None drops one, such as the folder that a part was loaded from."""
    config = {**json.loads(path.read_text()), **changes}
    kept = {key: value for key, value in config.items() if value is not None or key not in changes}
    path.write_text(json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
