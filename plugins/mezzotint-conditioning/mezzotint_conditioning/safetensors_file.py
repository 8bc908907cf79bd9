"""Reading a safetensors file whole: looked at first, finite, never a pickle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.errors import ModelError
from mezzotint.models.weights import read_header

if TYPE_CHECKING:
    from torch import Tensor


def read_tensors(path: Path, what: str) -> dict[str, Tensor]:
    """Every tensor of a file by name, on the CPU, as it is stored.

    Args:
        what: how errors call it.

    Raises:
        ModelError: missing, a pickle, damaged, or a value is NaN or infinite.
    """
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelError(
            f"{what} {path} is {'a folder' if path.is_dir() else 'missing'}; give a safetensors file"
        )
    read_header(path)
    tensors = load_file(path)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ModelError(f"{what} {path}: {name} has values that are not finite; the file is damaged")
    return tensors
