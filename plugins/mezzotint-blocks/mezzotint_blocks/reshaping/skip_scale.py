"""Skip connections times a factor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mezzotint import Block, Extension, Field, Run, hookimpl
from mezzotint.errors import PlanError

from ..several import Several
from ..steps import End, Start, within

if TYPE_CHECKING:
    from torch import Tensor


class SkipScale(Extension, name="skip-scale"):
    """Scale the skip connections: less of them loosens detail and layout, more fixes them."""

    scale: float = Field(0.9, ge=0, description="factor; 1 changes nothing")
    blocks: Several = Field(("up.*",), description="decoder blocks, such as up.0 or up.*.resnets.1")
    start: Start = 0.0
    end: End = 1.0

    @hookimpl(after="freeu", at=lambda self: self.blocks)
    def unet_block_input(
        self, block: Block, hidden_states: Tensor, skips: tuple[Tensor, ...], run: Run
    ) -> tuple[Tensor, tuple[Tensor, ...]] | None:
        """Before backbone and skip connections are concatenated."""
        if not skips:
            raise PlanError(
                f"skip-scale: no skip connection enters {block}; name decoder blocks, such as up.0"
            )
        if not within(run, self.start, self.end) or self.scale == 1:
            return None
        return hidden_states, tuple(skip * self.scale for skip in skips)
