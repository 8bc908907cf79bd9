"""CLIP's embeddings of chunks: (rows, chunks · 77, dim), one call of the text encoder for each place in the row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .a1111.chunks import Chunk, chunk_length
from .a1111.emphasis import Emphasis, apply_weights

if TYPE_CHECKING:
    from torch import Tensor


def encode_chunks(
    rows: Sequence[Sequence[Chunk]],
    tokenizer: Any,
    text_encoder: Any,
    *,
    emphasis: Emphasis = Emphasis.ORIGINAL,
    chunk_count: int = 1,
) -> Tensor:
    """Embeddings (rows, tokens, dim) of prompts in chunks; shorter ones are filled up with empty chunks.

    A row of one chunk without weights has the bits of the plain encoder, as the batch is the same.

    Args:
        rows: chunks of each prompt.
        chunk_count: at least so many chunks, for prompts that others must agree with in length.
    """
    import torch

    count = max(chunk_count, *(len(chunks) for chunks in rows))
    encoded = []
    for place in range(count):
        chunks = [row[place] if place < len(row) else Chunk() for row in rows]
        ids, mask, weights = _tensors(chunks, tokenizer)
        device = text_encoder.device
        uses_mask = getattr(text_encoder.config, "use_attention_mask", False)
        embeddings = text_encoder(ids.to(device), attention_mask=mask.to(device) if uses_mask else None)[0]
        encoded.append(apply_weights(embeddings, weights.to(device), emphasis))
    return encoded[0] if count == 1 else torch.cat(encoded, dim=1)


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
