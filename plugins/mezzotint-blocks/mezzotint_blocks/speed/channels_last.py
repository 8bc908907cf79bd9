"""The memory format in which convolutions read the channels of one pixel side by side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mezzotint import Extension, Field, hookimpl

if TYPE_CHECKING:
    from mezzotint import Pipeline


class ChannelsLast(Extension, name="channels-last"):
    """Store the weights of convolutions channels last. Exact to rounding.

    Pays on GPUs with tensor cores, and on CPUs in bfloat16; on a CPU in float32 take packed-weights.
    """

    vae: bool = Field(True, description="the decoder too")

    @hookimpl(after=["lora", "bf16"])
    @contextmanager
    def patch_unet(self, unet: Any, pipe: Pipeline) -> Iterator[None]:
        """Rearrange 4-D weights, and put the old storage back on leaving."""
        import torch

        models = (unet, pipe.vae) if self.vae else (unet,)
        weights = [p for model in models for p in model.parameters() if p.dim() == 4]
        before = [weight.data for weight in weights]
        try:
            for weight in weights:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
            yield
        finally:
            for weight, data in zip(weights, before, strict=True):
                weight.data = data
