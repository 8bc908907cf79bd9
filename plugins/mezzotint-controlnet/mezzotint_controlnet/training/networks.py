"""The network in training: a frozen U-Net that a trained ControlNet adds to."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from mezzotint import Pipeline
from mezzotint_training import TrainingError
from torch import Tensor, nn

from ..controlnet import check_controlnet
from ..networks import open_network
from .settings import ControlNetSettings

CHANNELS = (16, 32, 96, 256)
SILU_GAIN = 1.67
"""One over the root mean square of SiLU of a standard normal number."""


class ControlledDenoiser(nn.Module):
    """Predicts with the residuals of a ControlNet (Zhang et al. 2023, eq. 2)."""

    def __init__(self, unet: UNet2DConditionModel, controlnet: ControlNetModel) -> None:
        super().__init__()
        self.unet = unet
        self.controlnet = controlnet
        self.dtype = unet.dtype

    def forward(
        self, noisy: Tensor, timesteps: Tensor, text: Tensor, conditioning: Tensor | None = None
    ) -> Tensor:
        """(n, c, h, w) noisy latents and maps (n, 3, height, width) to the prediction (n, c, h, w)."""
        down, mid = self.controlnet(
            noisy.float(),
            timesteps,
            encoder_hidden_states=text.float(),
            controlnet_cond=conditioning,
            return_dict=False,
        )
        prediction: Tensor = self.unet(
            noisy.to(self.dtype),
            timesteps,
            encoder_hidden_states=text.to(self.dtype),
            down_block_additional_residuals=[residual.to(self.dtype) for residual in down],
            mid_block_additional_residual=mid.to(self.dtype),
            return_dict=False,
        )[0]
        return prediction


def make_controlnet(pipe: Pipeline, settings: ControlNetSettings) -> ControlNetModel:
    """A ControlNet whose outputs are all 0, or the one that the settings name, in float32.

    Raises:
        TrainingError: `hint_channels` does not shrink a map to the size of latents.
        ModelError: what the settings name is no ControlNet of this model.
    """
    if settings.start is not None:
        return _opened(pipe, settings.start)
    halvings = int(math.log2(pipe.vae_scale_factor))
    channels = settings.hint_channels or (*CHANNELS[:1], *CHANNELS[-halvings:])[: halvings + 1]
    if len(channels) != halvings + 1:
        raise TrainingError(
            f"hint_channels has {len(channels)} numbers; this model's latents are {pipe.vae_scale_factor} times smaller "
            f"than its pictures, which takes {halvings + 1}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        controlnet = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=tuple(channels))
        _open_eyes(controlnet.controlnet_cond_embedding)
    return controlnet.float()


@torch.no_grad()
def _open_eyes(embedding: ControlNetConditioningEmbedding) -> None:
    """Start the layers that shrink the map so that each keeps the variance (He et al. 2015, eq. 10, for SiLU).

    As torch starts convolutions, what tells two maps apart shrinks threefold in every layer, to a thousandth of this after
    seven, and training does not see the map for thousands of steps.
    """
    for layer in (embedding.conv_in, *embedding.blocks):
        fan_in = layer.weight[0].numel()
        layer.weight.normal_(std=SILU_GAIN / math.sqrt(fan_in))
        layer.bias.zero_()


def _opened(pipe: Pipeline, start: Path) -> ControlNetModel:
    """A network to go on with: what `ControlNet(…)` takes, checked as there.

    Raises:
        ModelError: it is missing, incomplete, or another model's.
    """
    network: ControlNetModel = check_controlnet(
        open_network(pipe, start, "ControlNetModel"), str(start), pipe
    )
    return network.float()
