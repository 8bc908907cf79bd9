"""A training set: pictures with their places in buckets, and what one batch of them is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..digests import digest_file
from .buckets import Buckets, Placement
from .captions import vary
from .images import View, centred
from .item import Item
from .order import Draw, Order


@dataclass(frozen=True)
class Dataset:
    """Pictures and where each goes."""

    items: tuple[Item, ...]
    placements: tuple[Placement, ...]

    @classmethod
    def placed(cls, items: Sequence[Item], buckets: Buckets) -> Dataset:
        """Every item in its bucket; an item with a resolution of its own is placed by that."""
        return cls(
            tuple(items),
            tuple(
                (replace(buckets, resolution=item.resolution) if item.resolution else buckets).place(
                    item.size
                )
                for item in items
            ),
        )

    def __len__(self) -> int:
        return len(self.items)

    def without(self, paths: Collection[Path]) -> Dataset:
        """The data set without these pictures."""
        kept = [place for place, item in enumerate(self.items) if item.path not in paths]
        return Dataset(tuple(self.items[i] for i in kept), tuple(self.placements[i] for i in kept))

    def digest(self, digest_of: Callable[[Path], str] = digest_file) -> str:
        """SHA-256 over what is learned from, wherever the folder lies: the bytes of pictures, control maps and masks, their
        names and captions, and what decides which picture comes when.

        Args:
            digest_of: of a file's bytes, where they are known already.

        Raises:
            DataError: a file cannot be read.
        """
        sha256 = hashlib.sha256()
        for item, place in zip(self.items, self.placements, strict=True):
            files = [
                each and (each.name, digest_of(each)) for each in (item.path, item.conditioning, item.mask)
            ]
            parts = (item.captions, item.captioning, item.repeats, item.is_prior, item.flip, item.alpha_mask)
            sha256.update(repr((files, *parts, item.random_crop, place)).encode())
        return sha256.hexdigest()

    def order(self, batch_size: int, seed: int = 0) -> Order:
        """Batches of this size, without end."""
        return Order(self.items, tuple(place.bucket for place in self.placements), batch_size, seed)

    def view(self, draw: Draw) -> View:
        """How a picture is cut and mirrored this time."""
        item, placement = self.items[draw.index], self.placements[draw.index]
        across, down, mirror = draw.stream("view").random(3)
        mirrored = item.flip and mirror < 0.5
        if not item.random_crop:
            return centred(item, placement, mirrored=mirrored)
        (width, height), (wide, high) = placement.bucket, placement.resized
        return View(
            item, placement, int(across * (wide - width + 1)), int(down * (high - height + 1)), mirrored
        )

    def views(self) -> list[View] | None:
        """Every view that `view` can give, or `None` where pictures are cut at random."""
        if any(item.random_crop for item in self.items):
            return None
        return [
            centred(item, placement, mirrored=mirrored)
            for item, placement in zip(self.items, self.placements, strict=True)
            for mirrored in ((False, True) if item.flip else (False,))
        ]

    def caption(self, draw: Draw) -> str:
        """What the picture is called this time."""
        item = self.items[draw.index]
        return vary(item.captions, item.captioning, draw.stream("caption"))
