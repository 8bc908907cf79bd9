"""A word in a pipeline's tokenizer and its vectors in the text encoder, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mezzotint import Pipeline
    from torch import Tensor

    from .embedding import ExtendedEmbedding


@contextmanager
def word_attached(
    pipe: Pipeline, text_encoder: Any, token: str, vectors: Tensor, *, trainable: bool = False
) -> Iterator[ExtendedEmbedding]:
    """Another tokenizer, and an embedding with further rows; on leaving both are the objects that they were.

    Args:
        vectors: (k, dim), for k tokens in a row.
        trainable: whether the vectors are a float32 parameter.

    Raises:
        RequestError: the tokenizer has the word already, or it is no word.
    """
    from .embedding import ExtendedEmbedding
    from .words import with_word

    encoder = next(each for each in pipe.text_encoders.values() if each.model is text_encoder)
    tokenizer, embedding = encoder.tokenizer, text_encoder.get_input_embeddings()
    changed, ids = with_word(tokenizer, token, len(vectors))
    extended = ExtendedEmbedding(embedding, ids, vectors, trainable=trainable)
    encoder.tokenizer = changed
    text_encoder.set_input_embeddings(extended)
    try:
        yield extended
    finally:
        text_encoder.set_input_embeddings(embedding)
        encoder.tokenizer = tokenizer
