"""Put a scheduler on a grid of the kit's choice: make the grid its training schedule.

Every scheduler of a β schedule can be trained on any; one that visits each training timestep once visits
each level of the grid, whatever its spacing is called.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from ...errors import RequestError
from .draws import Draws
from .drive import first_sample, frame_of, perfect_model, turns
from .grids import EXPONENTIAL, SIGMA_MAX, Grid
from .problems import GAUSSIAN, spread
from .subject import Subject

EVERY_TIMESTEP = {
    "timestep_spacing": "trailing",
    "steps_offset": 0,
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "use_lu_lambdas": False,
}


def on_grid(subject: Subject, grid: Grid, n: int) -> Any:
    """A fresh scheduler that will visit the n + 1 levels of the grid, or all but the last, and end after that.

    Raises:
        RequestError: its timesteps turn out to be others.
    """
    levels = list(grid(n))
    usual = frame_of(subject.make())
    if (usual is not None and usual.flow) or not subject.takes("trained_betas"):
        return _flow_on(subject, levels)
    cumulative = [1 / (1 + level**2) for level in reversed(levels)]
    betas = [1 - later / earlier for earlier, later in pairwise([1.0, *cumulative])]
    scheduler = subject.make(trained_betas=betas, num_train_timesteps=n + 1, **EVERY_TIMESTEP)
    # Some lay n steps over 0 … N - 1 and leave the last end out.
    for steps, needed in ((n + 1, range(n + 1)), (n, range(1, n + 1))):
        scheduler.set_timesteps(steps)
        if {round(float(timestep), 3) for timestep in scheduler.timesteps}.issuperset(needed):
            return scheduler
    raise RequestError(f"leaves out some of {n + 1} training timesteps when it is given as many steps")


def _flow_on(subject: Subject, levels: Sequence[float]) -> Any:
    """A flow scheduler takes noise levels σ of its own frame, where α = 1 - σ."""
    scheduler = subject.make()
    frame = frame_of(scheduler)
    if (
        frame is None
        or not frame.flow
        or "sigmas" not in inspect.signature(scheduler.set_timesteps).parameters
    ):
        raise RequestError("takes neither trained_betas nor, for a flow model, sigmas")
    scheduler.set_timesteps(sigmas=[level / (1 + level) for level in levels])
    visited = [frame.ratio(float(timestep)) for timestep in scheduler.timesteps[: len(levels)]]
    if not np.allclose(visited, levels, rtol=1e-3):
        raise RequestError("has other timesteps than those of the sigmas that it was given")
    return scheduler


@lru_cache(maxsize=32)
def why_not_measured(subject: Subject, *, with_noise: bool = False) -> str:
    """Why a scheduler's order cannot be measured; empty if it can.

    Args:
        with_noise: whether the question is for a stochastic one.
    """
    try:
        scheduler = on_grid(subject, EXPONENTIAL, 8)
    except (ValueError, RequestError) as error:
        return f"cannot be put on a grid: {error}"
    frame = frame_of(scheduler)
    if frame is None:
        return "has no alphas_cumprod to tell what its model was trained on"
    with Draws() as draws:
        start = first_sample(scheduler, spread() / SIGMA_MAX)
        count = len(list(turns(scheduler, perfect_model(GAUSSIAN, scheduler, frame), start)))
    if draws.count > 2 * count:
        return f"draws {draws.count} times in {count} evaluations, as a Brownian tree does, not once a noise"
    if with_noise:
        return "" if draws.count else "draws no noise"
    return "has noise; its weak order is measured instead" if draws.count else ""
