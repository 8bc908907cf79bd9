"""Whether a network was made for a U-Net, said in words that people know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mezzotint.errors import ModelError

FAMILIES = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "SDXL"}
"""Width of the text embeddings → what that usually is."""


def family(cross_attention_dim: object) -> str:
    """`768 (Stable Diffusion 1.x)`."""
    known = FAMILIES.get(cross_attention_dim) if isinstance(cross_attention_dim, int) else None
    return f"{cross_attention_dim} ({known})" if known else str(cross_attention_dim)


def check_same_shape(
    where: str, network: Mapping[str, Any], unet: Mapping[str, Any], skip: tuple[str, ...] = ()
) -> None:
    """Compare what a ControlNet's configuration shares with the U-Net's.

    Raises:
        ModelError: the first difference, with both values.
    """
    for key, meaning in _SHARED.items():
        theirs, ours = _plain(network.get(key)), _plain(unet.get(key))
        if key in skip or key not in network or theirs == ours:
            continue
        if key == "cross_attention_dim":
            theirs, ours = family(theirs), family(ours)
        raise ModelError(
            f"{where} is for another U-Net: its {meaning} ({key}) is {theirs}, this U-Net's {ours}"
        )


_SHARED = {
    "cross_attention_dim": "width of text embeddings",
    "block_out_channels": "channels of each block",
    "layers_per_block": "layers of a block",
    "addition_embed_type": "kind of added conditions",
    "projection_class_embeddings_input_dim": "width of added conditions",
}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
