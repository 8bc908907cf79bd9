"""Diffusion problems whose solutions are known exactly, in the variance-exploding frame and in float64.

For data with distribution p the noisy sample x = x0 + σ ε follows dx/dσ = (x - D(x, σ)) / σ, where
D(x, σ) = E[x0 | x] is what a perfect model answers (Karras et al. 2022, eq. 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from .grids import SIGMA_MAX

if TYPE_CHECKING:
    from torch import Tensor


class Problem(Protocol):
    """Data on a line; every element of a sample is one problem of its own."""

    def denoised(self, x: Tensor, sigma: float) -> Tensor:
        """The perfect model's clean sample at (x, σ), of the shape of `x`."""
        ...

    def solution(self, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """Where the ODE carries `x` from σ to σ_next, exact to rounding."""
        ...


@dataclass(frozen=True)
class PointMass:
    """All data at one point: D = c, and (x - c)/σ never changes."""

    point: float = 0.37

    def denoised(self, x: Tensor, sigma: float) -> Tensor:
        return torch.full_like(x, self.point)

    def solution(self, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        return self.point + (x - self.point) * (sigma_next / sigma)


@dataclass(frozen=True)
class Gaussian:
    """Data N(m, v): D = m + v/(v + σ²) (x - m), and (x - m)/sqrt(v + σ²) never changes.

    As D is affine in x, every sampler stays Gaussian and its variance follows from its responses to unit
    impulses of noise, without drawing any (Pierret & Galerne 2025).
    """

    mean: float = 0.0
    variance: float = 0.25

    def denoised(self, x: Tensor, sigma: float) -> Tensor:
        return self.mean + self.variance / (self.variance + sigma**2) * (x - self.mean)

    def solution(self, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        ratio = (self.variance + sigma_next**2) / (self.variance + sigma**2)
        return self.mean + math.sqrt(ratio) * (x - self.mean)


@dataclass(frozen=True)
class Mixture:
    """Normal distributions of equal variance v around several means: no solver is exact on it.

    With shares w_k ∝ weight_k N(x; mean_k, v + σ²), D = Σ w_k (mean_k + v/(v + σ²) (x - mean_k)).
    On a line the ODE keeps every sample at its quantile, so that its solution is F(·, σ_next)⁻¹ ∘ F(·, σ)
    with F the cumulative distribution: exact, and without another ODE solver to trust.
    """

    means: tuple[float, ...] = (-1.2, 0.3, 1.1)
    weights: tuple[float, ...] = (0.3, 0.45, 0.25)
    variance: float = 0.35**2

    def denoised(self, x: Tensor, sigma: float) -> Tensor:
        total = self.variance + sigma**2
        distance = x[..., None] - x.new_tensor(self.means)
        share = torch.softmax(x.new_tensor(self.weights).log() - distance**2 / (2 * total), -1)
        return x - sigma**2 / total * (share * distance).sum(-1)

    def solution(self, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        quantile = self.cumulative(x.double(), sigma)
        reach = 12 * math.sqrt(self.variance + sigma_next**2) + max(map(abs, self.means))
        low = torch.full_like(quantile, -reach)
        high = torch.full_like(quantile, reach)
        # Bisection halves the bracket below rounding, wherever the density is thin.
        for _ in range(64):
            middle = (low + high) / 2
            below = self.cumulative(middle, sigma_next) < quantile
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return ((low + high) / 2).to(x.dtype)

    def cumulative(self, x: Tensor, sigma: float) -> Tensor:
        """F(x, σ), the share of noisy samples below x."""
        scaled = (x[..., None] - x.new_tensor(self.means)) / math.sqrt(self.variance + sigma**2)
        return (x.new_tensor(self.weights) * torch.special.ndtr(scaled)).sum(-1)


MIXTURE = Mixture()
GAUSSIAN = Gaussian()
POINT = PointMass()


def spread(sigma: float = SIGMA_MAX, count: int = 9) -> Tensor:
    """Samples at noise level σ, evenly over ±1.5 σ, (count, 1, 1, 1)."""
    return torch.linspace(-1.5, 1.5, count, dtype=torch.float64).reshape(-1, 1, 1, 1) * sigma


def largest_error(one: Tensor, other: Tensor) -> float:
    """The largest absolute difference; infinite where either is not finite."""
    difference = (one.double() - other.double()).abs()
    return float(difference.max()) if bool(torch.isfinite(difference).all()) else math.inf


def fixed_noise(shape: Sequence[int], seed: int = 0) -> Tensor:
    """Standard normal noise in float64 that is the same everywhere."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
