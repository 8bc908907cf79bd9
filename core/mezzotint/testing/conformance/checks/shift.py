"""Shifting all data shifts the run: a solver has no origin of its own."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..finding import Finding, judge, not_applicable
from ..grids import ALTERNATING, SIGMA_MAX
from ..problems import MIXTURE, fixed_noise, largest_error
from ..subject import Subject
from ..trace import trace

TOLERANCE = 1e-9


@dataclass(frozen=True)
class _Shifted:
    by: float

    def denoised(self, x: Tensor, sigma: float) -> Tensor:
        return MIXTURE.denoised(x - self.by, sigma) + self.by

    def solution(self, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        return MIXTURE.solution(x - self.by, sigma, sigma_next) + self.by


def shift(subject: Subject) -> Finding:
    """The run on data shifted by 3 is the run on the data, shifted by 3."""
    solver = subject.solver
    if solver is None:
        return not_applicable("is no solver")
    start = SIGMA_MAX * fixed_noise((4, 1, 1, 1))
    n = 8
    levels = [*ALTERNATING(n), 0.0]

    def end(by: float) -> Tensor:
        return trace(
            solver,
            _Shifted(by),
            start + by,
            levels,
            options=subject.options_for(n),
            noise=lambda step, stage: fixed_noise((4, 1, 1, 1), 100 * step + stage + 1),
        ).end

    error = largest_error(end(3.0), end(0.0) + 3.0)
    return judge(
        error <= TOLERANCE,
        f"the shifted run differs by {error:.1e}",
        grid=f"alternating 1:3, n = {n}, then 0",
        advice="Weights must sum to 1 over x and the denoised samples, and nothing may be clipped in the solver.",
    )
