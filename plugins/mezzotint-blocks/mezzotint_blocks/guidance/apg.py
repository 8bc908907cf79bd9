"""Adaptive projected guidance: the part of guidance that saturates is taken out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from mezzotint import ClassifierFreeGuidance, Extension, Field, Guidance, Run, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


class APG(Extension, name="apg"):
    """Adaptive projected guidance: high scales without oversaturation (Sadat et al. 2024).

    The difference between the positive and the negative prediction is averaged over steps, limited in norm, and
    split into the part along the positive prediction, which saturates, and the part across it, which improves.
    """

    eta: float = Field(0.0, ge=0, le=1, description="share of the part along the prediction; 1 is plain CFG")
    momentum: float = Field(-0.5, gt=-1, lt=1, description="weight of earlier differences, β; 0 is none")
    norm: float = Field(15.0, ge=0, description="largest norm of a difference, r; 0 is no limit")
    space: Literal["denoised", "prediction"] = Field(
        "denoised", description="what is projected: clean latents, as in the paper, or the model's output"
    )

    @hookimpl
    def guidance(self, run: Run) -> Guidance:
        """At the scale of the call."""
        return ProjectedGuidance(self, run.request.guidance)


class ProjectedGuidance(ClassifierFreeGuidance):
    """Guidance of one run, with its running average."""

    def __init__(self, options: APG, scale: float) -> None:
        super().__init__(scale)
        self._options = options
        self._average: Tensor | None = None

    def combine(self, predictions: Mapping[str, Tensor], run: Run) -> Tensor:
        """`positive + (scale - 1) * update`."""
        positive = predictions["positive"]
        if len(self.passes(run)) == 1:
            return positive
        negative = predictions["negative"]
        if self._options.space == "prediction":
            return positive + (self.scale - 1) * self._update(positive, negative)
        frame = run.frame()
        clean = frame.denoised(positive)
        update = self._update(clean, frame.denoised(negative))
        return frame.prediction(clean + (self.scale - 1) * update).to(positive.dtype)

    def _update(self, positive: Tensor, negative: Tensor) -> Tensor:
        difference = positive - negative
        if self._options.momentum and self._average is not None:
            difference = difference + self._options.momentum * self._average
        self._average = difference
        return project(limit(difference, self._options.norm), positive, self._options.eta)


def limit(difference: Tensor, norm: float) -> Tensor:
    """(n, c, h, w) with an L2 norm of at most `norm` for each sample; 0 is no limit."""
    from torch.linalg import vector_norm

    if norm == 0:
        return difference
    lengths = vector_norm(difference, dim=(1, 2, 3), keepdim=True)
    return difference * (norm / lengths).clamp_max(1)


def project(difference: Tensor, along: Tensor, eta: float) -> Tensor:
    """The part of a difference across a direction, and `eta` of the part along it, in double precision."""
    from torch.linalg import vector_norm

    dims = (1, 2, 3)
    # MPS has no double precision.
    precise = difference.float() if difference.device.type == "mps" else difference.double()
    direction = along.to(precise.dtype)
    direction = direction / vector_norm(direction, dim=dims, keepdim=True).clamp_min(1e-12)
    parallel = (precise * direction).sum(dim=dims, keepdim=True) * direction
    return (precise - parallel + eta * parallel).to(difference.dtype)
