"""What a model's prediction at one noise level means: the denoised sample, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .prediction import denoised_from

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class ModelFrame:
    """A sample as the model sees it, α x0 + σ ε, with its noise level and the model's prediction type."""

    sample: Tensor
    """(n, c, h, w), scaled for the model."""
    alpha: float
    sigma: float
    prediction_type: str
    """`epsilon`, `v_prediction`, `sample` or `flow_prediction`."""
    scale: float = 1.0
    """`sample` is the scheduler's latents times this."""

    def denoised(self, prediction: Tensor) -> Tensor:
        """The clean latents x0 (n, c, h, w) that a prediction means."""
        return denoised_from(self.prediction_type, prediction, self.sample, self.alpha, self.sigma)

    def noise(self, prediction: Tensor) -> Tensor:
        """The noise ε (n, c, h, w) that a prediction means."""
        if self.prediction_type == "epsilon":
            return prediction
        return (self.sample - self.alpha * self.denoised(prediction)) / self.sigma

    def prediction(self, denoised: Tensor) -> Tensor:
        """The prediction (n, c, h, w), in the model's type, that means these clean latents."""
        if self.prediction_type == "sample":
            return denoised
        noise = (self.sample - self.alpha * denoised) / self.sigma
        match self.prediction_type:
            case "epsilon":
                return noise
            case "v_prediction":
                return self.alpha * noise - self.sigma * denoised
            case _:
                return noise - denoised

    def latents(self, denoised: Tensor, noise: Tensor) -> Tensor:
        """Clean latents at this noise level, as the scheduler keeps them: (α x0 + σ ε) / scale."""
        return (self.alpha * denoised + self.sigma * noise) / self.scale
