"""What every extension here shares: a network, a control picture, a strength, a window, a region."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint import Extension, Field
from mezzotint.errors import RequestError
from mezzotint.pictures import OptionalPicture, PictureForEach, one_for_each_image, open_picture
from pydantic import model_validator

from .preprocess import parse_preprocessor, preprocess
from .resize import ResizeMode, resize_map, resize_picture, scaled_size
from .window import Window, active_steps, is_active

if TYPE_CHECKING:
    from mezzotint import Run
    from PIL.Image import Image
    from torch import Tensor

logger = logging.getLogger("mezzotint.controlnet")


class ImageControl(Extension):
    """Base: options that do not depend on the kind of network, and the way from a picture to a tensor."""

    model: Path = Field(
        description="network: diffusers folder, .safetensors file, or a plugin's model by name"
    )
    image: PictureForEach = Field(description="control picture, or one for each image of the run")
    scale: float = Field(1.0, description="strength; 0 switches it off")
    start: float = Field(0.0, ge=0, le=1, description="fraction of the run at which it begins")
    end: float = Field(1.0, ge=0, le=1, description="fraction of the run at which it ends")
    window: Window = Field(
        "diffusers", description="a step counts if it lies in the window (diffusers) or begins in it (webui)"
    )
    resize: ResizeMode = Field(
        "just", description="how the map fits the picture: just stretch, crop to cover, fill around"
    )
    mask: OptionalPicture = Field(
        None, description="region in white, black or transparent elsewhere; stretched to the picture"
    )
    preprocess: str = Field(
        "none", description="what makes the map of the picture: canny, canny(low=50, high=120), …"
    )

    @model_validator(mode="after")
    def _options_fit_together(self) -> ImageControl:
        if self.start > self.end:
            raise ValueError(f"start must not be after end, got {self.start} and {self.end}")
        parse_preprocessor(self.preprocess)
        return self

    def acts(self, run: Run) -> bool:
        """Whether the network is to be called at this step."""
        step = run.step
        if step is None or self.scale == 0:
            return False
        if step.index == 0 and not active_steps(step.count, self.start, self.end, self.window):
            logger.warning(
                "%s selects none of %d steps: start=%g, end=%g in the %s convention",
                self.extension_name,
                step.count,
                self.start,
                self.end,
                self.window,
            )
        return is_active(step.index, step.count, self.start, self.end, self.window)

    def control_maps(self, run: Run, picture: Any, what: str = "image") -> list[Image]:
        """Control maps of the run's size: one, or one for each image of the run.

        Raises:
            RequestError: a picture cannot be used, or their number does not fit.
        """
        name, options = parse_preprocessor(self.preprocess)
        maps = []
        for each in _as_list(picture):
            opened = open_picture(each, f"{self.extension_name}: {what}")
            if name != "none":
                # At the size of the run, as in training: the edges of a larger picture are others.
                opened = resize_picture(opened, scaled_size(opened.size, run.request.size, self.resize))
            control = preprocess(run.pipe.registry, name, opened, options)
            maps.append(resize_map(control, run.request.size, self.resize))
        return one_for_each_image(maps, run, self.extension_name)

    def region(self, run: Run) -> Tensor | None:
        """The mask (1, 1, height, width) from 0 to 1, on the pipeline's device, or none."""
        if self.mask is None:
            return None
        opened = open_picture(self.mask, f"{self.extension_name}: mask", background="black")
        return to_tensor([opened.resize(run.request.size)], 1, run)


def _as_list(picture: Any) -> list[Any]:
    return picture if isinstance(picture, list) else [picture]


def to_tensor(maps: list[Image], channels: int, run: Run) -> Tensor:
    """Maps as the networks take them: (rows, channels, height, width) from 0 to 1, in the pipeline's dtype.

    Raises:
        RequestError: a network wants neither 1 nor 3 channels.
    """
    import numpy as np
    import torch

    if channels not in (1, 3):
        raise RequestError(f"the network takes control pictures of {channels} channels; pictures have 1 or 3")
    mode = "RGB" if channels == 3 else "L"
    pixels = np.stack([np.asarray(each.convert(mode), np.float32) / 255.0 for each in maps])
    # Channels stay last in memory, as in the adapter pipelines of diffusers: torch's convolution goes by that.
    tensor = torch.from_numpy(pixels.reshape(*pixels.shape[:3], channels)).permute(0, 3, 1, 2)
    return tensor.to(run.pipe.device, run.pipe.dtype)
