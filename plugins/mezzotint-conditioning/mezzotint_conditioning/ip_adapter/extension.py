"""The extension `ip-adapter`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mezzotint import AttentionTokens, Extension, Field, hookimpl
from mezzotint.errors import RequestError
from mezzotint.hashing import hash_options
from mezzotint.hooks.blocks import match
from mezzotint.pictures import OptionalPictures, Pictures, open_picture
from pydantic import model_validator

if TYPE_CHECKING:
    from mezzotint import Block, Pipeline, Run
    from torch import Tensor
    from torch.nn import Module

    from .image_encoder import ImageEncoder
    from .weights import IPAdapterWeights


logger = logging.getLogger("mezzotint")


class IPAdapter(Extension, name="ip-adapter"):
    """Use an image as a prompt beside the text (Ye et al. 2023).

    Equal bit for bit to `load_ip_adapter` of diffusers' pipelines. Several adapters add up; several images of one
    are attended to together, or with a mask each, apart.
    """

    file: Path = Field(description="safetensors file with image_proj.* and ip_adapter.*")
    image: Pictures = Field(description="the picture to follow, or several")
    scale: float = Field(1.0, description="how strongly; 0 is not there at all")
    mask: OptionalPictures = Field(
        None,
        description="where in the image it counts (white, not black or transparent): one picture, or one for each image",
    )
    encoder: Path | None = Field(
        None, description="folder of the CLIP image encoder; default: image_encoder beside the file"
    )
    scales: Mapping[str, float] = Field(
        default_factory=dict,
        description="factor for each block by pattern, such as up.0 or mid; blocks that none names are left out",
    )
    start: float = Field(0.0, ge=0, le=1, description="fraction of the steps from which it acts")
    end: float = Field(1.0, ge=0, le=1, description="fraction of the steps before which it stops")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"start {self.start:g} is not before end {self.end:g}, so it would never act")
        if self.mask is not None and len(self.mask) not in (1, len(self.image)):
            raise ValueError(f"{len(self.mask)} masks for {len(self.image)} images; give one, or one each")
        return self

    def files(self) -> dict[str, str]:
        """SHA-256 of the adapter, its image encoder, and each picture and mask that is a file."""
        return hash_options({**dict(self), "encoder": self._encoder_folder()})

    def patterns(self) -> Sequence[str]:
        """The cross-attention layers that it acts at."""
        return [_layers_of(pattern) for pattern in self.scales] or ["**.attn2"]

    @hookimpl
    @contextmanager
    def patch_unet(self, unet: Module, pipe: Pipeline) -> Iterator[None]:
        """Open the files before anything runs; the U-Net itself is not changed."""
        self._weights(pipe)
        self._image_encoder(pipe)
        for what, pictures in (("image", self.image), ("mask", self.mask or ())):
            for each in pictures:
                open_picture(each, what)
        yield

    @hookimpl
    def step_begin(self, run: Run) -> None:
        """Say at the first step if none comes at which it acts."""
        step = run.step
        assert step is not None
        if step.index == 0 and not any(
            self.start <= index / step.count < self.end for index in range(step.count)
        ):
            logger.warning(
                "ip-adapter acts at none of %d steps: start=%g, end=%g", step.count, self.start, self.end
            )

    @hookimpl(at=lambda self: self.patterns())
    def cross_attention_tokens(self, layer: Block, run: Run) -> list[AttentionTokens] | None:
        """Keys and values of the image's tokens."""
        scale = self._scale_at(layer)
        if scale == 0 or run.step is None or not self.start <= run.step.fraction < self.end:
            return None
        return run.state(self, lambda: _Tokens(self, run)).at(layer, scale)

    def _scale_at(self, layer: Block) -> float:
        factors = [
            factor for pattern, factor in self.scales.items() if match(_layers_of(pattern), [layer.name])
        ]
        return self.scale * (factors[0] if factors else 1.0)

    def _encoder_folder(self) -> Path:
        return self.encoder or self.file.parent / "image_encoder"

    def _weights(self, pipe: Pipeline) -> IPAdapterWeights:
        from .weights import open_adapter

        key = ("ip-adapter", self.files().get("file"), str(self.file))
        return pipe.resource(key, lambda: open_adapter(self.file, pipe.unet))

    def _image_encoder(self, pipe: Pipeline) -> ImageEncoder:
        from .image_encoder import open_image_encoder

        folder = self._encoder_folder()
        if self.encoder is None and not folder.is_dir():
            raise RequestError(
                f"ip-adapter: there is no image encoder in {folder}; say where it is with encoder= (--ip-adapter-encoder)"
            )
        key = ("image encoder", self.files().get("encoder"), str(folder))
        encoder = pipe.resource(key, lambda: open_image_encoder(folder, pipe.device, pipe.dtype))
        projection = self._weights(pipe).projection
        encoder.check_width(projection.image_width, projection.from_patches, self.file)
        return encoder


class _Tokens:
    """An adapter's tokens during one run: encoded once, projected once for each layer and set of passes."""

    def __init__(self, adapter: IPAdapter, run: Run) -> None:
        self._run = run
        self._weights = adapter._weights(run.pipe)
        pictures = [open_picture(each, "image") for each in adapter.image]
        positive, negative = adapter._image_encoder(run.pipe).embed(
            pictures, self._weights.projection.from_patches
        )
        self._embeddings = {"positive": positive, "negative": negative}
        self._masks = self._open_masks(adapter)
        self._tokens: dict[tuple[str, ...], Tensor] = {}
        self._projected: dict[tuple[str, tuple[str, ...]], list[tuple[Tensor, Tensor, Tensor | None]]] = {}

    def at(self, layer: Block, scale: float) -> list[AttentionTokens]:
        """Keys and values for a layer and the passes of this step: one set, or with masks one an image."""
        passes = tuple(pass_.conditioning for pass_ in self._run.passes)
        key = (layer.path, passes)
        if key not in self._projected:
            self._projected[key] = self._project(layer, passes)
        return [AttentionTokens(k, v, scale, mask) for k, v, mask in self._projected[key]]

    def _open_masks(self, adapter: IPAdapter) -> list[Tensor]:
        from ..masks import open_mask

        if adapter.mask is None:
            return []
        masks = [open_mask(each, self._run, binary=True) for each in adapter.mask]
        return masks * (len(adapter.image) if len(masks) == 1 else 1)

    def _project(self, layer: Block, passes: tuple[str, ...]) -> list[tuple[Tensor, Tensor, Tensor | None]]:
        from torch.nn.functional import linear

        from ..masks import at_layer

        tokens = self._rows(passes)
        to_key, to_value = self._weights.layers[layer.path]
        if not self._masks:
            key, value = (linear(tokens, weight).flatten(1, 2) for weight in (to_key, to_value))
            return [(key, value, None)]
        return [
            (linear(tokens[:, i], to_key), linear(tokens[:, i], to_value), at_layer(mask, layer, self._run))
            for i, mask in enumerate(self._masks)
        ]

    def _rows(self, passes: tuple[str, ...]) -> Tensor:
        """Tokens (p * n, images, tokens, width) of the passes."""
        import torch

        if passes not in self._tokens:
            rows = torch.cat([self._embeddings[name][None] for name in passes for _ in range(self._run.n)])
            flat = rows.flatten(0, 1)
            module = self._weights.projection.module
            tokens = module(flat.to(next(module.parameters()).dtype))
            self._tokens[passes] = tokens.unflatten(0, rows.shape[:2])
        return self._tokens[passes]


def _layers_of(pattern: str) -> str:
    return pattern if pattern.endswith("attn2") else f"{pattern}.**.attn2"
