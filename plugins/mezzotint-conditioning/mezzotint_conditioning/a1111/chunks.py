"""A prompt of any length in chunks of as many tokens as CLIP takes, each with its own start and end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .schedule import Break, Fragment


@dataclass
class Chunk:
    """Tokens of one call of the text encoder, without the start and end markers, and a weight for each."""

    tokens: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def add(self, token: int, weight: float) -> None:
        """One more token."""
        self.tokens.append(token)
        self.weights.append(weight)

    def split(self, position: int) -> Chunk:
        """Cut off and return what stands from `position` on."""
        rest = Chunk(self.tokens[position:], self.weights[position:])
        del self.tokens[position:], self.weights[position:]
        return rest


def chunk_length(tokenizer: Any) -> int:
    """Tokens of a prompt that fit into one chunk: 75 for CLIP, whose 77 include start and end."""
    return int(tokenizer.model_max_length) - 2


def make_chunks(pieces: Sequence[Fragment | Break], tokenizer: Any, comma_backtrack: int = 20) -> list[Chunk]:
    """Fill chunks with the tokens of all pieces, in the web UI's way (`tokenize_line` of its sd_hijack_clip.py).

    Args:
        pieces: text with weights.
        tokenizer: CLIP's.
        comma_backtrack: where a chunk is full, what stands after a comma that is at most so many tokens back moves
            to the next chunk, so that a phrase is not torn apart; 0 never does.

    Returns:
        At least one chunk, each with at most `chunk_length(tokenizer)` tokens.
    """
    texts = [piece.text for piece in pieces if isinstance(piece, Fragment)]
    tokens_of = iter(tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False).input_ids)
    comma = tokenizer.get_vocab().get(",</w>")
    length = chunk_length(tokenizer)
    chunks: list[Chunk] = []
    chunk, last_comma = Chunk(), -1
    for piece in pieces:
        if isinstance(piece, Break):
            chunks.append(chunk)
            chunk, last_comma = Chunk(), -1
            continue
        for token in next(tokens_of):
            is_full = len(chunk.tokens) == length
            if token == comma:
                last_comma = len(chunk.tokens)
            elif is_full and last_comma != -1 and length - last_comma <= comma_backtrack:
                rest = chunk.split(last_comma + 1)
                chunks.append(chunk)
                chunk, last_comma = rest, -1
            if len(chunk.tokens) == length:
                chunks.append(chunk)
                chunk, last_comma = Chunk(), -1
            chunk.add(token, piece.weight)
    if chunk.tokens or not chunks:
        chunks.append(chunk)
    return chunks
