"""What both extensions share: a picture, how it is made to fit, and how much of it is drawn anew."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from mezzotint import Extension, Field, hookimpl
from mezzotint.errors import RequestError
from mezzotint.pictures import PictureForEach, one_for_each_image, open_picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusers.image_processor import VaeImageProcessor
    from mezzotint import Pipeline, Run
    from PIL.Image import Image
    from torch import Tensor

Resize = Literal["just", "crop", "fill"]
RESIZE = Field(
    "crop", description="how the picture fits the run's size: just stretch, crop to cover, fill around"
)
MODES = {"just": "default", "crop": "crop", "fill": "fill"}
"""What `VaeImageProcessor` of diffusers calls them."""


class GivenPicture(Extension):
    """Base: a picture that a run starts from, and the last part of the interval.

    Those that derive from it add `strength` and `resize`, in the order in which they take their options.
    """

    image: PictureForEach = Field(description="picture to start from, or one for each image of the run")

    if TYPE_CHECKING:
        strength: float
        resize: Resize

    @hookimpl
    def timesteps(self, timesteps: Tensor, scheduler: Any, run: Run) -> Tensor:
        """The last part of the interval (Meng et al. 2022, "SDEdit"), cut where diffusers cuts it."""
        if not hasattr(scheduler, "add_noise"):
            raise RequestError(
                f"{self.extension_name}: {type(scheduler).__name__} has no add_noise, so it cannot start from a "
                "picture; use another scheduler"
            )
        starts = _step_starts(timesteps, scheduler, run.request.steps)
        count = len(starts)
        kept = min(int(count * self.strength), count)
        if not kept:
            raise RequestError(
                f"{self.extension_name}: strength={self.strength:g} leaves none of {count} "
                f"{'step' if count == 1 else 'steps'}; give more steps, or a strength of at least "
                f"{math.ceil(1000 / count) / 1000:g}"
            )
        return timesteps[starts[-kept] :]

    def opened(self, option: str, run: Run, background: str = "white") -> list[Image]:
        """Pictures in their own size, one for each image of the run.

        Args:
            option: which of the extension's.
            background: where they are transparent.

        Raises:
            RequestError: a picture cannot be used, or their number does not fit.
        """
        given, what = getattr(self, option), f"{self.extension_name}: {option}"
        several = given if isinstance(given, list) else [given]
        each = one_for_each_image([open_picture(one, what, background) for one in several], run, what)
        return each if len(each) == run.n else each * run.n

    def fitted(self, picture: Image, run: Run) -> Image:
        """A picture in the size of the run's images."""
        width, height = run.request.size
        if self.resize == "fill":
            # Of a picture that is much thinner than the size, diffusers' fill would leave no pixel.
            least = math.ceil(max(picture.width / width, picture.height / height))
            thin = max(picture.width, least), max(picture.height, least)
            picture = picture if thin == picture.size else picture.resize(thin)
        fitted: Image = image_processor(run).resize(picture, height, width, resize_mode=MODES[self.resize])
        return fitted


def _step_starts(timesteps: Tensor, scheduler: Any, steps: int) -> Sequence[int]:
    """Where in an interval the steps of its scheduler begin."""
    if len(timesteps) != len(scheduler.timesteps):
        return range(len(timesteps))  # of another extension, which knows why
    starts: Sequence[int] | None = getattr(scheduler, "step_starts", None)
    order = getattr(scheduler, "order", 1)
    # Schedulers of diffusers evaluate the model `order` times a step, but for the last one.
    return range(0, steps * order, order) if starts is None else starts


def takes_mask(pipe: Pipeline) -> bool:
    """Whether the U-Net was trained to see the mask: it has channels for it and for the uncovered picture."""
    channels: int = pipe.vae.config.latent_channels
    return pipe.unet.config.in_channels == 2 * channels + 1


def image_processor(run: Run, **options: bool) -> VaeImageProcessor:
    """diffusers' own, from PIL images to tensors and back."""
    from diffusers.image_processor import VaeImageProcessor

    return VaeImageProcessor(vae_scale_factor=run.pipe.vae_scale_factor, **options)


def reseed(run: Run) -> None:
    """Let the run's generators begin anew, so that the first draw is the encoder's, as in diffusers."""
    for generator, seed in zip(run.generators, run.request.seeds, strict=True):
        generator.manual_seed(seed)


def draw_like(noise: Tensor, run: Run) -> Tensor:
    """Unit Gaussian noise, each image's from its own generator."""
    from diffusers.utils.torch_utils import randn_tensor

    drawn: Tensor = randn_tensor(noise.shape, run.generators, noise.device, noise.dtype)
    return drawn
