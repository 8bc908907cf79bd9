"""The extension `textual-inversion`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint import Extension, Field, hookimpl
from mezzotint.errors import ModelError

if TYPE_CHECKING:
    from mezzotint import Pipeline

    from .files import Inversion

FAMILIES = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2"}
"""What the width of vectors says."""


class TextualInversion(Extension, name="textual-inversion"):
    """A word for the prompt that stands for learned vectors (Gal et al. 2022).

    Files of diffusers and of the web UI, with one vector or several; with Stable Diffusion XL for both text encoders.
    The word is in the tokenizers and its vectors in the text encoders while the extension is attached; afterwards all
    are the objects that they were.
    """

    file: Path = Field(description="safetensors file")
    token: str | None = Field(
        None, description="the word in the prompt; default: the file's own, or its name without suffix"
    )

    @hookimpl
    @contextmanager
    def patch_text_encoder(self, text_encoder: Any, name: str, pipe: Pipeline) -> Iterator[None]:
        """Another tokenizer, and an embedding with further rows, while it is attached."""
        from .attaching import word_attached
        from .files import read_inversion

        key = ("textual inversion", self.files().get("file"), str(self.file), self.token)
        inversion = pipe.resource(key, lambda: read_inversion(self.file, self.token))
        if inversion.vectors.keys() != pipe.text_encoders.keys():
            raise ModelError(_other_family(self.file, inversion, pipe))
        vectors = inversion.vectors[name]
        width, own = vectors.shape[1], text_encoder.get_input_embeddings().embedding_dim
        if width != own:
            raise ModelError(
                f"{self.file} has vectors of width {width}{_family(width)}; this {name.replace('_', ' ')} takes "
                f"{own}{_family(own)}"
            )
        with word_attached(pipe, text_encoder, inversion.token, vectors):
            yield


def _other_family(file: Path, inversion: Inversion, pipe: Pipeline) -> str:
    if len(inversion.vectors) > 1:
        return (
            f"{file} is a textual inversion for Stable Diffusion XL, with clip_g and clip_l; this model has one text "
            "encoder"
        )
    width = next(iter(inversion.vectors.values())).shape[1]
    return (
        f"{file} has vectors of width {width}{_family(width)} for one text encoder; this model has "
        f"{len(pipe.text_encoders)}, and a textual inversion for it clip_l and clip_g"
    )


def _family(width: int) -> str:
    return f" ({FAMILIES[width]})" if width in FAMILIES else ""
