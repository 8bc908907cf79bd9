"""The contract of a spacing, for every number of steps from 1 to 1000."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ....errors import RequestError
from ....scheduling.model_config import DEFAULTS
from ....scheduling.noise_schedule import NoiseSchedule, noise_schedule
from ..finding import Finding, judge
from ..subject import Subject

MOST_STEPS = 1000
NEEDED_STEPS = 20
"""Numbers of steps that no spacing may refuse; above, it may raise a `RequestError`."""
SOME_STEPS = (*range(1, 33), 50, 64, 99, 100, 101, 128, 200, 250, 333, 499, 500, 501, 999, 1000)
"""Asked about first, and with other noise schedules than Stable Diffusion's."""
SECONDS = 3.0
"""Of processor time for the others; a slow spacing is not asked about all, and the finding says so."""


def strictly_decreasing(subject: Subject) -> Finding:
    """n + 1 finite, strictly decreasing levels from σ_max or below to 0 or σ_min, for n = 1 … 1000."""
    schedules = _schedules()
    refused: list[int] = []
    for model, schedule in schedules.items():
        for n in SOME_STEPS:
            if wrong := _ask(subject, n, schedule, refused):
                return _fail(wrong, model, n)
    (model, schedule), *_ = schedules.items()
    others = [n for n in range(1, MOST_STEPS + 1) if n not in SOME_STEPS]
    end = time.process_time() + SECONDS
    asked = 0
    for n in others:
        if time.process_time() > end:
            break
        asked += 1
        if wrong := _ask(subject, n, schedule, refused):
            return _fail(wrong, model, n)
    up_to = (
        f"for n = 1 … {MOST_STEPS}"
        if asked == len(others)
        else f"for n = 1 … {others[asked] - 1} and some to 1000"
    )
    most = f"; refuses some numbers of steps from {min(refused)} on" if refused else ""
    return judge(
        True,
        f"n + 1 levels fall strictly {up_to}{most}",
        grid=f"{model}; some n: {', '.join([*schedules][1:])}",
        advice="",
        numbers={"refused from": min(refused)} if refused else {},
    )


def _ask(subject: Subject, n: int, schedule: NoiseSchedule, refused: list[int]) -> str:
    """What is wrong with the levels of n steps; an n that is refused is noted."""
    try:
        levels = _levels(subject, n, schedule)
    except RequestError as error:
        if n <= NEEDED_STEPS:
            return f"{n} steps are refused: {error}"
        refused.append(n)
        return ""
    return _wrong(levels, n, schedule)


def spacing_is_pure(subject: Subject) -> Finding:
    """Asked again it answers the same, whatever it was asked between, and the schedule is not written to."""
    for model, schedule in _schedules().items():
        before = copy.deepcopy(schedule)
        first = _levels(subject, 10, schedule)
        kept = list(first)
        _levels(subject, 7, schedule)
        if list(first) != kept or list(_levels(subject, 10, schedule)) != kept:
            return _fail("10 steps, asked again, are other levels", model, 10)
        if not np.array_equal(before.sigmas, schedule.sigmas):
            return _fail("the noise schedule was written to", model, 10)
    return judge(True, "asked again it answers the same", grid="n = 10, 7, 10", advice="")


def _levels(subject: Subject, n: int, schedule: NoiseSchedule) -> Sequence[float]:
    if subject.spacing is None:
        raise RequestError(f"{subject.name} is no spacing")
    return subject.spacing(n, schedule, **{**subject.spacing.options, **subject.options_for(n)})


def _schedules() -> dict[str, NoiseSchedule]:
    def schedule(final: bool = False, **changes: Any) -> NoiseSchedule:
        return noise_schedule({**DEFAULTS, **changes}, ends_at_first_timestep=final)

    return {
        "Stable Diffusion": schedule(),
        "Stable Diffusion ending at σ_min": schedule(final=True),
        "cosine": schedule(beta_schedule="squaredcos_cap_v2"),
        "flow, shift 3": schedule(use_flow_sigmas=True, flow_shift=3.0),
    }


def _wrong(levels: Sequence[float], n: int, schedule: NoiseSchedule) -> str:
    if len(levels) != n + 1:
        return f"{len(levels)} levels for {n} steps, not {n + 1}"
    if not all(math.isfinite(level) for level in levels):
        return "a level is not finite"
    for index, (level, following) in enumerate(pairwise(levels)):
        if not level > following:
            return f"σ[{index}] = {level:.5g} is followed by {following:.5g}"
    ends = (0.0, schedule.final, schedule.sigma_min)
    if not any(math.isclose(levels[-1], end, rel_tol=1e-6) for end in ends):
        return f"ends at σ = {levels[-1]:.5g}, not at 0 or σ_min = {schedule.sigma_min:.5g}"
    # Published tables are rounded: 14.615 stands for 14.6146.
    if levels[0] > max(schedule.sigma_max, float(schedule.sigmas[-1])) * 1.01:
        return f"starts at σ = {levels[0]:.5g}, above σ_max = {schedule.sigma_max:.5g}"
    return ""


def _fail(what: str, model: str, n: int) -> Finding:
    return judge(
        False,
        what,
        grid=f"{model}, n = {n}",
        advice="Return n + 1 floats, the last one through schedule.finish; refuse an n that is too large.",
    )
