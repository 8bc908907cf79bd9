"""A small network that tells two art styles apart, whatever is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn


def to_tensor(images: Sequence[Image.Image]) -> Tensor:
    """(n, 3, 64, 64) in [-1, 1]."""
    pixels = np.stack([np.asarray(image.convert("RGB"), dtype=np.float32) for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1


@torch.no_grad()
def through_vae(vae: nn.Module, images: Tensor, batch: int = 64) -> Tensor:
    """Pictures as the VAE gives them back, so that its softness says nothing about the style."""
    return torch.cat([vae.decode(vae.encode(part).latent_dist.mean).sample for part in images.split(batch)])


def train_classifier(first: Tensor, second: Tensor, *, steps: int = 600, seed: int = 0) -> nn.Module:
    """A network whose output (n,) is positive for pictures like `second`.

    Args:
        first: (n, 3, 64, 64), pictures of one style.
        second: (m, 3, 64, 64), of the other.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            *_stage(3, 16),
            *_stage(16, 32),
            *_stage(32, 64),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, 1),
        )
        pictures = torch.cat([first, second])
        labels = torch.cat([torch.zeros(len(first)), torch.ones(len(second))])
        optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
        for _ in range(steps):
            # As many of each, mirrored, shifted and in other brightness: none of these is a style.
            chosen = torch.cat(
                [torch.randint(len(first), (16,)), len(first) + torch.randint(len(second), (16,))]
            )
            loss = nn.functional.binary_cross_entropy_with_logits(
                network(_varied(pictures[chosen])).flatten(), labels[chosen]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def share_of_second(network: nn.Module, images: Tensor) -> float:
    """How many of the pictures it takes for the second style."""
    return float((network(images).flatten() > 0).float().mean())


def _stage(channels: int, out: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, out, 3, stride=2, padding=1), nn.GroupNorm(8, out), nn.SiLU()]


def _varied(images: Tensor) -> Tensor:
    images = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)
    shift = torch.randint(-3, 4, (2,)).tolist()
    images = torch.roll(images, shift, dims=(2, 3))
    return images * (0.9 + 0.2 * torch.rand(len(images), 1, 1, 1))
