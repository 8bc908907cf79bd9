"""What both extensions share: a picture, how it is made to fit, and how much of it is drawn anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mezzotint import Extension, Field, hookimpl
from mezzotint.errors import RequestError
from mezzotint.pictures import PictureForEach, one_for_each_image, open_picture

if TYPE_CHECKING:
    from diffusers.image_processor import VaeImageProcessor
    from mezzotint import Run
    from PIL.Image import Image
    from torch import Tensor

Resize = Literal["just", "crop", "fill"]
MODES = {"just": "default", "crop": "crop", "fill": "fill"}
"""What `VaeImageProcessor` of diffusers calls them."""


class GivenPicture(Extension):
    """Base: options of a picture that a run starts from, and its last part of the interval."""

    image: PictureForEach = Field(description="picture to start from, or one for each image of the run")
    strength: float = Field(0.8, gt=0, le=1, description="share of the steps that is run")
    resize: Resize = Field(
        "crop", description="how the picture fits the run's size: just stretch, crop to cover, fill around"
    )

    @hookimpl
    def timesteps(self, timesteps: Tensor, scheduler: Any, run: Run) -> Tensor:
        """The last part of the interval (Meng et al. 2022, "SDEdit"), cut where diffusers cuts it."""
        steps = run.request.steps
        kept = min(int(steps * self.strength), steps)
        if not kept:
            raise RequestError(
                f"{self.extension_name}: strength={self.strength:g} leaves none of {steps} steps; "
                f"give more steps, or a strength of at least {1 / steps:.2g}"
            )
        left = timesteps[(steps - kept) * getattr(scheduler, "order", 1) :]
        run.state(self, Kept).timesteps = left
        return left

    def timestep(self, index: int, run: Run) -> Tensor:
        """The timestep of a step of the loop, (1,).

        Raises:
            RequestError: another extension changed the interval after this one.
        """
        timesteps = run.state(self, Kept).timesteps
        if timesteps is None or (run.step is not None and run.step.count != len(timesteps)):
            raise RequestError(
                f"{self.extension_name} does not go with an extension that changes the interval after it"
            )
        return timesteps[index : index + 1]

    def pictures(self, option: str, run: Run, background: str = "white") -> list[Image]:
        """Pictures of the size of the run's images, one for each.

        Args:
            option: which of the extension's.
            background: where they are transparent.

        Raises:
            RequestError: a picture cannot be used, or their number does not fit.
        """
        given, what = getattr(self, option), f"{self.extension_name}: {option}"
        width, height = run.request.size
        processor, mode = image_processor(run), MODES[self.resize]
        fitted = [
            processor.resize(open_picture(each, what, background), height, width, resize_mode=mode)
            for each in (given if isinstance(given, list) else [given])
        ]
        each = one_for_each_image(fitted, run, what)
        return each if len(each) == run.n else each * run.n


@dataclass(eq=False)
class Kept:
    """What one run of one extension remembers from hook to hook."""

    timesteps: Tensor | None = None
    """All that the loop visits."""
    painting: Any = None
    """What `inpaint` puts back, or tells the U-Net."""


def image_processor(run: Run, **options: bool) -> VaeImageProcessor:
    """diffusers' own, from PIL images to tensors and back."""
    from diffusers.image_processor import VaeImageProcessor

    return VaeImageProcessor(vae_scale_factor=run.pipe.vae_scale_factor, **options)


def start_over(run: Run) -> None:
    """Let the run's generators begin anew, so that the first draw is the encoder's, as in diffusers."""
    for generator, seed in zip(run.generators, run.request.seeds, strict=True):
        generator.manual_seed(seed)


def draw_like(noise: Tensor, run: Run) -> Tensor:
    """Unit Gaussian noise, each image's from its own generator."""
    from diffusers.utils.torch_utils import randn_tensor

    drawn: Tensor = randn_tensor(noise.shape, run.generators, noise.device, noise.dtype)
    return drawn
