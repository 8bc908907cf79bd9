"""Cheap previews: a linear map from latent channels to RGB, fitted once to the model's own decoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..models.components import Components
from .decoding import decode

FITTED_LATENTS = 8
FITTED_SIZE = 8


def fit_latent_to_rgb(components: Components) -> Tensor:
    """Least-squares map (channels + 1, 3) from latents to the mean colour (in [-1, 1]) of the pixels they decode to.

    Fitted on smooth random latents, seeded, so that it is the same each time.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    vae = components.vae
    channels = vae.config.latent_channels
    coarse = torch.randn(FITTED_LATENTS, channels, 2, 2, generator=generator)
    latents = torch.nn.functional.interpolate(coarse, size=(FITTED_SIZE, FITTED_SIZE), mode="bilinear")
    pixels = decode(latents.to(vae.device, vae.dtype), components)
    colours = torch.nn.functional.adaptive_avg_pool2d(pixels.float().cpu(), (FITTED_SIZE, FITTED_SIZE))
    inputs = latents.permute(0, 2, 3, 1).reshape(-1, channels)
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    return torch.linalg.lstsq(inputs, colours.permute(0, 2, 3, 1).reshape(-1, 3), driver="gelsd").solution


def preview_images(latents: Tensor, latent_to_rgb: Tensor, scale: int) -> list[Any]:
    """PIL images `scale` times the latents' size, one for each of the latents (n, c, h, w)."""
    from PIL import Image

    latents = latents.float().cpu()
    # Mid-run latents of some schedulers are σ times unit size; the map was fitted to unit size.
    latents = latents / latents.std(dim=(1, 2, 3), keepdim=True).clamp(min=1.0)
    colours = torch.einsum("nchw,cr->nhwr", latents, latent_to_rgb[:-1]) + latent_to_rgb[-1]
    array = ((colours / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return [
        Image.fromarray(a).resize((a.shape[1] * scale, a.shape[0] * scale), Image.Resampling.BICUBIC)
        for a in array
    ]
