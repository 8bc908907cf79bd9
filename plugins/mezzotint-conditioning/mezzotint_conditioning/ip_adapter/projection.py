"""From an image's embedding to tokens: the `image_proj.*` part of an IP-Adapter file, as modules of diffusers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

HEAD_DIM = 64
"""Of the resampler's attention; the files do not say it."""

_PLAIN = ((r"^proj\.", "image_embeds."),)
_FULL = ((r"^proj\.0\.", "ff.net.0.proj."), (r"^proj\.2\.", "ff.net.2."), (r"^proj\.3\.", "norm."))
_RESAMPLER = (
    (r"^(layers\.\d+)\.0\.norm1\.", r"\1.ln0."),
    (r"^(layers\.\d+)\.0\.norm2\.", r"\1.ln1."),
    (r"^(layers\.\d+)\.0\.to_q\.", r"\1.attn.to_q."),
    (r"^(layers\.\d+)\.0\.to_out\.", r"\1.attn.to_out.0."),
    (r"^(layers\.\d+)\.1\.0\.", r"\1.ff.0."),
    (r"^(layers\.\d+)\.1\.1\.", r"\1.ff.1.net.0.proj."),
    (r"^(layers\.\d+)\.1\.3\.", r"\1.ff.1.net.2."),
)
"""Names in the published files (tencent-ailab/IP-Adapter, `resampler.py`) → names in diffusers."""


@dataclass(frozen=True, eq=False)
class ImageProjection:
    """How an image becomes tokens."""

    module: Module
    from_patches: bool
    """Whether it takes the image encoder's hidden states (last but one), one a patch, or the pooled embedding."""
    image_width: int
    """Width of what it takes."""
    token_width: int
    """Width of the tokens, which the layers' keys and values are made from."""


def make_projection(tensors: Mapping[str, Tensor], path: Path) -> ImageProjection:
    """The projection that a file holds: plain, full (every patch) or plus (a resampler).

    Raises:
        ModelError: it is of another kind, or tensors are missing, unknown or of another shape.
    """
    if "perceiver_resampler.proj_in.weight" in tensors or (
        "norm.weight" in tensors and "proj.0.weight" in tensors
    ):
        raise ModelError(
            f"{path} is an IP-Adapter FaceID, which needs embeddings of a face recogniser; plain, full and plus "
            "adapters are supported"
        )
    from diffusers.models.embeddings import (
        ImageProjection as Plain,
    )
    from diffusers.models.embeddings import (
        IPAdapterFullImageProjection,
        IPAdapterPlusImageProjection,
    )

    try:
        if "proj.weight" in tensors:
            rows, image_width = tensors["proj.weight"].shape
            width = len(tensors["norm.weight"])
            module: Module = Plain(image_width, width, rows // width)
            return _filled(module, tensors, _PLAIN, path, False, image_width, width)
        if "proj.3.weight" in tensors:
            image_width, width = tensors["proj.0.weight"].shape[1], len(tensors["proj.3.weight"])
            module = IPAdapterFullImageProjection(image_width, width)
            return _filled(module, tensors, _FULL, path, True, image_width, width)
        if "latents" in tensors:
            hidden, image_width = tensors["proj_in.weight"].shape
            width = tensors["proj_out.weight"].shape[0]
            module = IPAdapterPlusImageProjection(
                embed_dims=image_width,
                output_dims=width,
                hidden_dims=hidden,
                depth=1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers.")),
                heads=tensors["layers.0.0.to_q.weight"].shape[0] // HEAD_DIM,
                num_queries=tensors["latents"].shape[1],
                ffn_ratio=tensors["layers.0.1.1.weight"].shape[0] / hidden,
            )
            return _filled(module, _split_key_values(tensors), _RESAMPLER, path, True, image_width, width)
    except (KeyError, IndexError, ValueError) as error:
        raise ModelError(f"{path}: the image projection is incomplete: {error}") from None
    raise ModelError(f"{path} holds no image projection that is known: {', '.join(sorted(tensors)[:3])} …")


def _split_key_values(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    split: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        layer, found, rest = name.partition(".0.to_kv.")
        if found:
            for part, half in zip(("to_k", "to_v"), tensor.chunk(2), strict=True):
                split[f"{layer}.attn.{part}.{rest}"] = half
        else:
            split[name] = tensor
    return split


def _filled(
    module: Module,
    tensors: Mapping[str, Tensor],
    names: tuple[tuple[str, str], ...],
    path: Path,
    from_patches: bool,
    image_width: int,
    token_width: int,
) -> ImageProjection:
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    wrong = [
        f"{name} {tuple(renamed[name].shape) if name in renamed else 'missing'}, expected {expected.get(name, 'nothing')}"
        for name in sorted(expected.keys() | renamed.keys())
        if name not in renamed or expected.get(name) != tuple(renamed[name].shape)
    ]
    if wrong:
        raise ModelError(f"{path}: the image projection does not fit: {wrong[0]} ({len(wrong)} in all)")
    # The file's own memory, as in diffusers: equal numbers at another alignment are rounded otherwise by the BLAS.
    module.load_state_dict(renamed, assign=True)
    return ImageProjection(module.eval().requires_grad_(False), from_patches, image_width, token_width)
