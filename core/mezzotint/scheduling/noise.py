"""Noise that depends on seed, sample, step and stage only, never on batch size or on what was drawn before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import RequestError

if TYPE_CHECKING:
    from torch import Generator, Tensor

Key = tuple[int, int]
"""(seed, number of the sample among those that share the seed)"""


def sample_keys(generator: Generator | Sequence[Generator] | None, samples: int) -> tuple[Key, ...]:
    """One key a sample.

    With a list of generators, sample k has the key that it has alone with generator k. With a single
    generator, samples are numbered. Without one, a seed is drawn from torch's global generator.

    Raises:
        RequestError: a list of another length than the batch.
    """
    import torch

    if isinstance(generator, Sequence):
        if len(generator) != samples:
            raise RequestError(
                f"{len(generator)} generators for {samples} samples: give one each, or a single one"
            )
        return tuple((each.initial_seed(), 0) for each in generator)
    seed = int(torch.randint(2**62, ())) if generator is None else generator.initial_seed()
    return tuple((seed, sample) for sample in range(samples))


def keyed_noise(keys: Sequence[Key], step: int, stage: int, like: Tensor) -> Tensor:
    """Standard normal noise of the shape, dtype and device of `like`, (len(keys), ...).

    Drawn on the CPU in float32, so that it is the same on every device and in every dtype.
    """
    import torch

    noise = torch.empty(like.shape)
    for row, key in zip(noise, keys, strict=True):
        generator = torch.Generator().manual_seed(_hash(*key, step, stage))
        torch.randn(row.shape, generator=generator, out=row)
    return noise.to(dtype=like.dtype, device=like.device)


def _hash(*numbers: int) -> int:
    # Neighbouring seeds of Mersenne Twister are correlated, and the initial latents come from `seed` itself.
    text = "mezzotint noise " + " ".join(map(str, numbers))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
