"""What is looked at while training: the loss on pictures held out, and pictures of fixed prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor, nn

from .batches import Batches
from .data.order import Draw
from .noising import Objective
from .prompts import SamplePrompt
from .trainee import Trainee

LEVELS = 4
"""Timesteps at which a held-out picture is measured, spread over the schedule."""


@contextmanager
def evaluating(networks: nn.Module) -> Iterator[None]:
    """Inside, nothing is dropped out; outside, each module is in the mode that it was in."""
    trained = [module for module in networks.modules() if module.training]
    try:
        networks.eval()
        yield
    finally:
        for module in trained:
            module.training = True


class Validation:
    """The mean loss on held-out pictures at fixed noise and timesteps, so that only the weights change it.

    Args:
        batches: of the held-out pictures.
    """

    def __init__(self, batches: Batches, objective: Objective, batch_size: int, seed: int) -> None:
        self.batches = batches
        self.objective = objective
        draws = [
            Draw(seed, -1, index, level) for index in range(len(batches.dataset)) for level in range(LEVELS)
        ]
        by_size: dict[tuple[int, int], list[Draw]] = {}
        for draw in draws:
            by_size.setdefault(batches.dataset.placements[draw.index].bucket, []).append(draw)
        self.groups = [
            each[first : first + batch_size]
            for each in by_size.values()
            for first in range(0, len(each), batch_size)
        ]

    @torch.no_grad()
    def __call__(self, networks: nn.Module) -> float:
        """The unweighted mean."""
        total, count = 0.0, 0
        for draws in self.groups:
            batch = self.batches.make(draws)
            noised = self.objective.noised(batch.latents, batch.keys, self._timesteps(draws))
            prediction = networks(noised.noisy, noised.timesteps, batch.text, batch.conditioning)
            losses = self.objective.losses(prediction, noised, batch.mask)
            total += float(losses.sum())
            count += len(draws)
        return total / count

    def _timesteps(self, draws: Sequence[Draw]) -> Tensor:
        count = len(self.objective.schedule)
        low, high = self.objective.settings.timestep_range
        levels = torch.tensor([(draw.occurrence + 0.5) / LEVELS for draw in draws])
        return (
            ((low + (high - low) * levels) * count).long().to(self.objective.schedule.alphas_cumprod.device)
        )


def draw_samples(trainee: Trainee, prompts: Sequence[SamplePrompt], folder: Path, step: int) -> list[Image]:
    """Draw the prompts with the weights as they are, and save them as `step-000250-0.png` and so on.

    A pipeline's run has generators of its own; training's chance does not depend on any that is shared.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for number, prompt in enumerate(prompts):
        image = trainee.draw(prompt)
        image.save(folder / f"step-{step:06d}-{number}.png")
        images.append(image)
    return images
