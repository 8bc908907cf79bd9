"""Guidance in an interval of noise levels only."""

from __future__ import annotations

from mezzotint import Extension, Field, Pass, Run, hookimpl
from pydantic import model_validator

from ..steps import End, Start, within


class CFGInterval(Extension, name="cfg-interval"):
    """Guide only in a part of the run; the other steps cost half (Kynkäänniemi et al. 2024).

    Outside the interval passes on the negative prompt are left out, so that the positive prediction counts alone,
    whichever extension guides. Fractions of the steps and noise levels may be given together; both must hold.
    """

    sigma_low: float | None = Field(
        None, ge=0, description="lowest noise level σ (of x0 + σ ε) that is guided"
    )
    sigma_high: float | None = Field(None, gt=0, description="highest noise level σ that is guided")
    start: Start = 0.0
    end: End = 1.0

    @model_validator(mode="after")
    def _holds_something(self) -> CFGInterval:
        if self.start > self.end:
            raise ValueError(f"start {self.start:g} is after end {self.end:g}: no step would be guided")
        if self.sigma_low is not None and self.sigma_high is not None and self.sigma_low > self.sigma_high:
            raise ValueError(
                f"sigma_low {self.sigma_low:g} is above sigma_high {self.sigma_high:g}: no step would be guided"
            )
        return self

    @hookimpl(before=("pag",))
    def passes(self, passes: tuple[Pass, ...], run: Run) -> tuple[Pass, ...] | None:
        """All of them inside the interval."""
        if within(run, self.start, self.end) and self._in_noise_levels(run):
            return None
        return tuple(pass_ for pass_ in passes if pass_.conditioning != "negative")

    def _in_noise_levels(self, run: Run) -> bool:
        if self.sigma_low is None and self.sigma_high is None:
            return True
        frame = run.frame()
        sigma = frame.sigma / frame.alpha
        return (self.sigma_low or 0.0) <= sigma <= (sigma if self.sigma_high is None else self.sigma_high)
