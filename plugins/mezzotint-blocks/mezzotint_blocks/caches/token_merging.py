"""Token merging: similar tokens of the image are attended as one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mezzotint import Extension, Field, hookimpl, shadowed

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import Module

    from .merging import Merging


class TokenMerging(Extension, name="token-merging"):
    """Merge similar tokens of the image before self-attention and part them after it (Bolya & Hoffman 2023).

    Approximate. A ratio of 0 changes nothing, bit for bit. Pays where self-attention is long: from 512 px on
    with Stable Diffusion 1.x, hardly below. Random choices follow the timestep and `seed` alone, so that
    a run can be repeated, and are the same for every image of a batch.
    """

    ratio: float = Field(0.5, ge=0, le=0.75, description="part of the tokens that is merged; 0 is off")
    deepest: int = Field(1, ge=1, description="merge at resolutions down to 1/N of the latents'")
    stride: int = Field(2, ge=2, description="one token of each N×N stays to be merged into")
    random: bool = Field(True, description="choose that token at random, else the first")
    cross_attention: bool = Field(False, description="merge for cross-attention too")
    feed_forward: bool = Field(False, description="merge for the feed-forward layers too")
    seed: int = Field(0, ge=0, description="of the random choices")

    @hookimpl(after=["lora", "text-kv"])
    @contextmanager
    def patch_unet(self, unet: Any) -> Iterator[None]:
        """Put merging and parting around the layers of every transformer block."""
        with ExitStack() as stack:
            if self.ratio:
                step = _Step(self)
                stack.enter_context(shadowed(unet, _noting_step(unet.forward, step)))
                for module in unet.modules():
                    if type(module).__name__ == "BasicTransformerBlock":
                        self._around(module, step, stack)
            yield

    def _around(self, block: Any, step: _Step, stack: ExitStack) -> None:
        inside = _Inside()
        parts = [block.attn1]
        parts += [block.attn2] if self.cross_attention and block.attn2 is not None else []
        parts += [block.ff] if self.feed_forward else []
        for part in parts:
            stack.enter_context(shadowed(part, _merged(part, inside)))
        stack.enter_context(shadowed(block, _matching(block.forward, step, inside)))


@dataclass(eq=False)
class _Step:
    """What the evaluation that is under way is about."""

    options: TokenMerging
    size: tuple[int, int] = (0, 0)
    """Height and width of the latents."""
    generator: torch.Generator | None = None

    def begin(self, sample: Tensor, timestep: Any) -> None:
        import torch

        self.size = (int(sample.shape[2]), int(sample.shape[3]))
        # Odd batches hold no pairs of passes, and passes that merge differently leave traces (tomesd).
        if self.options.random and sample.shape[0] % 2 == 0:
            seed = self.options.seed * 1_000_003 + round(float(timestep) * 1000)
            self.generator = torch.Generator().manual_seed(seed % 2**63)
        else:
            self.generator = None

    def match(self, hidden_states: Tensor) -> Merging | None:
        """How the tokens (rows, tokens, dim) that enter a block are merged; `None` where the block is too deep."""
        from .merging import match_tokens

        height, width = self.size
        tokens = hidden_states.shape[1]
        down = math.ceil(math.sqrt(height * width // tokens))
        count = int(tokens * self.options.ratio)
        if down > self.options.deepest or not count:
            return None
        return match_tokens(
            hidden_states,
            math.ceil(height / down),
            math.ceil(width / down),
            self.options.stride,
            count,
            self.generator,
        )


@dataclass(eq=False)
class _Inside:
    """The merging of the transformer block that is under way."""

    merging: Merging | None = field(default=None)


def _noting_step(forward: Callable[..., Any], step: _Step) -> Callable[..., Any]:
    def unet_forward(sample: Tensor, timestep: Any, *args: Any, **kwargs: Any) -> Any:
        step.begin(sample, timestep)
        return forward(sample, timestep, *args, **kwargs)

    return unet_forward


def _matching(forward: Callable[..., Any], step: _Step, inside: _Inside) -> Callable[..., Any]:
    def block_forward(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        inside.merging = step.match(hidden_states)
        try:
            return forward(hidden_states, *args, **kwargs)
        finally:
            inside.merging = None

    return block_forward


def _merged(part: Module, inside: _Inside) -> Callable[..., Any]:
    forward = part.forward

    def part_forward(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        merging = inside.merging
        if merging is None:
            return forward(hidden_states, *args, **kwargs)
        return merging.unmerge(forward(merging.merge(hidden_states), *args, **kwargs))

    return part_forward
