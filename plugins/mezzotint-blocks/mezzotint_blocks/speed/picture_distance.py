"""How far pictures are from others: PSNR and SSIM."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import conv2d

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


def psnr(pictures: Sequence[Image], exact: Sequence[Image]) -> float:
    """Peak signal to noise ratio in dB over all pixels; infinite for equal pictures."""
    error = (_pixels(pictures) - _pixels(exact)).square().mean().item()
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ssim(pictures: Sequence[Image], exact: Sequence[Image]) -> float:
    """Structural similarity of the luma, 1 for equal pictures (Wang et al. 2004, eq. 13).

    A Gaussian window of 11 pixels with σ = 1.5, as there, over places where it fits.
    """
    x, y = (_luma(_pixels(images)) for images in (pictures, exact))
    means = {name: _blurred(value) for name, value in (("x", x), ("y", y))}
    xx = _blurred(x * x) - means["x"] ** 2
    yy = _blurred(y * y) - means["y"] ** 2
    xy = _blurred(x * y) - means["x"] * means["y"]
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * means["x"] * means["y"] + c1) / (means["x"] ** 2 + means["y"] ** 2 + c1)
    return float((luminance * (2 * xy + c2) / (xx + yy + c2)).mean())


def _pixels(images: Sequence[Image]) -> Tensor:
    """(n, 3, height, width), 0 to 255."""
    stacked = np.stack([np.asarray(image.convert("RGB"), dtype=np.float64) for image in images])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2)


def _luma(pixels: Tensor) -> Tensor:
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=pixels.dtype).view(1, 3, 1, 1)
    return (pixels * weights).sum(dim=1, keepdim=True)


def _blurred(x: Tensor) -> Tensor:
    offsets = torch.arange(11, dtype=x.dtype) - 5
    line = torch.exp(-offsets.square() / (2 * 1.5**2))
    line = line / line.sum()
    return conv2d(conv2d(x, line.view(1, 1, 11, 1)), line.view(1, 1, 1, 11))
