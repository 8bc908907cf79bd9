"""Captions to the embeddings that the U-Net reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..digests import digest, digest_module
from ..errors import TrainingError
from .store import TensorStore


def tokenize(tokenizer: Any, captions: Sequence[str]) -> Tensor:
    """Token ids (n, tokens), cut off and padded to the encoder's length."""
    ids: Tensor = tokenizer(
        list(captions),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids


def embed(text_encoder: nn.Module, ids: Tensor, clip_skip: int = 0) -> Tensor:
    """Embeddings (n, tokens, dim); with `clip_skip`, of that many layers before the last, normalised as the last is."""
    if not clip_skip:
        embeddings: Tensor = text_encoder(ids, return_dict=False)[0]
        return embeddings
    output = text_encoder(ids, output_hidden_states=True)
    body: Any = getattr(text_encoder, "text_model", text_encoder)
    skipped: Tensor = body.final_layer_norm(output.hidden_states[-(clip_skip + 1)])
    return skipped


def check_clip_skip(text_encoder: nn.Module, clip_skip: int) -> None:
    """Whether the encoder has as many layers as are left out.

    Raises:
        TrainingError: it has fewer.
    """
    config = getattr(text_encoder, "config", None)
    layers = getattr(config, "num_hidden_layers", None)
    if layers is not None and clip_skip > layers:
        raise TrainingError(
            f"clip_skip is {clip_skip}, but this model's text encoder has {layers} layers; leave out fewer"
        )


class TextEncoder:
    """Embeds captions, keeping what it made by the encoder's weights, the token ids and `clip_skip`.

    Args:
        store: where embeddings are kept; `None` embeds every time.

    Raises:
        TrainingError: the encoder has fewer layers than `clip_skip` leaves out.
    """

    def __init__(
        self, text_encoder: nn.Module, tokenizer: Any, *, store: TensorStore | None = None, clip_skip: int = 0
    ) -> None:
        check_clip_skip(text_encoder, clip_skip)
        self.text_encoder = text_encoder
        self.tokenizer = tokenizer
        self.store = store
        self.clip_skip = clip_skip
        self._digest = "" if store is None else digest_module(text_encoder)

    @torch.no_grad()
    def embeddings(self, captions: Sequence[str]) -> Tensor:
        """(n, tokens, dim) on the encoder's device."""
        texts = list(dict.fromkeys(captions))
        made = dict.fromkeys(texts)
        ids = tokenize(self.tokenizer, texts)
        if self.store is not None:
            keys = {
                text: digest("text 1", self._digest, row.tolist(), self.clip_skip)
                for text, row in zip(texts, ids, strict=True)
            }
            for text, key in keys.items():
                kept = self.store.get(key)
                made[text] = None if kept is None else kept["embedding"]
        device = next(self.text_encoder.parameters()).device
        missing = [place for place, text in enumerate(texts) if made[text] is None]
        # One by one where they are kept: how many are missing depends on what came before, and on some processors the
        # bits depend on how many are embedded at once.
        for places in [missing] if self.store is None else ([place] for place in missing):
            fresh = embed(self.text_encoder, ids[places].to(device), self.clip_skip).cpu()
            for place, embedding in zip(places, fresh, strict=True):
                made[texts[place]] = embedding
                if self.store is not None:
                    self.store.put(keys[texts[place]], {"embedding": embedding.clone()})
        return torch.stack([made[caption] for caption in captions]).to(device)
