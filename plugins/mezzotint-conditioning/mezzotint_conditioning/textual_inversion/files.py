"""Files with textual inversions: diffusers' (`<token>: vectors`) and the web UI's (`emb_params`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.errors import ModelError

from ..safetensors_file import read_tensors

if TYPE_CHECKING:
    from torch import Tensor

WEB_UI = "emb_params"
SDXL = {"clip_l", "clip_g"}
MAX_VECTORS = 75
"""As many as a prompt has tokens."""


@dataclass(frozen=True, eq=False)
class Inversion:
    """What a word stands for."""

    token: str
    vectors: Tensor
    """(k, dim), for k tokens in a row."""


def read_inversion(path: Path, token: str | None = None) -> Inversion:
    """The vectors of a file, and the word for them.

    Args:
        path: a safetensors file.
        token: the word; default: the file's own, which for the web UI's format is the file name without suffix.

    Raises:
        ModelError: no textual inversion, or its values are not finite.
    """
    tensors = read_tensors(path, "textual inversion")
    if tensors.keys() & SDXL:
        raise ModelError(
            f"{path} is a textual inversion for Stable Diffusion XL, with {' and '.join(sorted(tensors))}"
        )
    if WEB_UI in tensors:
        found, vectors = path.stem, tensors.pop(WEB_UI)
    elif len(tensors) == 1:
        found, vectors = tensors.popitem()
    else:
        found, vectors = "", None
    if vectors is None or tensors or vectors.dim() not in (1, 2):
        names = ", ".join(sorted(tensors)[:3])
        raise ModelError(
            f"{path} is no textual inversion: it holds {names or tuple(vectors.shape)}; expected one tensor "  # type: ignore[union-attr]
            "(vectors, width) under the token's name or emb_params"
        )
    vectors = vectors[None] if vectors.dim() == 1 else vectors
    if not 1 <= len(vectors) <= MAX_VECTORS:
        raise ModelError(f"{path} has {len(vectors)} vectors; a prompt has room for {MAX_VECTORS}")
    return Inversion(token or found, vectors)
