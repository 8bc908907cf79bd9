"""What a U-Net is told beside the text's embeddings: `added_cond_kwargs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..hooks.conditioning import Conditioning

SIZE_NUMBERS = 6
"""Of `time_ids`: original height and width, top and left of the crop, target height and width."""


def needs_pooled_text(config: Any) -> bool:
    """Whether the U-Net takes `text_embeds` (rows, dim) and `time_ids` (rows, 6), as that of Stable Diffusion XL."""
    return bool(config.addition_embed_type == "text_time")


def with_size(conditioning: Conditioning, config: Any, size: tuple[int, int]) -> Conditioning:
    """The conditioning with `time_ids` of a picture that was never scaled or cropped, for U-Nets that take them.

    `time_ids` (rows, 6) are the original height and width, the top and left of the crop, and the height and width
    of the result, in pixels (Podell et al. 2023, section 2.2). Those that are there already stay.

    Args:
        size: (width, height) of the picture.
    """
    if not needs_pooled_text(config) or "time_ids" in conditioning.added:
        return conditioning
    width, height = size
    ids = conditioning.embeddings.new_tensor([height, width, 0, 0, height, width])
    return conditioning.replace(added={**conditioning.added, "time_ids": ids.repeat(conditioning.rows, 1)})
