"""The encoder of the VAE: a linear transform that is computed, not trained.

The 32 latent channels of a cell are the strongest principal components of its 8 × 8 pixels. That has three
advantages for training on a few cores: latents of any picture cost one matrix product, so that scenes can be
composed anew for every step; the U-Net need not wait for the VAE, and the decoder can be trained for as long as
one likes, before or after it; and the latents keep what the pixels have, a coarse picture in few channels and
details in many. The decoder is a network and gives back more than the transform kept.

The same transform is written into the layers of an `AutoencoderKL`, so the result is an ordinary VAE.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import conv2d, pixel_unshuffle

LATENT_CHANNELS = 32
QUARTER_CHANNELS = 32  # what a 4 × 4 patch is reduced to on the way: the width of the second level of the VAE
WHITENING = 0.5  # 0 keeps the spread of the components, where the first drown the rest; 1 makes all equal
CONSTANT = 256.0  # see write_encoder


@dataclass(frozen=True)
class LinearEncoder:
    """2 × 2 patches (12 numbers) by fours to 32, those by fours to the latents: `quarter` (32, 48), `whole` (32, 128).

    `mean` (32,) is subtracted. Columns are ordered as `pixel_unshuffle` orders them.
    """

    quarter: Tensor
    whole: Tensor
    mean: Tensor

    @cached_property
    def kernel(self) -> Tensor:
        """Both stages as one convolution, (32, 3, 8, 8)."""
        identity = torch.eye(3 * 64).view(3 * 64, 3, 8, 8)
        return self._stages(identity).flatten(1).T.reshape(-1, 3, 8, 8).contiguous()

    def __call__(self, images: Tensor) -> Tensor:
        """Images in [-1, 1], (n, 3, h, w), to latents (n, 32, h / 8, w / 8)."""
        return conv2d(images, self.kernel, stride=8) - self.mean.view(-1, 1, 1)

    def _stages(self, images: Tensor) -> Tensor:
        quarter = conv2d(pixel_unshuffle(pixel_unshuffle(images, 2), 2), self.quarter[:, :, None, None])
        return conv2d(pixel_unshuffle(quarter, 2), self.whole[:, :, None, None])


def fit_encoder(images: Tensor) -> LinearEncoder:
    """Principal components of `images` (n, 3, 64, 64); the latents have mean 0 and mean square 1."""
    quarters = pixel_unshuffle(pixel_unshuffle(images, 2), 2)
    quarter = _components(quarters, QUARTER_CHANNELS)
    wholes = pixel_unshuffle(conv2d(quarters, quarter[:, :, None, None]), 2)
    whole = _components(wholes, LATENT_CHANNELS)
    latents = conv2d(wholes, whole[:, :, None, None])
    whole = whole * latents.std(dim=(0, 2, 3)).pow(-WHITENING)[:, None]
    whole = whole / conv2d(wholes, whole[:, :, None, None]).std(dim=(0, 2, 3)).square().mean().sqrt()
    return LinearEncoder(quarter, whole, conv2d(wholes, whole[:, :, None, None]).mean(dim=(0, 2, 3)))


def save_encoder(encoder: LinearEncoder, path: Path) -> None:
    """Write the matrices as safetensors."""
    save_file({name: getattr(encoder, name).contiguous() for name in ("quarter", "whole", "mean")}, path)


def load_encoder(path: Path) -> LinearEncoder:
    """Read what `save_encoder` wrote."""
    return LinearEncoder(**load_file(path))


@torch.no_grad()
def write_encoder(encoder: LinearEncoder, vae: AutoencoderKL) -> None:
    """Set the encoder of `vae` (four levels, one group of normalisation) to `encoder`, without variance.

    Its residual branches become zero, its strided convolutions the transform. The normalisation and the SiLU before
    the last convolution cannot be left out, so each latent z comes there as z and -z, since silu(z) - silu(-z) = z,
    beside two constants so large that the deviation which is divided by is theirs, whatever the picture: the error
    is a factor within 0.1 % of 1.
    """
    network = vae.encoder
    for parameter in [*network.parameters(), *vae.quant_conv.parameters()]:
        parameter.zero_()
    for module in network.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.weight.fill_(1.0)
    quarters, wholes = (matrix.view(len(matrix), -1, 2, 2) for matrix in (encoder.quarter, encoder.whole))
    pixels = torch.eye(12).view(12, 3, 2, 2)
    network.conv_in.weight[:3, :, 1, 1] = torch.eye(3)
    for block, kernel in zip(network.down_blocks, (pixels, quarters, wholes), strict=False):
        shortcut = block.resnets[0].conv_shortcut
        if shortcut is not None:
            shortcut.weight[: shortcut.in_channels, :, 0, 0] = torch.eye(shortcut.in_channels)
        block.downsamplers[0].conv.weight[: len(kernel), : kernel.shape[1], :2, :2] = kernel
    n, identity = LATENT_CHANNELS, torch.eye(LATENT_CHANNELS)
    last = network.down_blocks[3].resnets[0].conv_shortcut
    last.weight[:n, :n, 0, 0], last.weight[n : 2 * n, :n, 0, 0] = identity, -identity
    last.bias[2 * n : 2 * n + 2] = torch.tensor([CONSTANT, -CONSTANT])
    deviation = (2 / last.out_channels) ** 0.5 * CONSTANT
    network.conv_norm_out.weight.zero_()
    network.conv_norm_out.weight[: 2 * n] = deviation
    network.conv_out.weight[:n, :n, 1, 1], network.conv_out.weight[:n, n : 2 * n, 1, 1] = identity, -identity
    vae.quant_conv.weight[:n, :n, 0, 0] = identity
    vae.quant_conv.bias[:n] = -encoder.mean
    vae.quant_conv.bias[n:] = -30.0  # the logarithm of a variance of nothing


@torch.no_grad()
def read_encoder(vae: AutoencoderKL) -> LinearEncoder:
    """What `write_encoder` wrote into `vae`."""
    quarters, wholes = (
        block.downsamplers[0].conv.weight[..., :2, :2] for block in vae.encoder.down_blocks[1:3]
    )
    return LinearEncoder(
        quarters[:QUARTER_CHANNELS, :12].flatten(1).clone(),
        wholes[:LATENT_CHANNELS, :QUARTER_CHANNELS].flatten(1).clone(),
        -vae.quant_conv.bias[:LATENT_CHANNELS].clone(),
    )


def _components(patches: Tensor, count: int) -> Tensor:
    """The strongest principal components of (n, c, h, w) over c, (count, c), in double precision."""
    rows = patches.permute(0, 2, 3, 1).flatten(0, 2).double()
    rows = rows - rows.mean(0)
    components = torch.linalg.eigh(rows.T @ rows).eigenvectors.flip(1).T[:count]
    signs = components.gather(1, components.abs().argmax(1, keepdim=True)).sign()
    return (components * signs).float().contiguous()
