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

FAMILIES = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 1280: "Stable Diffusion XL"}
"""What the width of vectors says."""


class TextualInversion(Extension, name="textual-inversion"):
    """A word for the prompt that stands for learned vectors (Gal et al. 2022).

    Files of diffusers and of the web UI, with one vector or several. The word is in the tokenizer and its vectors in
    the text encoder while the extension is attached; afterwards both are the objects that they were.
    """

    file: Path = Field(description="safetensors file")
    token: str | None = Field(
        None, description="the word in the prompt; default: the file's own, or its name without suffix"
    )

    @hookimpl
    @contextmanager
    def patch_text_encoder(self, text_encoder: Any, pipe: Pipeline) -> Iterator[None]:
        """Another tokenizer, and an embedding with further rows, while it is attached."""
        from .attaching import word_attached
        from .files import read_inversion

        key = ("textual inversion", self.files().get("file"), str(self.file), self.token)
        inversion = pipe.resource(key, lambda: read_inversion(self.file, self.token))
        width, own = inversion.vectors.shape[1], text_encoder.get_input_embeddings().embedding_dim
        if width != own:
            raise ModelError(
                f"{self.file} has vectors of width {width}{_family(width)}; this text encoder takes {own}{_family(own)}"
            )
        with word_attached(pipe, text_encoder, inversion.token, inversion.vectors):
            yield


def _family(width: int) -> str:
    return f" ({FAMILIES[width]})" if width in FAMILIES else ""
