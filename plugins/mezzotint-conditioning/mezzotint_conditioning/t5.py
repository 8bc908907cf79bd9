"""The extension `t5`: T5 as the text encoder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint import Conditioning, Extension, Field, hookimpl
from mezzotint.errors import RequestError

if TYPE_CHECKING:
    from mezzotint import Run

logger = logging.getLogger("mezzotint.conditioning")


class T5(Extension, name="t5"):
    """Encode prompts with T5, the model's own or another one; padding is masked in the encoder.

    Without options it is what a model with T5 does anyway, and DeepFloyd IF was trained with: 77 tokens, in lower
    case.
    """

    encoder: Path | None = Field(
        None, description="folder with another T5 encoder and its tokenizer; default: the model's own"
    )
    tokens: int = Field(77, ge=2, le=512, description="tokens of a prompt; what is longer is cut off")
    clean: bool = Field(
        False, description="clean prompts as IF's training captions (needs beautifulsoup4 and ftfy)"
    )
    mask_padding: bool = Field(False, description="whether the U-Net does not see the padding either")

    @hookimpl
    def encode_prompt(self, prompts: list[str], run: Run) -> Conditioning:
        """Embeddings (prompts, tokens, dim)."""
        from .text_encoders import text_encoders_of

        (t5,) = text_encoders_of(run.pipe, self, "T5")
        texts = _cleaned(prompts) if self.clean else [text.lower().strip() for text in prompts]
        inputs = t5.tokenizer(
            texts, padding="max_length", max_length=self.tokens, truncation=True, return_tensors="pt"
        )
        for ids in t5.tokenizer(texts, verbose=False).input_ids:
            if len(ids) > self.tokens:
                lost = t5.tokenizer.decode(ids[self.tokens - 1 : -1])
                logger.warning(
                    "the prompt has %d tokens, t5 takes %d; cut off: %r", len(ids), self.tokens, lost
                )
        device = run.pipe.device
        mask = inputs.attention_mask.to(device)
        embeddings = t5.model(inputs.input_ids.to(device), attention_mask=mask)[0].to(run.pipe.dtype)
        return Conditioning(embeddings, mask.to(embeddings) if self.mask_padding else None)


def _cleaned(prompts: list[str]) -> list[str]:
    """As `IFPipeline` of diffusers cleans captions, twice."""
    from diffusers import IFPipeline
    from diffusers.utils import is_bs4_available, is_ftfy_available

    if not (is_bs4_available() and is_ftfy_available()):
        raise RequestError("t5: clean needs two packages: pip install 'mezzotint-conditioning[clean]'")
    clean: Any = IFPipeline._clean_caption
    return [clean(IFPipeline, clean(IFPipeline, text)) for text in prompts]
