"""A run can be written down in the middle and go on elsewhere."""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch

from ..drive import first_sample, seeded, smooth_model, turns
from ..finding import Finding, judge
from ..problems import fixed_noise
from ..subject import Subject

STEPS = 6


def resume(subject: Subject) -> Finding:
    """Saved after each model evaluation and continued, a run ends with the bits that it would have had.

    Through `state_dict` and `torch.save` where a scheduler has it, else by pickling the scheduler.
    """
    scheduler, x, generators = _begun(subject)
    total = len(scheduler.timesteps)
    whole = list(turns(scheduler, smooth_model, x, generator=generators))[-1].after
    for stop in range(1, total):
        scheduler, x, generators = _begun(subject)
        middle = list(turns(scheduler, smooth_model, x, generator=generators, stop=stop))[-1].after
        again = _through_a_file(subject, scheduler)
        end = list(turns(again, smooth_model, middle, generator=generators, start=stop))[-1].after
        if not torch.equal(end, whole):
            return judge(
                False,
                f"a run that is saved after model evaluation {stop} of {total} ends differently",
                grid=f"n = {STEPS}",
                advice="Put all that step keeps into state_dict: history, index, and what it holds within a step.",
            )
    how = "state_dict" if hasattr(scheduler, "state_dict") else "pickle"
    return judge(
        True, f"equal bits after each of {total} evaluations, through {how}", grid=f"n = {STEPS}", advice=""
    )


def _begun(subject: Subject) -> tuple[Any, torch.Tensor, list[torch.Generator]]:
    torch.manual_seed(0)
    scheduler = subject.make()
    scheduler.set_timesteps(STEPS)
    return scheduler, first_sample(scheduler, fixed_noise((2, 2, 4, 4))), seeded(1, 2)


def _through_a_file(subject: Subject, scheduler: Any) -> Any:
    if not hasattr(scheduler, "state_dict"):
        return pickle.loads(pickle.dumps(scheduler))
    file = io.BytesIO()
    torch.save(scheduler.state_dict(), file)
    file.seek(0)
    again = subject.make()
    again.load_state_dict(torch.load(file, weights_only=True))
    return again
