"""The extension `blend`: on the way from one prompt to another."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from mezzotint import Conditioning, Extension, Field, hookimpl
from mezzotint.errors import RequestError

from .interpolation import Interpolation

if TYPE_CHECKING:
    from mezzotint import Pass, Run
    from torch import Tensor


class Along(StrEnum):
    """What the amount grows with."""

    IMAGES = "images"
    STEPS = "steps"


class Blend(Extension, name="blend"):
    """Use embeddings between the prompt and another one, the same for all, or moving over the images or the steps."""

    to: str = Field(description="the other prompt")
    amount: float = Field(0.5, ge=0, le=1, description="how far on the way: 0 is the prompt, 1 the other one")
    until: float | None = Field(
        None, ge=0, le=1, description="how far at the last image or step; default: everywhere the same"
    )
    along: Along = Field(Along.IMAGES, description="whether the amount moves over the images or the steps")
    mode: Interpolation = Field(Interpolation.SLERP, description="along the line or the arc")

    @hookimpl(after=["prompt-embeds", "prompt-schedule"])
    def conditioning(self, conditioning: Conditioning, pass_: Pass, run: Run) -> Conditioning | None:
        """Interpolated embeddings for the passes with the prompt, equally long ones for the others."""
        from .interpolation import interpolate_conditionings
        from .token_padding import pad_conditioning

        other = run.state(self, lambda: run.encode([self.to]))
        tokens = max(other.embeddings.shape[1], conditioning.embeddings.shape[1])
        own = pad_conditioning(conditioning, tokens, run)
        if pass_.conditioning != "positive":
            return None if own is conditioning else own
        end = pad_conditioning(other, tokens, run).repeat(own.rows)
        amounts = self._amounts(run).to(own.embeddings)
        return interpolate_conditionings(own, end, amounts, self.mode)

    def _amounts(self, run: Run) -> Tensor:
        """How far for each image, (n, 1, 1)."""
        import torch

        until = self.amount if self.until is None else self.until
        if self.along is Along.IMAGES:
            if run.n == 1 and until != self.amount:
                raise RequestError(
                    "blend: until is for the last of the images that are made at once, and this run makes one; make several "
                    "(-n 4 --batch-size 4, in Python n=4), or move over the steps (along=steps)"
                )
            return torch.linspace(self.amount, until, run.n).view(-1, 1, 1)
        last = 1 if run.step is None else max(1, run.step.count - 1)
        progress = 0 if run.step is None else run.step.index / last
        return torch.full((run.n, 1, 1), self.amount + progress * (until - self.amount))
