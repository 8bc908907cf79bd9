"""Image-to-image: noise is added to a picture, and taken away with another prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mezzotint import Field, hookimpl
from mezzotint.errors import RequestError

from .given_picture import RESIZE, GivenPicture, Resize, draw_like, image_processor, reseed, takes_mask

if TYPE_CHECKING:
    from mezzotint import Run
    from torch import Tensor


class ImageToImage(GivenPicture, name="image-to-image", conflicts="image-to-image"):
    """Start from a picture instead of noise: the stronger, the less of it is left."""

    strength: float = Field(0.8, gt=0, le=1, description="share of the steps that is run")
    resize: Resize = RESIZE

    @hookimpl
    def initial_latents(self, noise: Tensor, scheduler: Any, run: Run) -> Tensor:
        """The encoded picture with the noise of the first timestep that is run."""
        if takes_mask(run.pipe):
            raise RequestError(
                "image-to-image: this model was made for inpainting, and takes a mask beside the picture; use inpaint"
            )
        pictures = [self.fitted(picture, run) for picture in self.opened("image", run)]
        pixels = image_processor(run).preprocess(pictures)
        reseed(run)
        latents = run.pipe.encode(pixels, run.generators)
        first = run.timesteps[:1].repeat(run.n)
        noisy: Tensor = scheduler.add_noise(latents, draw_like(noise, run), first)
        return noisy
