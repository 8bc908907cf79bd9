"""Inpainting: a part of a picture is drawn anew, the rest stays.

Two kinds of models do it. An ordinary one has what is to stay put back after every step, with the noise of that step
(Lugmayr et al. 2022, "RePaint", eq. 8). One that was trained for it (Stable Diffusion Inpainting) has further input
channels: the mask, and the latents of the picture without what the mask covers.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mezzotint import Field, hookimpl
from mezzotint.pictures import PictureForEach

from .given_picture import RESIZE, GivenPicture, Resize, draw_like, image_processor, reseed, takes_mask

if TYPE_CHECKING:
    from mezzotint import Run
    from PIL.Image import Image
    from torch import Tensor


logger = logging.getLogger("mezzotint.image")


@dataclass(frozen=True, eq=False)
class Painting:
    """One run's pictures and masks: as they were given, at the size of the images, and at the size of latents."""

    originals: list[Image]
    masks: list[Image]
    mask: Tensor
    """(n, 1, h, w), 1 where the picture is drawn anew."""
    picture: Tensor
    """(n, c, h, w), the picture; for a model that takes the mask, what of it is not covered."""
    noise: Tensor
    """(n, c, h, w), the run's."""


@dataclass(eq=False)
class Kept:
    """What a run remembers from hook to hook."""

    painting: Painting | None = None


class Inpaint(GivenPicture, name="inpaint", conflicts=("inpaint", "image-to-image")):
    """Draw a part of a picture anew: where the mask is white."""

    mask: PictureForEach = Field(
        description="white where the picture is drawn anew; what is black or transparent stays"
    )
    strength: float = Field(
        1.0, gt=0, le=1, description="share of the steps that is run; at 1 what was there counts for nothing"
    )
    resize: Resize = RESIZE
    keep_pixels: bool = Field(
        True, description="put the picture's own pixels back where the mask is black, which the decoder moves"
    )
    feather: float = Field(0.0, ge=0, description="pixels over which they fade in (sigma of a Gaussian)")

    @hookimpl
    def initial_latents(self, noise: Tensor, scheduler: Any, run: Run) -> Tensor:
        """Noise, or the picture with the noise of the first timestep that is run."""
        from torch.nn.functional import interpolate

        originals, masks = self._fitted(run)
        pixels = image_processor(run).preprocess(originals)
        binary = image_processor(run, do_normalize=False, do_binarize=True, do_convert_grayscale=True)
        mask = binary.preprocess(masks)
        has_channels, from_noise = takes_mask(run.pipe), self.strength == 1
        reseed(run)
        # In the order in which diffusers draws: the picture, noise, the picture without what is covered.
        # Contiguous as there, too: the U-Net's first convolution goes by strides, in the last bit.
        whole = None if has_channels and from_noise else run.pipe.encode(pixels, run.generators).contiguous()
        noise = draw_like(noise, run)
        if whole is None or from_noise:
            latents = noise * getattr(scheduler, "init_noise_sigma", 1.0)
        else:
            latents = scheduler.add_noise(whole, noise, run.timesteps[:1].repeat(run.n))
        # For every model, as in diffusers: what the encoder draws here is not drawn again later.
        uncovered = run.pipe.encode(pixels * (mask < 0.5), run.generators)
        small = interpolate(mask, size=latents.shape[-2:]).to(latents.device, latents.dtype)
        if not small.any():
            logger.warning(
                "inpaint: nothing in the mask is white at the size of latents; nothing is drawn anew"
            )
        picture = uncovered if whole is None or has_channels else whole
        run.state(self, Kept).painting = Painting(originals, masks, small, picture, noise)
        return latents

    @hookimpl
    def unet_input(self, sample: Tensor, run: Run) -> Tensor | None:
        """Mask and uncovered picture as further channels, for a model that takes them."""
        import torch

        if not takes_mask(run.pipe):
            return None
        painting = self._painting(run)
        further = torch.cat([painting.mask, painting.picture], dim=1)
        return torch.cat([sample, further.repeat(sample.shape[0] // run.n, 1, 1, 1)], dim=1)

    @hookimpl
    def step_end(self, latents: Tensor, run: Run) -> Tensor | None:
        """Put back what is to stay, as noisy as the next step expects it."""
        if run.step is None or takes_mask(run.pipe):
            return None
        painting = self._painting(run)
        stays, scheduler = painting.picture, run.scheduler
        following = run.step.index + 1
        if following < run.step.count:
            stays = scheduler.add_noise(stays, painting.noise, run.timesteps[following : following + 1])
        return (1 - painting.mask) * stays + painting.mask * latents

    @hookimpl
    def images(self, images: list[Image], run: Run) -> list[Image] | None:
        """The picture's own pixels where nothing was to be drawn."""
        from PIL import Image as PILImage
        from PIL import ImageFilter

        if not self.keep_pixels:
            return None
        finished = []
        painting = self._painting(run)
        for image, original, mask in zip(images, painting.originals, painting.masks, strict=True):
            edge = mask.convert("L").point(lambda value: 255 if value >= 128 else 0)
            if self.feather:
                edge = edge.filter(ImageFilter.GaussianBlur(self.feather))
            # Another extension may have made the images larger.
            sized = [
                each.resize(image.size) if each.size != image.size else each for each in (original, edge)
            ]
            finished.append(PILImage.composite(image, *sized))
        return finished

    def _fitted(self, run: Run) -> tuple[list[Image], list[Image]]:
        """Pictures and masks in the size of the run's images; a mask is stretched to its picture first."""
        pictures, masks = self.opened("image", run), self.opened("mask", run, background="black")
        stretched = [
            mask
            if mask.size == picture.size
            else image_processor(run).resize(mask, picture.height, picture.width)
            for picture, mask in zip(pictures, masks, strict=True)
        ]
        return [self.fitted(each, run) for each in pictures], [self.fitted(each, run) for each in stretched]

    def _painting(self, run: Run) -> Painting:
        painting = run.state(self, Kept).painting
        assert painting is not None  # initial_latents comes first
        return painting
