"""Where the sample is, and where the model is told that it is.

With all data at one point c a sample is α c + σ ε, and ε never changes without noise. So each model input
shows the α and σ that it truly has, and a scheduler whose `step` disagrees with its `timesteps` is seen at
its first step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..draws import Draws
from ..drive import Frame, Turn, first_sample, frame_of, perfect_model, seeded, turns
from ..finding import Finding, judge, not_applicable
from ..problems import POINT, fixed_noise
from ..subject import Subject

STEPS = (7, 10, 30)
"""7 and 30 do not divide 1000 training timesteps: a fixed stride misses their timesteps."""
EXACT = 1e-5
"""Of σ, for solvers without noise; model evaluations within a step have float32 timesteps."""
SINGLE = 1e-2
"""For schedulers, which keep their levels in float32, where 1 - ᾱ has few digits at low noise; a stride that
misses its timesteps by one is off by 3 % in the best case."""
STATISTICAL = 0.06
"""Of σ, with noise: the deviation of 4096 normal numbers, which varies by 0.011."""


def levels(subject: Subject) -> Finding:
    """Each model input has the noise level of its timestep, and the run ends at the point."""
    return _follow(subject, begin=0.0)


def image_to_image(subject: Subject) -> Finding:
    """The same for a run that `add_noise` and `set_begin_index` start in the middle."""
    if not hasattr(subject.make(), "set_begin_index"):
        return not_applicable("has no set_begin_index")
    return _follow(subject, begin=0.5)


def _follow(subject: Subject, begin: float) -> Finding:
    frame = frame_of(subject.make())
    if frame is None:
        return not_applicable("does not tell what its model was trained on: no alphas_cumprod, no flow")
    noise = fixed_noise((1, 4, 32, 32))
    exact = EXACT if subject.kind == "solver" else SINGLE
    worst = _Worst(0.0, exact, "")
    for steps in STEPS:
        ran, draws = _run(subject, frame, noise, steps, begin)
        allowed = STATISTICAL if draws else exact
        first = _noise_in(ran[0], frame)
        if begin:
            off = abs(_deviation(first) - 1)
            worst = worst.or_worse(
                off, STATISTICAL, f"n = {steps}, add_noise at timestep {ran[0].timestep:g}"
            )
        for turn in ran:
            found = _noise_in(turn, frame)
            off = abs(_deviation(found) / _deviation(first) - 1) if draws else _deviation(found - first)
            where = f"n = {steps}, model evaluation {turn.index}, timestep {turn.timestep:g}"
            worst = worst.or_worse(off, allowed, where)
        if worst.off <= worst.allowed and (wrong := _wrong_end(ran, frame)):
            return judge(
                False, wrong, grid=f"n = {steps}", advice="The last step must end at 0, or at σ_min."
            )
    return judge(
        worst.off <= worst.allowed,
        f"noise of model inputs agrees with their timesteps within {worst.off:.1e} of σ, allowed is {worst.allowed}",
        grid=worst.where,
        advice="Let step go to the next of its own timesteps, by index; a stride is right only where n divides N.",
    )


@dataclass(frozen=True)
class _Worst:
    off: float
    allowed: float
    where: str

    def or_worse(self, off: float, allowed: float, where: str) -> _Worst:
        worse = not off / allowed <= self.off / self.allowed
        return _Worst(off, allowed, where) if worse else self


def _run(
    subject: Subject, frame: Frame, noise: torch.Tensor, steps: int, begin: float
) -> tuple[list[Turn], int]:
    scheduler = subject.make()
    scheduler.set_timesteps(steps)
    start = int(steps * begin) * getattr(scheduler, "order", 1)
    if begin:
        scheduler.set_begin_index(start)
        x = _noised(scheduler, torch.full_like(noise, POINT.point), noise, scheduler.timesteps[start])
    else:
        x = first_sample(scheduler, noise)
    with Draws() as draws:
        ran = list(
            turns(scheduler, perfect_model(POINT, scheduler, frame), x, generator=seeded(1), start=start)
        )
    return ran, draws.count


def _noised(scheduler: Any, clean: torch.Tensor, noise: torch.Tensor, timestep: Any) -> torch.Tensor:
    one = timestep.reshape(1)
    if hasattr(scheduler, "add_noise"):
        return scheduler.add_noise(clean, noise, one)
    return scheduler.scale_noise(clean, one, noise)


def _noise_in(turn: Turn, frame: Frame) -> torch.Tensor:
    """ε of what the model was shown, if its timestep says the truth."""
    alpha, sigma = frame(turn.timestep)
    return (turn.seen.double() - alpha * POINT.point) / sigma


def _deviation(x: torch.Tensor) -> float:
    """Root of the mean square."""
    return float(x.double().square().mean().sqrt())


def _wrong_end(ran: Sequence[Turn], frame: Frame) -> str:
    """What is wrong with how far the last step came down; empty if nothing is."""
    last = frame.ratio(ran[-1].timestep)
    end = _deviation(ran[-1].after.double() - POINT.point)
    if not end < 0.95 * last:
        return f"the last step, from σ = {last:.3g}, ends at {end:.3g}: a step of length zero"
    least = 0.0 if frame.flow else math.exp(frame.log_sigmas[0])
    if end > 1.1 * least + 1e-3:
        return f"noise of σ = {end:.3g} is left at the end, where 0 or σ_min = {least:.3g} is expected"
    return ""
