"""CLIP's embeddings of chunks: (rows, chunks · 77, dim), one call of a text encoder for each place in the row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mezzotint import Conditioning
from mezzotint.models.text_encoding import Embedded, side_by_side, uses_attention_mask

from .a1111.chunks import Chunk, chunk_length
from .a1111.emphasis import Emphasis, apply_weights

if TYPE_CHECKING:
    from mezzotint.models.components import TextEncoder
    from mezzotint.models.text_encoding import Embed
    from torch import Tensor

Rows = Sequence[Sequence[Chunk]]
"""Chunks of each prompt."""


def encode_chunks(
    rows: Sequence[Rows],
    encoders: Sequence[TextEncoder],
    embed: Embed,
    *,
    emphasis: Emphasis = Emphasis.ORIGINAL,
    chunk_count: int = 1,
) -> Conditioning:
    """Embeddings (rows, tokens, dim) of prompts in chunks by one text encoder, or by several side by side.

    A row of one chunk without weights has the bits of the plain encoder, as the batch is the same. The pooled text of
    encoders that have one is the first chunk's, without weights, as in the web UI.

    Args:
        rows: for each encoder the chunks of each prompt; shorter ones are filled up with empty chunks.
        embed: what the model takes from an encoder, `pipe.components.family.embed`.
        chunk_count: at least so many chunks, for prompts that others must agree with in length.
    """
    count = max(chunk_count, *(len(chunks) for chunked in rows for chunks in chunked))
    return side_by_side(
        [
            _by_one(chunked, encoder, embed, emphasis, count)
            for chunked, encoder in zip(rows, encoders, strict=True)
        ]
    )


def _by_one(rows: Rows, encoder: TextEncoder, embed: Embed, emphasis: Emphasis, count: int) -> Embedded:
    import torch

    encoded, pooled = [], []
    device = encoder.model.device
    for place in range(count):
        chunks = [row[place] if place < len(row) else Chunk() for row in rows]
        ids, mask, weights = _tensors(chunks, encoder.tokenizer)
        masked = mask.to(device) if uses_attention_mask(encoder.model) else None
        embedded = embed(encoder.model, ids.to(device), masked)
        encoded.append(apply_weights(embedded.hidden_states, weights.to(device), emphasis))
        pooled.append(embedded.pooled)
    return Embedded(encoded[0] if count == 1 else torch.cat(encoded, dim=1), pooled[0])


def _tensors(chunks: Sequence[Chunk], tokenizer: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and weights (rows, length + 2) with start, end and padding, as the tokenizer adds them."""
    import torch

    length = chunk_length(tokenizer) + 2
    ids, mask, weights = [], [], []
    for chunk in chunks:
        row = [tokenizer.bos_token_id, *chunk.tokens, tokenizer.eos_token_id]
        padding = length - len(row)
        ids.append([*row, *[tokenizer.pad_token_id] * padding])
        mask.append([1] * len(row) + [0] * padding)
        weights.append([1.0, *chunk.weights, *[1.0] * (padding + 1)])
    return torch.tensor(ids), torch.tensor(mask), torch.tensor(weights)
