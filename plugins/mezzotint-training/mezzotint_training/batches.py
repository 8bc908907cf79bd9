"""Draws to tensors, read and encoded ahead of their turn by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from .chance import Key
from .data.dataset import Dataset
from .data.order import Draw
from .encoding.latents import LatentEncoder, Moments
from .encoding.text import TextEncoder, tokenize
from .trainee import Trainee


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures and captions as tensors."""

    latents: Tensor
    """(n, c, h, w), scaled."""
    text: Tensor
    """Embeddings (n, tokens, dim), or token ids where the text encoder is trained."""
    weights: Tensor
    """(n,): 1, or the prior weight for pictures of the class."""
    keys: tuple[Key, ...]
    """What each sample's noise and timestep come from."""
    mask: Tensor | None = None
    """(n, 1, h, w)."""
    conditioning: Tensor | None = None


class Batches:
    """Makes batches of a data set."""

    def __init__(
        self,
        dataset: Dataset,
        latents: LatentEncoder,
        text: TextEncoder,
        trainee: Trainee,
        prior_weight: float,
    ) -> None:
        self.dataset = dataset
        self.latents = latents
        self.text = text
        self.trainee = trainee
        self.prior_weight = prior_weight

    def make(self, draws: Sequence[Draw]) -> Batch:
        """One batch.

        Raises:
            DataError: a file cannot be read.
        """
        views = [self.dataset.view(draw) for draw in draws]
        captions = [self.dataset.caption(draw) for draw in draws]
        keys = tuple(draw.key for draw in draws)
        moments = self.latents.moments(views)
        device = self.latents.vae.device
        conditioning = self.trainee.conditioning(views)
        return Batch(
            self.latents.sample(moments, keys),
            self._text(captions),
            torch.tensor([self._weight(draw) for draw in draws], device=device),
            keys,
            _masks(moments, device),
            None if conditioning is None else conditioning.to(device),
        )

    def ahead(self, draws: Iterable[Sequence[Draw]], count: int = 2) -> Generator[Batch]:
        """Batches in order, `count` of them made by a thread while the one before is trained on."""
        with ThreadPoolExecutor(1) as pool:
            waiting: deque[Future[Batch]] = deque()
            try:
                for each in draws:
                    waiting.append(pool.submit(self.make, each))
                    if len(waiting) > count:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _text(self, captions: Sequence[str]) -> Tensor:
        if self.trainee.trains_text_encoder:
            return tokenize(self.text.tokenizer, captions).to(self.latents.vae.device)
        return self.text.embeddings(captions)

    def _weight(self, draw: Draw) -> float:
        return self.prior_weight if self.dataset.items[draw.index].is_prior else 1.0


def _masks(moments: Sequence[Moments], device: torch.device) -> Tensor | None:
    if all(each.mask is None for each in moments):
        return None
    whole = torch.ones(1, *moments[0].mean.shape[-2:])
    return torch.stack([whole if each.mask is None else each.mask for each in moments]).to(device)
