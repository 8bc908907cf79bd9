"""Making embeddings of several prompts equally long, with what the encoder makes of no text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mezzotint.errors import RequestError

if TYPE_CHECKING:
    from mezzotint import Conditioning, Run
    from torch import Tensor


def pad_tokens(embeddings: Tensor, tokens: int, run: Run) -> Tensor:
    """Embeddings (rows, t, dim) filled up to (rows, tokens, dim) with whole encodings of an empty prompt.

    A row of zeros, an empty negative prompt of Stable Diffusion XL, is filled up with zeros.

    Raises:
        RequestError: the difference is no whole number of encodings, or `embeddings` are longer.
    """
    import torch

    missing = tokens - embeddings.shape[1]
    if missing == 0:
        return embeddings
    empty = run.encode([""]).embeddings
    times, rest = divmod(missing, empty.shape[1])
    if rest or missing < 0:
        raise RequestError(
            f"embeddings of {embeddings.shape[1]} tokens go with multiples of {empty.shape[1]}, not with {tokens}"
        )
    says_something = embeddings.flatten(1).any(dim=1).view(-1, 1, 1)
    padding = torch.where(says_something, empty, torch.zeros_like(empty))
    return torch.cat([embeddings, *[padding] * times], dim=1)


def pad_conditioning(conditioning: Conditioning, tokens: int, run: Run) -> Conditioning:
    """As `pad_tokens`, and the mask over the tokens, if there is one, as long; the same object if nothing is missing.

    Raises:
        RequestError: as `pad_tokens`.
    """
    import torch

    embeddings, mask = conditioning.embeddings, conditioning.attention_mask
    missing = tokens - embeddings.shape[1]
    if missing == 0:
        return conditioning
    padded = pad_tokens(embeddings, tokens, run)
    if mask is not None:
        mask = torch.cat([mask, mask.new_zeros(len(mask), missing)], dim=1)
    return conditioning.replace(embeddings=padded, attention_mask=mask)
