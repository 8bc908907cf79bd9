"""Half precision in, half precision out, and not less precise than it must be."""

from __future__ import annotations

import torch

from ..draws import Draws
from ..drive import run
from ..finding import Finding, judge
from ..problems import fixed_noise
from ..subject import Subject

STEPS = 10
SHAPE = (1, 4, 8, 8)
ALLOWED = 30.0
"""Units in the last place of the largest value. With float32 inside, the samples between 10 steps are what
is rounded; computing in half precision as well costs ten times as much."""


def dtype_contract(subject: Subject) -> Finding:
    """float32, float16 and bfloat16 samples keep their dtype and stay near the float64 run."""
    # What every dtype holds exactly, so that only the run is measured.
    start = fixed_noise(SHAPE).bfloat16().double()
    exact = _end(subject, start)
    problems, worst, where = [], 0.0, ""
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        end = _end(subject, start.to(dtype))
        name = str(dtype).removeprefix("torch.")
        if end.dtype != dtype:
            problems.append(f"{name} samples come back as {str(end.dtype).removeprefix('torch.')}")
            continue
        scale = float(exact.abs().max()) * torch.finfo(dtype).eps
        error = float((end.double() - exact).abs().max()) / scale
        if not error <= worst:
            worst, where = error, name
    return judge(
        not problems and worst <= ALLOWED,
        "; ".join(problems) or f"at most {worst:.1f} units in the last place from float64 ({where})",
        grid=f"n = {STEPS}",
        advice="Compute in float32 or float64 and cast what step returns to the dtype of its sample.",
        numbers={"units in the last place": worst},
    )


def _end(subject: Subject, start: torch.Tensor) -> torch.Tensor:
    with Draws(lambda number, shape: fixed_noise(shape, number + 1)):
        return run(subject, lambda x, timestep: x * 0.5, start, STEPS)[-1].after
