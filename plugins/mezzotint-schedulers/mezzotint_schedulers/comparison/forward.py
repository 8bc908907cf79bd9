"""The forward process as pictures, and the reverse beside it (`--show-forward`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .pictures import decode
from .recorder import Moment
from .running import Outcome

if TYPE_CHECKING:
    from PIL.Image import Image

TIMES = 8


@dataclass(frozen=True, eq=False)
class Level:
    """One noise level of both ways."""

    timestep: float
    forward: Image
    """The finished picture with so much noise added."""
    reverse: Image
    """What the run had there."""
    predicted: Image
    """The clean picture that the model predicted from it."""


def levels(pipe: Any, outcome: Outcome, timesteps: Sequence[float] | None) -> list[Level]:
    """Forward and reverse at the evaluations nearest to the given timesteps, from clean to noise.

    The noise that is added is the one that the run started from, so that both ways meet at the end.

    Args:
        timesteps: in 0 … T - 1; default: eight of the run's, evenly.
    """
    import torch

    # In the model's frame a run starts from unit noise.
    noise = outcome.moments[0].frame.sample
    found: list[Level] = []
    for moment in _nearest(outcome.moments, timesteps):
        noisy = moment.frame.alpha * outcome.latents + moment.frame.sigma * noise
        forward, reverse, predicted = decode(
            pipe, torch.cat([noisy, moment.frame.sample.to(noisy), moment.predicted.to(noisy)])
        )
        found.append(Level(moment.timestep, forward, reverse, predicted))
    return found


def _nearest(moments: Sequence[Moment], timesteps: Sequence[float] | None) -> list[Moment]:
    rising = sorted(moments, key=lambda moment: moment.timestep)
    if timesteps is None:
        span = rising[-1].timestep - rising[0].timestep
        timesteps = [rising[0].timestep + span * i / (TIMES - 1) for i in range(TIMES)]
    nearest = [min(rising, key=lambda moment: abs(moment.timestep - time)) for time in timesteps]
    return list(dict.fromkeys(nearest))
