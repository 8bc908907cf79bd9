"""An IP-Adapter file: `image_proj.*`, and `ip_adapter.{i}.to_{k,v}_ip.weight` for each cross-attention layer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.errors import ModelError

from ..safetensors_file import read_tensors
from .projection import ImageProjection, make_projection

if TYPE_CHECKING:
    from torch import Tensor

FAMILIES = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
"""What the width of text embeddings says."""
_LAYER = re.compile(r"(\d+)\.to_([kv])_ip\.weight")


@dataclass(frozen=True, eq=False)
class IPAdapterWeights:
    """One adapter, fitted to a U-Net."""

    projection: ImageProjection
    layers: Mapping[str, tuple[Tensor, Tensor]]
    """Weights of keys and values (inner width, token width) by the path of the attention layer."""


def open_adapter(path: Path, unet: Any) -> IPAdapterWeights:
    """Read a file and fit it to the layers of a U-Net; every tensor has its place.

    Raises:
        ModelError: no IP-Adapter, one for another family, or a tensor is missing, unknown or of another shape.
    """
    tensors = read_tensors(path, "IP-Adapter")
    parts: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise ModelError(
                f"{path} is no IP-Adapter: {name} is neither image_proj.… nor ip_adapter.…{_told(tensors)}"
            )
        parts[part][rest] = tensor
    projection = make_projection(parts["image_proj"], path)
    layers = _layers(parts["ip_adapter"], unet, projection, path)
    projection.module.to(unet.device, unet.dtype)
    return IPAdapterWeights(projection, layers)


def cross_attention_layers(unet: Any) -> dict[str, str]:
    """Number in an IP-Adapter file → path of the layer: attention layers are counted in diffusers' order from 0."""
    paths = [name.removesuffix(".processor") for name in unet.attn_processors]
    return {str(number): path for number, path in enumerate(paths) if path.endswith("attn2")}


def _layers(
    tensors: Mapping[str, Tensor], unet: Any, projection: ImageProjection, path: Path
) -> dict[str, tuple[Tensor, Tensor]]:
    wanted = unet.config.cross_attention_dim
    if projection.token_width != wanted:
        raise ModelError(
            f"{path} makes tokens of width {projection.token_width}{_family(projection.token_width)}; "
            f"this U-Net takes {wanted}{_family(wanted)}"
        )
    numbers = cross_attention_layers(unet)
    unknown = [name for name in tensors if (m := _LAYER.fullmatch(name)) is None or m[1] not in numbers]
    missing = [
        f"{i}.to_{part}_ip.weight"
        for i in numbers
        for part in "kv"
        if f"{i}.to_{part}_ip.weight" not in tensors
    ]
    if unknown or missing:
        what = f"has ip_adapter.{unknown[0]}" if unknown else f"lacks ip_adapter.{missing[0]}"
        raise ModelError(
            f"{path} {what}: it is for a U-Net with {len(tensors) // 2} cross-attention layers, this one has "
            f"{len(numbers)}"
        )
    layers = {}
    for number, layer in numbers.items():
        attn = unet.get_submodule(layer)
        pair = []
        for part, own in (("k", attn.to_k), ("v", attn.to_v)):
            tensor, expected = tensors[f"{number}.to_{part}_ip.weight"], (own.out_features, wanted)
            if tuple(tensor.shape) != expected:
                raise ModelError(
                    f"{path}: ip_adapter.{number}.to_{part}_ip.weight has shape {tuple(tensor.shape)}; "
                    f"{layer} of this U-Net takes {expected}"
                )
            pair.append(tensor.to(unet.device, unet.dtype))
        layers[layer] = (pair[0], pair[1])
    return layers


def _family(width: int) -> str:
    return f" ({FAMILIES[width]})" if width in FAMILIES else ""


def _told(tensors: Mapping[str, Tensor]) -> str:
    if any("lora" in name for name in tensors):
        return "; it looks like a LoRA"
    return "; it looks like a textual inversion" if len(tensors) <= 2 else ""
