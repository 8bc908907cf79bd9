"""Masks of parts of the picture, at the resolution of each attention layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mezzotint.pictures import open_picture

if TYPE_CHECKING:
    from mezzotint import Block, Run
    from torch import Tensor


def open_mask(value: Any, run: Run, *, binary: bool, what: str = "mask") -> Tensor:
    """A mask picture at the size of the run's images, (1, 1, height, width) from 0 to 1.

    White counts; what is transparent was not drawn, and does not.

    Args:
        value: a picture; stretched to the size.
        binary: whether everything is 0 or 1, as `IPAdapterMaskProcessor` of diffusers makes it.
        what: how errors call it.
    """
    from diffusers.image_processor import IPAdapterMaskProcessor

    width, height = run.request.size
    processor = IPAdapterMaskProcessor(vae_scale_factor=1, do_binarize=binary)
    picture = open_picture(value, what, background="black")
    mask: Tensor = processor.preprocess(picture, height=height, width=width)
    return mask.to(run.pipe.device)


def layer_size(unet: Any, layer: Block, size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the queries of an attention layer, for latents of (height, width)."""
    height, width = size
    sizes = []
    for block in unet.down_blocks:
        sizes.append((height, width))
        if block.downsamplers:
            height, width = (height + 1) // 2, (width + 1) // 2
    sizes.append((height, width))
    if layer.stage == "mid":
        return sizes[-1]
    return sizes[layer.index] if layer.stage == "down" else sizes[len(unet.down_blocks) - 1 - layer.index]


def at_layer(mask: Tensor, layer: Block, run: Run) -> Tensor:
    """A mask (1, 1, height, width) of the picture for the queries of a layer, (1, queries, 1)."""
    from torch.nn.functional import interpolate

    width, height = run.request.size
    factor = run.pipe.vae_scale_factor
    size = layer_size(run.pipe.unet, layer, (height // factor, width // factor))
    # Bicubic, as IPAdapterMaskProcessor.downsample of diffusers.
    return interpolate(mask, size=size, mode="bicubic").reshape(1, -1, 1).to(run.pipe.dtype)
