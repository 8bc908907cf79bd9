"""Which of two sets a picture is drawn like: logistic regression on what the scorer's layers see, and on colours.

The scorer has learned styles along with concepts, as captions name both, but never this pair of sets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mezzotint_emoji.recipe.data import to_tensor
from mezzotint_emoji.recipe.scorer import Residual, Scorer
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

LEVELS = 6
"""Of each colour channel, in the histogram."""
COLOURS = 8.0
"""How much the histogram counts beside the layers."""
PENALTY, STEPS = 0.03, 200
AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Classifier:
    """Takes features (n, d) for the second set where `(features - mean) / deviation @ weight + bias` is positive."""

    mean: Tensor
    deviation: Tensor
    weight: Tensor
    bias: Tensor

    def is_second(self, features: Tensor) -> np.ndarray:
        """(n,) bool."""
        found: np.ndarray = ((features - self.mean) / self.deviation @ self.weight + self.bias > 0).numpy()
        return found


@torch.no_grad()
def through_vae(vae: nn.Module, pixels: np.ndarray, title: str) -> Tensor:
    """Pictures (n, 64, 64, 3) as the VAE gives them back, (n, 3, 64, 64), so that its softness says nothing about the style."""
    parts = track(to_tensor(pixels).split(AT_ONCE), title, console=Console(stderr=True))
    return torch.cat([vae.decode(vae.encode(part).latent_dist.mean).sample.clamp(-1, 1) for part in parts])


@torch.no_grad()
def features_of(scorer: Scorer, images: Tensor) -> Tensor:
    """Mean and deviation of each channel of each layer, the scorer's own vector, and shares of colours; images (n, 3, 64, 64)."""
    return torch.cat([_features(scorer, part) for part in images.split(AT_ONCE)])


def train_classifier(features: Callable[[], tuple[Tensor, Tensor]], kept: Path) -> Classifier:
    """Fit it; the loss is convex, so there is one answer.

    Args:
        features: makes those of the two sets, (n, d) and (m, d).
        kept: file of the classifier; if it is there, nothing is fitted.
    """
    if kept.exists():
        return Classifier(**load_file(kept))
    first, second = features()
    both = torch.cat([first, second])
    labels = torch.cat([torch.zeros(len(first)), torch.ones(len(second))])
    # As much weight for one set as for the other.
    counts = torch.where(labels > 0, len(both) / (2 * len(second)), len(both) / (2 * len(first)))
    mean, deviation = both.mean(0), both.std(0) + 1e-6
    inputs = (both - mean) / deviation
    weight, bias = torch.zeros(both.shape[1], requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS)

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = inputs @ weight + bias
        value = nn.functional.binary_cross_entropy_with_logits(logits, labels, counts)
        value = value + PENALTY * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    found = Classifier(mean, deviation, weight.detach(), bias.detach())
    kept.parent.mkdir(parents=True, exist_ok=True)
    save_file(vars(found), kept)
    return found


def _features(scorer: Scorer, images: Tensor) -> Tensor:
    maps, seen = images, []
    for layer in scorer.image_layers:
        if isinstance(layer, nn.Flatten):
            break
        maps = layer(maps)
        if isinstance(layer, nn.Conv2d | Residual):
            seen += [maps.mean((2, 3)), maps.std((2, 3))]
    return torch.cat([*seen, maps.amax((2, 3)), scorer.images(images), COLOURS * _colours(images)], dim=1)


def _colours(images: Tensor) -> Tensor:
    """Root of the share of each colour, (n, LEVELS³), without white."""
    levels = ((images.clamp(-1, 1) + 1) / 2 * (LEVELS - 1e-3)).long()
    places = ((levels[:, 0] * LEVELS + levels[:, 1]) * LEVELS + levels[:, 2]).flatten(1)
    counts = torch.zeros(len(images), LEVELS**3).scatter_add_(1, places, torch.ones(places.shape))
    counts[:, -1] = 0
    return (counts / counts.sum(1, keepdim=True).clamp(min=1)).sqrt()
