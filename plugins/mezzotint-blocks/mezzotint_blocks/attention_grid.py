"""Which place of the picture an attention token is."""

from __future__ import annotations


def attention_grid(tokens: int, height: int, width: int) -> tuple[int, int]:
    """Height and width of a layer's grid of image tokens.

    Args:
        tokens: queries of the layer.
        height, width: of the latents; each downsampling of the U-Net halves them, rounding up.

    Raises:
        ValueError: no number of halvings gives so many tokens.
    """
    h, w = height, width
    while h * w > tokens and (h > 1 or w > 1):
        h, w = (h + 1) // 2, (w + 1) // 2
    if h * w != tokens:
        raise ValueError(f"{tokens} attention tokens are no halving of {height}×{width} latents")
    return h, w
