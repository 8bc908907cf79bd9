"""From latents to pictures and back by the model's own VAE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from ..models.components import Components


@contextmanager
def wide_enough(components: Components) -> Iterator[Any]:
    """The VAE in a number type that its activations fit into.

    That of Stable Diffusion XL overflows in float16 and says `force_upcast`; it is in float32 inside, and has the bits
    that it had afterwards.
    """
    vae: Any = components.vae
    upcast = components.family.upcasts_vae and vae.dtype == torch.float16 and vae.config.force_upcast
    if not upcast:
        yield vae
        return
    # torch's own `to`: that of diffusers warns of this very use.
    try:
        yield Module.to(vae, torch.float32)
    finally:
        Module.to(vae, torch.float16)


def decode(latents: Tensor, components: Components, **options: Any) -> Tensor:
    """Pictures (n, 3, height, width) in [-1, 1] from latents (n, c, h, w).

    Args:
        options: of the VAE's `decode`.
    """
    with wide_enough(components) as vae:
        latents = latents.to(vae.dtype)
        spread = _spread(vae.config, latents)
        if spread is None:
            latents = latents / vae.config.scaling_factor
        else:
            mean, deviation = spread
            latents = latents * deviation / vae.config.scaling_factor + mean
        pictures: Tensor = vae.decode(latents, return_dict=False, **options)[0]
        return pictures


def encode(pictures: Tensor, components: Components, generators: Sequence[torch.Generator]) -> Tensor:
    """Latents (n, c, h, w) of pictures (n, 3, height, width) in [-1, 1], in the dtype of the U-Net.

    Args:
        generators: one for each picture; its draw from the encoder's distribution comes from there.
    """
    with wide_enough(components) as vae:
        rows: list[Tensor] = []
        before = distribution = None
        # Rows are parts of the batch, whose strides stay: the encoder's first convolution goes by them.
        for row, generator in zip(torch.split(pictures, 1), generators, strict=True):
            if before is None or not torch.equal(row, before):
                distribution = vae.encode(row.to(vae.device, vae.dtype)).latent_dist
            before = row
            rows.append(distribution.sample(generator))  # type: ignore[union-attr]
        latents = torch.cat(rows).to(components.unet.dtype)
        spread = _spread(vae.config, latents)
        if spread is None:
            return latents * vae.config.scaling_factor
        mean, deviation = spread
        return (latents - mean) * vae.config.scaling_factor / deviation


def _spread(config: Any, latents: Tensor) -> tuple[Tensor, Tensor] | None:
    """Mean and deviation of each channel, (1, c, 1, 1), of a VAE that names them (`latents_mean`, `latents_std`)."""
    mean, deviation = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is None or deviation is None:
        return None
    return latents.new_tensor(mean).view(1, -1, 1, 1), latents.new_tensor(deviation).view(1, -1, 1, 1)
