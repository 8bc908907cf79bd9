"""Image-to-image: noise is added to a picture, and taken away with another prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mezzotint import hookimpl

from .given_picture import GivenPicture, draw_like, image_processor, start_over

if TYPE_CHECKING:
    from mezzotint import Run
    from torch import Tensor


class ImageToImage(GivenPicture, name="image-to-image"):
    """Start from a picture instead of noise: the stronger, the less of it is left."""

    @hookimpl
    def initial_latents(self, noise: Tensor, scheduler: Any, run: Run) -> Tensor:
        """The encoded picture with the noise of the first timestep that is run."""
        pixels = image_processor(run).preprocess(self.pictures("image", run))
        start_over(run)
        latents = run.pipe.encode(pixels, run.generators)
        first = self.timestep(0, run).repeat(run.n)
        noisy: Tensor = scheduler.add_noise(latents, draw_like(noise, run), first)
        return noisy
