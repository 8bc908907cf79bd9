"""All chance of a training, each number a pure function of a key.

What is drawn for a picture depends on (seed, epoch, picture, occurrence) and on what it is drawn for; not on the
batch that the picture is in, the process that reads it, or what else was drawn before. So a training that is killed
and resumed, split over processes or interrupted by sample pictures sees the same numbers, and an option that is
switched on adds its own without moving the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Key = tuple[int | str, ...]


def stream(purpose: str, *key: int | str) -> np.random.Generator:
    """A generator of its own for each purpose and key (Philox, Salmon et al. 2011)."""
    digest = hashlib.blake2b(repr((purpose, *key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, np.uint64)))


def normal(shape: Sequence[int], purpose: str, *key: int | str) -> Tensor:
    """Unit Gaussian float32 of this shape."""
    return torch.from_numpy(stream(purpose, *key).standard_normal(tuple(shape), dtype=np.float32))


def seed_torch(purpose: str, *key: int | str) -> None:
    """Set torch's global generators, which dropout draws from."""
    torch.manual_seed(int(stream(purpose, *key).integers(2**62)))
