"""From what a model predicts to the denoised sample, in any frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def denoised_weights(prediction_type: str, alpha: float, sigma: float) -> tuple[float, float]:
    """(a, b) with x0 = a x + b output, where x = sample/α and `sigma` = σ/α are of the variance-exploding frame.

    The same as `denoised_from`, for who has x at hand.
    """
    sigma_model = alpha * sigma
    match prediction_type:
        case "epsilon":
            return 1.0, -sigma
        case "v_prediction":
            square = alpha**2 + sigma_model**2
            return alpha**2 / square, -sigma_model / square
        case "flow_prediction":
            return alpha / (alpha + sigma_model), -sigma_model / (alpha + sigma_model)
        case "sample":
            return 0.0, 1.0
        case unknown:
            raise ValueError(f"unknown prediction type {unknown!r}")


def denoised_from(prediction_type: str, output: Tensor, sample: Tensor, alpha: float, sigma: float) -> Tensor:
    """The clean sample x0 that a model's output means.

    Args:
        prediction_type: `epsilon` (the noise ε; Ho et al. 2020), `sample` (x0), `v_prediction`
            (α ε - σ x0; Salimans & Ho 2022, section 4) or `flow_prediction` (ε - x0; Lipman et al. 2023).
        output: the model's output, (n, c, h, w).
        sample: what the model saw, α x0 + σ ε, (n, c, h, w).
        alpha, sigma: of the model's frame.
    """
    match prediction_type:
        case "epsilon":
            return (sample - sigma * output) / alpha
        case "v_prediction":
            return (alpha * sample - sigma * output) / (alpha**2 + sigma**2)
        case "flow_prediction":
            return (sample - sigma * output) / (alpha + sigma)
        case "sample":
            return output
        case unknown:
            raise ValueError(f"unknown prediction type {unknown!r}")
