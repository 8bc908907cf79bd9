"""Pictures to start from, and the noise to add."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

SEED = 5


def generators(n):
    """What diffusers draws from for the images that `seed=SEED` gives here."""
    return [torch.Generator().manual_seed(SEED + k) for k in range(n)]


def noise_picture(seed, size=(32, 32)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def half_mask(size=(32, 32)):
    """White on the right."""
    mask = Image.new("L", size, "black")
    mask.paste("white", (size[0] // 2, 0, *size))
    return mask
