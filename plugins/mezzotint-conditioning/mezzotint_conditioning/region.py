"""The extension `region`: another prompt in a part of the picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mezzotint import AttentionTokens, Extension, Field, hookimpl
from mezzotint.errors import RequestError
from mezzotint.pictures import Picture, open_picture

if TYPE_CHECKING:
    from mezzotint import Block, Pipeline, Run
    from torch import Tensor
    from torch.nn import Module


class Region(Extension, name="region"):
    """Attend to another prompt in a part of the picture, and to the run's own elsewhere; one for each part.

    In every cross-attention layer the result is (1 − Σ mᵣ) text + Σ mᵣ textᵣ, with the masks mᵣ at the layer's
    resolution, scaled down where those of several regions add up to more than 1. The negative prompt is for the
    whole picture.
    """

    prompt: str = Field(description="what is there")
    mask: Picture = Field(
        description="where: white in a picture of any size; grey is partly, black and transparent not"
    )
    weight: float = Field(
        1.0, ge=0, le=1, description="share of this prompt there; the rest is the run's own"
    )

    @hookimpl
    @contextmanager
    def patch_unet(self, unet: Module, pipe: Pipeline) -> Iterator[None]:
        """Open the mask before anything runs; the U-Net itself is not changed."""
        open_picture(self.mask, "mask")
        yield

    @hookimpl
    def cross_attention_tokens(self, layer: Block, run: Run) -> list[AttentionTokens]:
        """The region's own keys and values; the first region also takes away what the text gives there."""
        regions = [use.extension for use in run.plan.uses if isinstance(use.extension, Region)]
        shared = run.state(regions[0], lambda: _Regions(regions, run))
        # Not by equality: the same region twice is two.
        return shared.tokens(next(i for i, region in enumerate(regions) if region is self), layer)


class _Regions:
    """All regions of a run: masks that go together, and keys and values for each layer."""

    def __init__(self, regions: list[Region], run: Run) -> None:
        from .masks import open_mask

        self._run = run
        self._texts = [run.encode([region.prompt]).embeddings for region in regions]
        masks = [open_mask(region.mask, run, binary=False) * region.weight for region in regions]
        total = sum(masks[1:], masks[0]).clamp(min=1)
        self._masks = [mask / total for mask in masks]
        self._at_layer: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}

    def tokens(self, index: int, layer: Block) -> list[AttentionTokens]:
        attn = self._run.pipe.unet.get_submodule(layer.path)
        if layer.path not in self._at_layer:
            self._at_layer[layer.path] = [self._project(attn, i, layer) for i in range(len(self._texts))]
        parts = self._at_layer[layer.path]
        rows = self._rows()
        key, value, mask = parts[index]
        found = [AttentionTokens(key, value, mask=rows * mask)]
        if index == 0:
            taken = sum((mask for _, _, mask in parts[1:]), parts[0][2])
            found.append(AttentionTokens(*self._own(attn), scale=-1.0, mask=rows * taken))
        return found

    def _project(self, attn: Module, index: int, layer: Block) -> tuple[Tensor, Tensor, Tensor]:
        from .masks import at_layer

        key, value = _key_value(attn, self._texts[index])
        return key, value, at_layer(self._masks[index], layer, self._run).clamp(0, 1)

    def _own(self, attn: Module) -> tuple[Tensor, Tensor]:
        """What the layer's text gives, computed as the layer does, so that nothing of it is left where mᵣ is 1."""
        conditioning = self._run.conditioning
        if conditioning is None or conditioning.attention_mask is not None:
            raise RequestError("region does not go with a mask over the text's tokens (t5 with mask_padding)")
        return _key_value(attn, conditioning.embeddings)

    def _rows(self) -> Tensor:
        """1 for rows with the prompt, 0 for others, (p * n, 1, 1)."""
        import torch

        passes = torch.tensor([float(p.conditioning == "positive") for p in self._run.passes])
        return (
            passes.repeat_interleave(self._run.n)
            .view(-1, 1, 1)
            .to(self._run.pipe.device, self._run.pipe.dtype)
        )


def _key_value(attn: Module, embeddings: Tensor) -> tuple[Tensor, Tensor]:
    if attn.norm_cross:
        embeddings = attn.norm_encoder_hidden_states(embeddings)
    return attn.to_k(embeddings), attn.to_v(embeddings)
