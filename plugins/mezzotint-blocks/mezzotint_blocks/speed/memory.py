"""Less memory at once: attention in slices of rows, the decoder in tiles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mezzotint import Extension, Field, hookimpl
from mezzotint.errors import RequestError

if TYPE_CHECKING:
    from mezzotint import Block, Pipeline, Run
    from torch import Tensor


OVERLAP = 4
"""A tile shares one part in so many with the next."""


class AttentionSlicing(Extension, name="attention-slicing", conflicts=("openvino",)):
    """Attend for a few rows of the batch at a time. The picture is the same, to rounding of the projections.

    A row is an image and pass. Memory of the attention layers falls with the slice, time rises a little.
    """

    rows: int = Field(1, ge=1, description="rows of the batch at once")

    @hookimpl(at="**.attn*")
    def attention_processor(self, layer: Block, run: Run) -> Sliced:
        """The layer's own processor, asked slice by slice."""
        return Sliced(run.pipe.unet.get_submodule(layer.path).processor, self.rows)


class Sliced:
    """A processor that hands a few rows at a time to another."""

    def __init__(self, processor: Any, rows: int) -> None:
        self._processor = processor
        self._rows = rows

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """The layer's output (rows, tokens, dim)."""
        total = hidden_states.shape[0]
        if self._rows >= total:
            answer: Tensor = self._processor(
                attn, hidden_states, encoder_hidden_states, attention_mask, temb, **kwargs
            )
            return answer
        output = hidden_states.new_empty(hidden_states.shape)
        for first in range(0, total, self._rows):
            part = slice(first, first + self._rows)
            output[part] = self._processor(
                attn,
                *(_rows(tensor, part, total) for tensor in (hidden_states, encoder_hidden_states)),
                _rows(attention_mask, part, total),
                _rows(temb, part, total),
                **kwargs,
            )
        return output


def _rows(tensor: Tensor | None, part: slice, total: int) -> Tensor | None:
    return tensor[part] if tensor is not None and tensor.shape[0] == total else tensor


class VaeTiling(Extension, name="vae-tiling"):
    """Decode, and encode given pictures, in overlapping tiles and image by image, so that large ones fit into memory.

    Pictures no larger than a tile stay whole. Beyond, tiles are blended where they overlap (diffusers'
    tiling), which shifts colours a little: approximate there. One image at a time is exact to rounding.
    """

    tile: int = Field(
        0, ge=0, description="pixels of a tile's side, a multiple of four latents; 0 is the autoencoder's own"
    )
    one_by_one: bool = Field(True, description="decode the images of a batch one after the other")

    @hookimpl
    @contextmanager
    def patch_unet(self, pipe: Pipeline) -> Iterator[None]:
        """Set diffusers' switches of the autoencoder, and set them back; a model of pixels has none.

        Raises:
            RequestError: tiles of this size do not overlap by whole latents, so the picture would get another size.
        """
        vae: Any = pipe.vae
        if not hasattr(vae, "use_tiling"):
            yield
            return
        unit = OVERLAP * pipe.vae_scale_factor
        if self.tile % unit:
            below = self.tile // unit * unit
            raise RequestError(
                f"vae-tiling: tile={self.tile} is no multiple of {unit} pixels, a quarter of which overlaps; take "
                f"{f'{below} or ' if below else ''}{below + unit}"
            )
        names = ("use_tiling", "use_slicing", "tile_sample_min_size", "tile_latent_min_size")
        before = {name: getattr(vae, name) for name in names}
        try:
            vae.use_tiling, vae.use_slicing = True, self.one_by_one
            if self.tile:
                vae.tile_sample_min_size = self.tile
                vae.tile_latent_min_size = self.tile // pipe.vae_scale_factor
            yield
        finally:
            for name, value in before.items():
                setattr(vae, name, value)
