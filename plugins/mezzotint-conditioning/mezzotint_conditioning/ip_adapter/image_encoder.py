"""The CLIP image encoder of an IP-Adapter: a folder with a `CLIPVisionModelWithProjection`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.errors import ModelError

from ..pretrained import open_pretrained

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImageEncoder:
    """CLIP's vision model and what makes pictures into its pixels."""

    model: Any
    processor: Any
    folder: Path

    def embed(self, pictures: Sequence[Image], from_patches: bool) -> tuple[Tensor, Tensor]:
        """Embeddings of pictures and of none, each (pictures, width) or from patches (pictures, patches, width).

        As `StableDiffusionPipeline.encode_image` of diffusers: no picture is zeros, or the encoding of black.
        """
        import torch

        pixels = self.processor(list(pictures), return_tensors="pt").pixel_values
        pixels = pixels.to(self.model.device, self.model.dtype)
        if not from_patches:
            embeddings = self.model(pixels).image_embeds
            return embeddings, torch.zeros_like(embeddings)
        positive, negative = (
            self.model(each, output_hidden_states=True).hidden_states[-2]
            for each in (pixels, torch.zeros_like(pixels))
        )
        return positive, negative

    def check_width(self, width: int, from_patches: bool, path: Path) -> None:
        """Stop before an adapter gets embeddings of another encoder.

        Raises:
            ModelError: this encoder's embeddings are not `width` wide.
        """
        config = self.model.config
        own = config.hidden_size if from_patches else config.projection_dim
        if own != width:
            raise ModelError(
                f"{path} takes image embeddings of width {width}; {self.folder} makes {own}: it is the image encoder "
                "of another adapter"
            )


def open_image_encoder(folder: Path, device: torch.device, dtype: torch.dtype) -> ImageEncoder:
    """Open the encoder in a folder.

    Raises:
        ModelError: it is missing, of another kind or damaged.
    """
    from transformers import CLIPVisionModelWithProjection
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    model = open_pretrained(folder, CLIPVisionModelWithProjection, "the image encoder", dtype).to(device)
    size = model.config.image_size
    return ImageEncoder(model, CLIPImageProcessorPil(size=size, crop_size=size), folder)
