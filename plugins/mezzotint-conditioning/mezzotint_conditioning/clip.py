"""The extension `clip`: CLIP as the text encoder, with prompts of any length."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint import Conditioning, Extension, Field, hookimpl

if TYPE_CHECKING:
    from mezzotint import Run

logger = logging.getLogger("mezzotint.conditioning")


class CLIP(Extension, name="clip"):
    """Encode prompts with CLIP, the model's own or another one, without any syntax; long ones in chunks."""

    encoder: Path | None = Field(
        None, description="folder with another CLIP text encoder and its tokenizer; default: the model's own"
    )
    chunks: bool = Field(True, description="long prompts in chunks of 75 tokens; otherwise they are cut off")

    @hookimpl
    def encode_prompt(self, prompts: list[str], run: Run) -> Conditioning:
        """Embeddings, all prompts of the run equally long."""
        from .a1111.chunks import make_chunks
        from .a1111.schedule import Fragment
        from .clip_chunks import encode_chunks
        from .text_encoders import text_encoders_of

        encoders = text_encoders_of(run.pipe, self, "CLIP")

        def chunked(text: str, tokenizer: Any) -> list:
            return make_chunks([Fragment(text)], tokenizer)

        rows = [[chunked(text, encoder.tokenizer) for text in prompts] for encoder in encoders]
        if self.chunks:
            texts = dict.fromkeys((*run.request.prompts, *run.request.negatives))
            count = run.state(
                self, lambda: max(len(chunked(text, each.tokenizer)) for each in encoders for text in texts)
            )
        else:
            for row in rows[0]:
                lost = [token for chunk in row[1:] for token in chunk.tokens]
                if lost:
                    logger.warning(
                        "the prompt is too long for the text encoder; cut off: %r",
                        encoders[0].tokenizer.decode(lost),
                    )
            rows, count = [[row[:1] for row in own] for own in rows], 1
        conditioning = encode_chunks(rows, encoders, run.pipe.components.family.embed, chunk_count=count)
        return conditioning.replace(embeddings=conditioning.embeddings.to(run.pipe.dtype))
