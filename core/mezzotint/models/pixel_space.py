"""The place of the autoencoder in a model that has none: latents are the picture itself (DeepFloyd IF)."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, IdentityDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import Tensor
from torch.nn import Module


class PixelSpace(Module, ConfigMixin):
    """An `AutoencoderKL` that changes nothing: encode and decode are the identity, one latent a pixel.

    Latents are pictures in [-1, 1], (n, channels, height, width), so that whatever encodes, decodes or asks for
    the scale of latents works on a pixel model unchanged.
    """

    config_name = "config.json"

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        latent_channels: int = 3,
        scaling_factor: float = 1.0,
        block_out_channels: tuple[int, ...] = (3,),
    ) -> None:
        super().__init__()
        # Nothing to hold: it says which dtype and device this is on.
        self.register_buffer("_anchor", torch.zeros(0), persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """As it was moved to."""
        return self._anchor.dtype  # type: ignore[return-value]

    @property
    def device(self) -> torch.device:
        """As it was moved to."""
        return self._anchor.device  # type: ignore[return-value]

    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """The picture (n, c, h, w) as a distribution that has no spread."""
        posterior = IdentityDistribution(x)
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(self, z: Tensor, return_dict: bool = True, generator: Any = None) -> Any:
        """The picture (n, c, h, w) that the latents are."""
        return DecoderOutput(sample=z) if return_dict else (z,)
