"""How wide the text embeddings are that a U-Net takes."""

from __future__ import annotations

from typing import Any


def text_width(config: Any) -> int:
    """Last dimension of `encoder_hidden_states`: what is projected to `cross_attention_dim`, where anything is.

    A U-Net with `encoder_hid_dim_type="text_proj"` (DeepFloyd IF) has a linear layer in front of its attention.
    """
    if config.encoder_hid_dim is not None and config.encoder_hid_dim_type in ("text_proj", "text_image_proj"):
        return int(config.encoder_hid_dim)
    width: int = config.cross_attention_dim
    return width
