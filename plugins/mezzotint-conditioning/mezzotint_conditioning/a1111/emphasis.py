"""What a weight does to the embeddings (sd_emphasis.py of the web UI, by its names)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from mezzotint.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor


class Emphasis(StrEnum):
    """How weights are applied."""

    ORIGINAL = "original"
    """Multiply, then restore the mean: z·w · mean(z) / mean(z·w)."""
    NO_NORM = "no-norm"
    """Multiply alone: z·w."""
    IGNORE = "ignore"
    """Read the weights and leave the embeddings as they are."""


def apply_weights(embeddings: Tensor, weights: Tensor, emphasis: Emphasis) -> Tensor:
    """Embeddings (rows, tokens, dim) of one chunk with a weight (rows, tokens) for each token.

    The mean is that of a row, so that an image does not depend on the others of its batch; the web UI takes it over
    the batch, which is the same for one prompt. A row whose weights are all 1 keeps every bit.

    Raises:
        RequestError: the mean of the weighted embeddings is 0, so that it cannot be restored.
    """
    plain = (weights == 1).all(dim=1)
    if emphasis is Emphasis.IGNORE or bool(plain.all()):
        return embeddings
    weighted = embeddings * weights[:, :, None].to(embeddings.dtype)
    if emphasis is Emphasis.ORIGINAL:
        before, after = (z.mean(dim=(1, 2), keepdim=True) for z in (embeddings, weighted))
        weighted = weighted * (before / after)
    if not bool(weighted[~plain].isfinite().all()):
        raise RequestError(
            "the prompt's weights make embeddings that are not finite; use smaller ones, or emphasis no-norm"
        )
    return embeddings.where(plain[:, None, None], weighted)
