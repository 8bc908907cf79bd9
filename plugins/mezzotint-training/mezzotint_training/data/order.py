"""In what order pictures come: a pure function of the seed and a number, which is all that resuming needs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..chance import stream
from .buckets import Size
from .item import Item


@dataclass(frozen=True)
class Draw:
    """One occurrence of a picture. All its chance comes from (seed, epoch, index, occurrence)."""

    seed: int
    epoch: int
    index: int
    """Of the item in the data set."""
    occurrence: int
    """From 0; a picture with repeats, or a prior picture among many subjects, comes more than once an epoch."""

    @property
    def key(self) -> tuple[int, int, int, int]:
        """What tells this occurrence from every other."""
        return self.seed, self.epoch, self.index, self.occurrence

    def stream(self, purpose: str) -> np.random.Generator:
        """Numbers of its own for a purpose."""
        return stream(purpose, *self.key)


@dataclass(frozen=True)
class Order:
    """Batches without end, epoch after epoch. Each batch has pictures of one bucket.

    In an epoch every picture comes once (`repeats` times); the last batch of a bucket may be smaller. With pictures of
    the class (`is_prior`), the smaller of the two sets is repeated until it has as many as the other, as in DreamBooth.
    """

    items: tuple[Item, ...]
    buckets: tuple[Size, ...]
    """Of each item."""
    batch_size: int
    seed: int = 0

    @cached_property
    def batches_per_epoch(self) -> int:
        """How many there are before every picture has come."""
        return sum(-(-count // self.batch_size) for count in self.bucket_counts.values())

    @cached_property
    def bucket_counts(self) -> dict[Size, int]:
        """How many pictures of an epoch are in each bucket, repeats counted."""
        return Counter(self.buckets[index] for index, _ in self._occurrences)

    @property
    def pictures_per_epoch(self) -> int:
        """How many pictures an epoch shows, repeats counted."""
        return len(self._occurrences)

    def batch(self, number: int) -> tuple[Draw, ...]:
        """Batch `number`, counted over all epochs from 0."""
        epoch, position = divmod(number, self.batches_per_epoch)
        return self._epoch(epoch)[position]

    @cached_property
    def _occurrences(self) -> list[tuple[int, int]]:
        """(item, occurrence) of an epoch."""
        subjects = _repeated(self.items, prior=False)
        prior = _repeated(self.items, prior=True)
        if subjects and prior:
            length = max(len(subjects), len(prior))
            subjects, prior = _cycled(subjects, length), _cycled(prior, length)
        return _numbered([*subjects, *prior])

    @cached_property
    def _kept(self) -> dict[int, list[tuple[Draw, ...]]]:
        return {}

    def _epoch(self, epoch: int) -> list[tuple[Draw, ...]]:
        if epoch not in self._kept:
            # A batch may look at the next epoch while the last one is still used.
            for old in [known for known in self._kept if abs(known - epoch) > 1]:
                del self._kept[old]
            self._kept[epoch] = self._shuffled(epoch)
        return self._kept[epoch]

    def _shuffled(self, epoch: int) -> list[tuple[Draw, ...]]:
        random = stream("order", self.seed, epoch)
        by_bucket: dict[Size, list[Draw]] = defaultdict(list)
        for place in random.permutation(len(self._occurrences)):
            index, occurrence = self._occurrences[place]
            by_bucket[self.buckets[index]].append(Draw(self.seed, epoch, index, occurrence))
        batches = [
            tuple(draws[first : first + self.batch_size])
            for _, draws in sorted(by_bucket.items())
            for first in range(0, len(draws), self.batch_size)
        ]
        return [batches[place] for place in random.permutation(len(batches))]


def _repeated(items: Sequence[Item], *, prior: bool) -> list[int]:
    return [index for index, item in enumerate(items) if item.is_prior == prior for _ in range(item.repeats)]


def _cycled(indices: list[int], length: int) -> list[int]:
    return [indices[place % len(indices)] for place in range(length)]


def _numbered(indices: Sequence[int]) -> list[tuple[int, int]]:
    seen: dict[int, int] = defaultdict(int)
    numbered = []
    for index in indices:
        numbered.append((index, seen[index]))
        seen[index] += 1
    return numbered
