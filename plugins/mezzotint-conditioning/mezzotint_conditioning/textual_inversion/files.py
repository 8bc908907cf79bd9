"""Files with textual inversions: diffusers' (`<token>: vectors`), the web UI's (`emb_params`) and Stable Diffusion XL's.

Those of Stable Diffusion XL have vectors for both text encoders, `clip_l` and `clip_g`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.errors import ModelError

from ..safetensors_file import read_tensors

if TYPE_CHECKING:
    from torch import Tensor

WEB_UI = "emb_params"
SDXL = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}
"""Name in the file → text encoder."""
MAX_VECTORS = 75
"""As many as a prompt has tokens."""


@dataclass(frozen=True, eq=False)
class Inversion:
    """What a word stands for."""

    token: str
    vectors: Mapping[str, Tensor]
    """By text encoder, (k, dim) for k tokens in a row, k the same for all."""


def read_inversion(path: Path, token: str | None = None) -> Inversion:
    """The vectors of a file, and the word for them.

    Args:
        path: a safetensors file.
        token: the word; default: the file's own, or where it has none the file name without suffix.

    Raises:
        ModelError: no textual inversion, or its values are not finite.
    """
    tensors = read_tensors(path, "textual inversion")
    if tensors.keys() == SDXL.keys():
        found, vectors = path.stem, {SDXL[name]: tensor for name, tensor in tensors.items()}
    elif WEB_UI in tensors and len(tensors) == 1:
        found, vectors = path.stem, {"text_encoder": tensors[WEB_UI]}
    elif len(tensors) == 1:
        found, tensor = next(iter(tensors.items()))
        vectors = {"text_encoder": tensor}
    else:
        found, vectors = "", {}
    if not vectors or any(each.dim() not in (1, 2) for each in vectors.values()):
        shapes = [str(tuple(each.shape)) for each in vectors.values()]
        raise ModelError(
            f"{path} is no textual inversion: it holds {', '.join(shapes or sorted(tensors)[:3])}; expected one tensor "
            "(vectors, width) under the token's name or emb_params, or clip_l and clip_g"
        )
    vectors = {name: each[None] if each.dim() == 1 else each for name, each in vectors.items()}
    counts = {len(each) for each in vectors.values()}
    if len(counts) > 1:
        raise ModelError(
            f"{path} has {' and '.join(map(str, sorted(counts)))} vectors; clip_l and clip_g go together"
        )
    (count,) = counts
    if not 1 <= count <= MAX_VECTORS:
        raise ModelError(f"{path} has {count} vectors; a prompt has room for {MAX_VECTORS}")
    return Inversion(token or found, vectors)
