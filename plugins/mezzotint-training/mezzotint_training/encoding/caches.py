"""The encoders of a training, filled before the first step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from ..data.captions import possible
from ..data.dataset import Dataset
from ..data.images import View, check_resized
from ..errors import DataError
from ..settings import TrainingSettings
from ..trainee import Trainee
from .latents import LatentEncoder
from .store import TensorStore
from .text import TextEncoder

logger = logging.getLogger("mezzotint")


@dataclass(frozen=True)
class Encoders:
    """Pictures to latents and captions to embeddings, for one training."""

    latents: LatentEncoder
    text: TextEncoder
    bad_images: str
    embeds: bool
    """False where the text encoder is trained."""

    def fill(
        self, dataset: Dataset, process: int = 0, processes: int = 1, wait: Callable[[], None] = lambda: None
    ) -> Dataset:
        """Encode everything that a training will ask for; returns the data set without pictures that cannot be read.

        Where the caches are on disk, each process encodes its share and then finds the others'.

        Raises:
            DataError: a picture cannot be read or resized, and `bad_images` is `stop`.
        """
        # Without a cache, it would be met in the middle of the training.
        dataset = self._without(dataset, _too_narrow(dataset))
        if self.latents.store is None:
            return dataset
        views = dataset.views() or []
        if processes > 1 and self.latents.store.folder is not None:
            self._encode(views[process::processes], tolerant=True)
            wait()
        bad = self._encode(views, tolerant=self.bad_images == "skip")
        kept = self._without(dataset, {view.item.path: error for view, error in bad.items()})
        if self.embeds:
            self._embed(kept)
        return kept

    def _without(self, dataset: Dataset, bad: Mapping[Path, DataError]) -> Dataset:
        """The data set without bad pictures, each of which is named."""
        for error in bad.values():
            if self.bad_images != "skip":
                raise _refused(error)
            logger.warning("%s; it is skipped", error)
        return dataset.without(bad)

    def _encode(self, views: Iterable[View], *, tolerant: bool) -> dict[View, DataError]:
        bad: dict[View, DataError] = {}
        by_size: dict[tuple[int, int], list[View]] = {}
        for view in views:
            by_size.setdefault(view.placement.bucket, []).append(view)
        count = self.latents.batch_size
        for same in by_size.values():
            for first in range(0, len(same), count):
                group = same[first : first + count]
                try:
                    self.latents.moments(group)
                except DataError as error:
                    if not tolerant:
                        raise _refused(error) from None
                    bad |= self._one_by_one(group)
        return bad

    def _one_by_one(self, views: Iterable[View]) -> dict[View, DataError]:
        bad = {}
        for view in views:
            try:
                self.latents.moments([view])
            except DataError as error:
                bad[view] = error
        return bad

    def _embed(self, dataset: Dataset) -> None:
        texts = [possible(item.captions, item.captioning) for item in dataset.items]
        known = list(dict.fromkeys(text for each in texts if each is not None for text in each))
        for caption in known:
            self.text.embeddings([caption])


def _too_narrow(dataset: Dataset) -> dict[Path, DataError]:
    bad = {}
    for item, placement in zip(dataset.items, dataset.placements, strict=True):
        try:
            check_resized(item, placement)
        except DataError as error:
            bad[item.path] = error
    return bad


def _refused(error: DataError) -> DataError:
    return DataError(f"{error}; repair or remove it, or choose bad_images=skip")


def make_encoders(trainee: Trainee, settings: TrainingSettings) -> Encoders:
    """As `cache` says."""
    pipe = trainee.pipe
    store = None
    if settings.cache != "off":
        on_disk = settings.cache == "disk"
        folder = settings.cache_folder or user_cache_path("mezzotint") / "training"
        store = TensorStore(folder if on_disk else None, in_memory=not on_disk)
    latents = LatentEncoder(
        pipe.vae, store=store, batch_size=settings.vae_batch_size, background=settings.background
    )
    embeds = not trainee.trains_text_encoder
    text = TextEncoder(
        pipe.text_encoder, pipe.tokenizer, store=store if embeds else None, clip_skip=settings.clip_skip
    )
    return Encoders(latents, text, settings.bad_images, embeds)
