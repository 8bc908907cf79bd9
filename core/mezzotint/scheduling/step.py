"""What a solver sees of one step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING

from ..errors import PluginError

if TYPE_CHECKING:
    from torch import Tensor


class Options(SimpleNamespace):
    """A solver's options, by name; read-only, as a solver that wrote there would no longer be pure."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a solver cannot change its option {name!r}")


@dataclass(frozen=True, eq=False)
class Past:
    """An earlier step, as its solver saw it."""

    x: Tensor
    """Sample at the start of that step, (n, c, h, w)."""
    sigma: float
    denoised: Tensor
    """Model's estimate of the clean sample at (x, sigma), (n, c, h, w)."""
    carry: Mapping[str, Tensor] = field(default_factory=dict)
    """What the solver returned beside its next x."""

    @cached_property
    def derivative(self) -> Tensor:
        """dx/dσ there, (x - denoised) / σ; also the predicted noise (Karras et al. 2022, eq. 3)."""
        return (self.x - self.denoised) / self.sigma

    @property
    def half_log_snr(self) -> float:
        """λ = log(α/σ) there."""
        return -math.log(self.sigma)


@dataclass(frozen=True, eq=False)
class Step:
    """One step from `sigma` down to `sigma_next`, in the variance-exploding frame.

    Every model, variance-preserving, EDM or flow, follows the same ODE in this frame:
    dx/dσ = (x - denoised(x, σ)) / σ. The sample is x = x_model/α and the noise level σ = σ_model/α.
    Tensors are float32, or float64 if the sample is; noise levels are Python floats.
    """

    x: Tensor
    """Sample, (n, c, h, w)."""
    sigma: float
    """Noise level of `x`, > 0."""
    sigma_next: float
    """Noise level to go to, >= 0 and less than `sigma`; 0 in the last step, unless σ_min is declared last."""
    denoised: Tensor
    """Model's estimate of the clean sample at (x, sigma), (n, c, h, w)."""
    index: int
    """Which step this is, from 0; a run that starts late (image-to-image) starts higher."""
    steps: int
    """How many steps the whole interval has."""
    history: tuple[Past, ...]
    """Earlier steps of this run, the previous one last; at most as many as the solver declares."""
    options: Options
    """The solver's options, by name."""
    _denoise: Callable[[Tensor, float], Tensor]
    _noise: Callable[[int], Tensor]
    _unconditional: Tensor | None = None

    @property
    def uncond_denoised(self) -> Tensor:
        """The clean sample that the unconditional prediction alone means, where `denoised` is the guided one.

        For solvers that declare `unconditional=True`.
        """
        if self._unconditional is None:
            raise PluginError("declare @solver(…, unconditional=True) to see s.uncond_denoised")
        return self._unconditional

    @cached_property
    def derivative(self) -> Tensor:
        """dx/dσ, (x - denoised) / σ; also the predicted noise (Karras et al. 2022, eq. 3)."""
        return (self.x - self.denoised) / self.sigma

    def euler(self, sigma: float) -> Tensor:
        """Euler's method to another noise level, x + (sigma - σ) derivative, in one operation."""
        # The same as a mean of x and the clean sample, which loses no digits near σ = 0.
        return self.denoised.lerp(self.x, sigma / self.sigma)

    @property
    def half_log_snr(self) -> float:
        """λ = log(α/σ) of this step's start, half the log of the signal-to-noise ratio."""
        return -math.log(self.sigma)

    @property
    def half_log_snr_next(self) -> float:
        """λ of this step's end; infinite where it ends at σ = 0."""
        return -math.log(self.sigma_next) if self.sigma_next > 0 else math.inf

    @property
    def log_snr(self) -> float:
        """log(α²/σ²) of this step's start."""
        return 2 * self.half_log_snr

    @property
    def log_snr_next(self) -> float:
        """log(α²/σ²) of this step's end; infinite at σ = 0."""
        return 2 * self.half_log_snr_next

    @property
    def h(self) -> float:
        """Step size in λ (> 0), the h of the DPM-Solver papers; infinite where the step ends at σ = 0."""
        return self.half_log_snr_next - self.half_log_snr

    @property
    def is_last(self) -> bool:
        """Whether no step follows."""
        return self.index == self.steps - 1

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        """Evaluate the model again: the clean sample estimated at (x, sigma), sigma > 0."""
        return self._denoise(x, sigma)

    def noise(self, stage: int = 0) -> Tensor:
        """Standard normal noise of the shape of `x`, fixed by seed, sample, step and `stage`.

        Asking twice for a stage gives the same noise; different stages are independent.
        """
        return self._noise(stage)
