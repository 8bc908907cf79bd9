"""Names of U-Net blocks and attention layers, and the patterns that select them.

A name is the module's path with `down_blocks`, `mid_block`, `up_blocks` shortened: `down.0`,
`mid`, `up.2.resnets.1`, `down.0.attentions.0.transformer_blocks.0.attn2`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

STAGES = {"down_blocks": "down", "mid_block": "mid", "up_blocks": "up"}
TOP_LEVEL = ("down.*", "mid", "up.*")
CROSS_ATTENTION = ("**.attn2",)
ATTENTION_POINTS = ("attention_processor", "cross_attention_tokens", "attention_probe")
"""Hook points that fire at attention layers; the others per block fire at blocks."""
_INNER = ("resnets", "attentions", "downsamplers", "upsamplers")


@dataclass(frozen=True)
class Block:
    """A place in the U-Net that hooks can name."""

    name: str
    """Such as `up.1.resnets.0`."""
    path: str
    """The module's path in the U-Net, such as `up_blocks.1.resnets.0`."""
    kind: str
    """`block` (down.i, mid, up.i), `resnet`, `attention` (a transformer), `sampler`, or `attention_layer`."""
    stage: str
    """`down`, `mid` or `up`."""
    index: int
    """Which block of its stage: 0 for `down.0…`, 0 for `mid`."""

    @property
    def is_decoder(self) -> bool:
        """Whether skip connections enter here."""
        return self.stage == "up"

    def __str__(self) -> str:
        return self.name


class BlockOutput(NamedTuple):
    """What a block computes."""

    hidden_states: Tensor
    skips: tuple[Tensor, ...] = ()
    """The skip connections that an encoder block `down.i` hands to the decoder, else empty."""


def find_blocks(unet: Module) -> dict[str, Block]:
    """Every named block of a `UNet2DConditionModel`, in order of execution: stages and what is in them."""
    found = [block for path, _ in unet.named_modules() if (block := _block(path)) is not None]
    return {block.name: block for block in sorted(found, key=_execution)}


def find_attention_layers(unet: Module) -> dict[str, Block]:
    """Every layer with an attention processor, in order of execution."""
    found = []
    for path, module in unet.named_modules():
        parts = path.split(".")
        if hasattr(module, "set_processor") and parts[0] in STAGES:
            found.append(Block(_short(parts), path, "attention_layer", STAGES[parts[0]], _index(parts)))
    return {block.name: block for block in sorted(found, key=_execution)}


def match(pattern: str | Sequence[str], names: Iterable[str]) -> list[str]:
    """The names that any of the patterns selects, in the order of `names`.

    `*` stands for one part of a dotted name, `**` for any number of parts.
    """
    patterns = [_compile(p) for p in ((pattern,) if isinstance(pattern, str) else pattern)]
    return [name for name in names if any(p.fullmatch(name + ".") for p in patterns)]


def _block(path: str) -> Block | None:
    parts = path.split(".")
    stage = STAGES.get(parts[0])
    if stage is None:
        return None
    inside = parts[1:] if stage == "mid" else parts[2:]
    if stage != "mid" and len(parts) < 2:
        return None
    if not inside:
        kind = "block"
    elif len(inside) == 2 and inside[0] in _INNER:
        kind = "sampler" if inside[0].endswith("samplers") else inside[0].removesuffix("s")
    else:
        return None
    return Block(_short(parts), path, kind, stage, _index(parts))


def _execution(block: Block) -> tuple[int, int, int, int]:
    """Sort key: stage, block, then resnet and attention in turn, samplers last."""
    inside = block.name.split(".")[1 if block.stage == "mid" else 2 :]
    position = 10**6 if inside and inside[0].endswith("samplers") else int(inside[1]) if inside else -1
    part = _INNER.index(inside[0]) if inside else -1
    return list(STAGES.values()).index(block.stage), block.index, position, part


def _short(parts: list[str]) -> str:
    return ".".join([STAGES[parts[0]], *parts[1:]])


def _index(parts: list[str]) -> int:
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


@lru_cache(maxsize=256)
def _compile(pattern: str) -> re.Pattern[str]:
    parts = (
        r"(?:[^.]+\.)*" if part == "**" else re.escape(part).replace(r"\*", "[^.]*") + r"\."
        for part in pattern.split(".")
    )
    return re.compile("".join(parts))
