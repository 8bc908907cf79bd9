"""The extension `size-conditioning`: which sizes Stable Diffusion XL is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mezzotint import Conditioning, Extension, Field, hookimpl
from mezzotint.errors import RequestError
from pydantic import NonNegativeInt, PositiveInt

if TYPE_CHECKING:
    from mezzotint import Pass, Run

Size = Annotated[tuple[PositiveInt, PositiveInt], "width and height in pixels"]
Corner = Annotated[tuple[NonNegativeInt, NonNegativeInt], "left and top in pixels"]


class SizeConditioning(Extension, name="size-conditioning"):
    """Tell Stable Diffusion XL other sizes than the picture's own: it learned how scaled and cropped pictures look.

    A small original looks blurred, a crop away from (0, 0) cut off (Podell et al. 2023, section 2.2). diffusers calls
    them `original_size`, `crops_coords_top_left` and `target_size`, with the height first.
    """

    original: Size | None = Field(
        None, description="(width, height) before scaling; default: that of the picture"
    )
    crop: Corner = Field((0, 0), description="(left, top) of the crop")
    target: Size | None = Field(
        None, description="(width, height) of the result; default: that of the picture"
    )
    negative_original: Size | None = Field(
        None, description="original for the negative prompt; default: as for the prompt"
    )
    negative_crop: Corner | None = Field(
        None, description="crop for the negative prompt; default: as for the prompt"
    )
    negative_target: Size | None = Field(
        None, description="target for the negative prompt; default: as for the prompt"
    )

    @hookimpl
    def conditioning(self, conditioning: Conditioning, pass_: Pass, run: Run) -> Conditioning:
        """Other `time_ids` for the pass."""
        if "time_ids" not in conditioning.added:
            raise RequestError("size-conditioning is for Stable Diffusion XL; this model is told no sizes")
        own = run.request.size
        sizes = (self.original or own, self.crop, self.target or own)
        if pass_.conditioning == "negative":
            other = (self.negative_original, self.negative_crop, self.negative_target)
            sizes = tuple(
                size if theirs is None else theirs for size, theirs in zip(sizes, other, strict=True)
            )
        numbers = [number for first, second in sizes for number in (second, first)]
        ids = conditioning.added["time_ids"].new_tensor(numbers).repeat(conditioning.rows, 1)
        return conditioning.replace(added={**conditioning.added, "time_ids": ids})
