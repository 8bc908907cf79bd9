"""FreeU: stronger backbone features and skip connections with less of their low frequencies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mezzotint import Block, Extension, Field, Run, hookimpl

from ..steps import End, Start, within

if TYPE_CHECKING:
    from torch import Tensor


class FreeU(Extension, name="freeu"):
    """Reweight backbone and skip features of the first two decoder blocks (Si et al. 2023).

    As `enable_freeu` of diffusers, in whose words stage 1 is `up.0` and stage 2 is `up.1`: the first half of the
    backbone's channels times `b`, the low frequencies of the skip connection times `s`.
    """

    b1: float = Field(1.5, gt=0, description="backbone factor in up.0")
    b2: float = Field(1.6, gt=0, description="backbone factor in up.1")
    s1: float = Field(0.9, ge=0, description="factor of the skip's low frequencies in up.0")
    s2: float = Field(0.2, ge=0, description="factor of the skip's low frequencies in up.1")
    structure: bool = Field(
        False, description="let the backbone factor follow the mean over channels, as in the paper's eq. 4"
    )
    start: Start = 0.0
    end: End = 1.0

    @hookimpl(at=("up.0.resnets.*", "up.1.resnets.*"))
    def unet_block_input(
        self, block: Block, hidden_states: Tensor, skips: tuple[Tensor, ...], run: Run
    ) -> tuple[Tensor, tuple[Tensor, ...]] | None:
        """Before backbone and skip connection are concatenated."""
        if not within(run, self.start, self.end):
            return None
        b, s = (self.b1, self.s1) if block.index == 0 else (self.b2, self.s2)
        return strengthen(hidden_states, b, self.structure), tuple(damp(skip, s) for skip in skips)


def strengthen(hidden_states: Tensor, factor: float, structure: bool = False) -> Tensor:
    """The first half of the channels of (rows, c, h, w) times a factor.

    Args:
        structure: the factor is 1 where the mean over channels is lowest and `factor` where it is highest
            (eq. 4 of the paper); else the same everywhere.
    """
    half = hidden_states.shape[1] // 2
    weight: float | Tensor = factor
    if structure:
        mean = hidden_states.mean(1, keepdim=True)
        low, high = mean.amin((2, 3), keepdim=True), mean.amax((2, 3), keepdim=True)
        weight = 1 + (factor - 1) * (mean - low) / (high - low).clamp_min(1e-12)
    # A copy: the backbone's output may be someone else's, a cache's or a skip connection.
    strengthened = hidden_states.clone()
    strengthened[:, :half] *= weight
    return strengthened


def damp(skip: Tensor, factor: float) -> Tensor:
    """The lowest frequencies (within 1 of the centre of the spectrum) of (rows, c, h, w) times a factor."""
    from diffusers.utils.torch_utils import fourier_filter

    return fourier_filter(skip, threshold=1, scale=factor)
