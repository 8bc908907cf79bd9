"""The interval that a scheduler lays out by itself."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import torch

from ..finding import Finding, judge
from ..subject import Subject

SECONDS = 3.0
"""Of processor time for laying out; a slow scheduler is not asked about the larger n, and the finding says so."""
STEPS = (*range(1, 61), 75, 100, 150, 200, 250, 333, 500)


def timesteps(subject: Subject) -> Finding:
    """For each n: finite timesteps that fall strictly, and no noise level twice."""
    refused: list[int] = []
    end = time.process_time() + SECONDS
    asked = 0
    scheduler = subject.make()
    for n in STEPS:
        if time.process_time() > end:
            break
        asked += 1
        try:
            scheduler.set_timesteps(n)
        except ValueError:
            refused.append(n)
            continue
        if wrong := _wrong(scheduler, n):
            return judge(
                False,
                wrong,
                grid=f"its own spacing, n = {n}",
                advice="Give each step its own noise level: round before spacing, refuse an n that is too large.",
            )
    few = [n for n in refused if n <= 20]
    return judge(
        not few,
        f"timesteps fall strictly for {asked - len(refused)} numbers of steps up to {STEPS[asked - 1]}"
        + (f", refused from n = {refused[0]}" if refused else ""),
        grid=f"its own spacing, n = {few[0] if few else f'1 … {STEPS[asked - 1]}'}",
        advice="Runs of few steps are what people want most: accept them.",
    )


def _wrong(scheduler: Any, n: int) -> str:
    times = [float(time) for time in scheduler.timesteps]
    if not times or not bool(torch.isfinite(torch.tensor(times)).all()):
        return f"timesteps are not finite: {times[:5]} …"
    order = getattr(scheduler, "order", 1)
    # What a method of several evaluations is asked within a step may be anywhere.
    for earlier, later in pairwise(times[::order]):
        if not earlier > later:
            return f"timestep {earlier:g} is followed by {later:g}"
    sigmas = getattr(scheduler, "sigmas", None)
    if order == 1 and isinstance(sigmas, torch.Tensor) and len(sigmas) == n + 1:
        levels = [float(sigma) for sigma in sigmas]
        for index, (earlier, later) in enumerate(pairwise(levels)):
            if not earlier > later:
                return f"σ[{index}] = {earlier:.4g} is followed by {later:.4g}"
    return ""
