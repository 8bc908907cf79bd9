"""Which blocks of a U-Net are deep: what a step may leave out when it keeps the shallow ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mezzotint.errors import RequestError

PLACES = ("down.*", "mid", "up.*", "*.*.resnets.*", "*.*.attentions.*", "*.*.downsamplers.*")
"""Every block that `deep_blocks` may name."""
EVERYTHING = -1
"""As `branch`: no block is shallow."""


@dataclass(frozen=True)
class DeepBlocks:
    """The deep part of a U-Net, by block name."""

    names: frozenset[str]
    """Outermost deep blocks: a block inside one of them is not listed."""
    first: str
    """The one that is reached first: what enters it comes from shallow blocks alone."""
    steps: int
    """How many resnets, attentions and samplers the deep part has."""


def deep_blocks(unet: Any, branch: int) -> DeepBlocks:
    """What is deep if the first `branch` layers of the encoder are shallow (Ma et al. 2024, section 3.2).

    A layer is a resnet with its attention, or a downsampler. The decoder's layers that take the skip
    connections of `conv_in` and of shallow layers are shallow too. With `branch` 0 that is the last
    layer of the decoder alone; with `EVERYTHING` nothing is shallow but what is outside of the blocks.

    Raises:
        RequestError: the encoder has fewer layers.
    """
    layers = [(block, layer) for block, count in enumerate(_layers(unet)) for layer in range(count)]
    if branch == EVERYTHING:
        names = [name for name, _ in _stages(unet)]
    elif branch < len(layers):
        names = list(_deeper_than(unet, *layers[branch]))
    else:
        raise RequestError(
            f"branch {branch} of a U-Net whose encoder has {len(layers)} layers; 0 to {len(layers) - 1} are possible"
        )
    return DeepBlocks(frozenset(names), names[0], sum(_parts(unet, name) for name in names))


def _layers(unet: Any) -> list[int]:
    """Layers of each encoder block."""
    return [len(block.resnets) + len(block.downsamplers or ()) for block in unet.down_blocks]


def _stages(unet: Any) -> Iterator[tuple[str, int]]:
    """Blocks in the order of execution, with their depth; the decoder mirrors the encoder."""
    count = len(unet.down_blocks)
    yield from ((f"down.{i}", i) for i in range(count))
    if unet.mid_block is not None:
        yield "mid", count
    yield from ((f"up.{i}", len(unet.up_blocks) - 1 - i) for i in range(len(unet.up_blocks)))


def _deeper_than(unet: Any, depth: int, layer: int) -> Iterator[str]:
    """The outermost blocks from a layer of the encoder on to its mirror image in the decoder."""
    for name, at in _stages(unet):
        if at > depth or (at == depth and layer == 0 and name.startswith("down")):
            yield name
        elif at == depth:
            yield from _inside(unet, name, layer)


def _inside(unet: Any, name: str, layer: int) -> Iterator[str]:
    """The deep resnets, attentions and samplers of the block that is shallow in part."""
    stage, _, index = name.partition(".")
    block = (unet.down_blocks if stage == "down" else unet.up_blocks)[int(index)]
    count = len(block.resnets)
    for j in range(count):
        deep = j >= layer if stage == "down" else count - 1 - j > layer
        if deep:
            yield f"{name}.resnets.{j}"
            if getattr(block, "has_cross_attention", False):
                yield f"{name}.attentions.{j}"
    if stage == "down" and block.downsamplers:
        yield f"{name}.downsamplers.0"


def _parts(unet: Any, name: str) -> int:
    """Resnets, attentions and samplers in a block, itself if it is one."""
    path = name.replace("down.", "down_blocks.", 1) if name.startswith("down") else name
    path = path.replace("up.", "up_blocks.", 1) if name.startswith("up") else path
    path = "mid_block" if name == "mid" else path
    block = unet.get_submodule(path)
    inner = [
        len(getattr(block, kind, None) or ())
        for kind in ("resnets", "attentions", "downsamplers", "upsamplers")
    ]
    return sum(inner) or 1
