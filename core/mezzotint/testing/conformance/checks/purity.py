"""Nothing is kept where another run could find it, and nothing is written to that belongs to the caller."""

from __future__ import annotations

import copy
from itertools import zip_longest
from typing import Any

import torch

from ..drive import run, seeded, smooth_model, turns
from ..finding import Finding, judge
from ..problems import fixed_noise
from ..subject import Subject

STEPS = 6
GRID = f"n = {STEPS}"


def interleaved_runs(subject: Subject) -> Finding:
    """Two runs, a step of one and a step of the other, give the bits that they give one after the other."""
    one, other = _noise(1), _noise(2)
    alone = [_run(subject, one, 1), _run(subject, other, 2)]
    started = [_started(subject, one, 1), _started(subject, other, 2)]
    ends: list[Any] = [None, None]
    for pair in zip_longest(*started):
        ends = [end if turn is None else turn.after for end, turn in zip(ends, pair, strict=True)]
    different = [k for k in (0, 1) if not torch.equal(alone[k], ends[k])]
    return judge(
        not different,
        f"{'no run differs' if not different else 'runs differ'} when two are interleaved",
        grid=GRID,
        advice="Keep nothing in the solver's module, in a closure or in a default argument: use s.history.",
    )


def used_again(subject: Subject) -> Finding:
    """A scheduler that was stopped in the middle of a run starts the next as a fresh one does."""
    fresh = _run(subject, _noise(1), 1)
    scheduler = subject.make()
    stopped = _started(subject, _noise(2), 2, scheduler)
    for _ in range(STEPS // 2):
        next(stopped)
    again = _run(subject, _noise(1), 1, scheduler)
    return judge(
        torch.equal(fresh, again),
        "a run after a stopped one is " + ("the same" if torch.equal(fresh, again) else "another"),
        grid=f"{GRID}, stopped after {STEPS // 2}",
        advice="Let set_timesteps reset everything that step keeps.",
    )


def inputs_untouched(subject: Subject) -> Finding:
    """`step` writes neither to the sample nor to the model's output."""
    changed: list[str] = []
    scheduler = subject.make()
    scheduler.set_timesteps(STEPS)
    x = _noise(1) * float(scheduler.init_noise_sigma)
    kept: list[tuple[str, torch.Tensor, torch.Tensor]] = []

    def model(seen: torch.Tensor, timestep: float) -> torch.Tensor:
        output = smooth_model(seen, timestep)
        kept.extend([("a sample", seen, seen.clone()), ("a model output", output, output.clone())])
        return output

    for turn in turns(scheduler, model, x, generator=seeded(1, 1)):
        kept.append(("a returned sample", turn.after, turn.after.clone()))
        changed += [f"{what} at evaluation {turn.index}" for what, now, before in kept if not torch.equal(now, before)]
        kept = [each for each in kept if torch.equal(each[1], each[2])]
    return judge(
        not changed,
        f"written to: {changed[0] if changed else 'nothing'}",
        grid=GRID,
        advice="Use x + y instead of x.add_(y): the caller and the history still need these tensors.",
    )


def config_frozen(subject: Subject) -> Finding:
    """A run changes nothing in the config."""
    scheduler = subject.make()
    before = copy.deepcopy(dict(getattr(scheduler, "config", {})))
    _run(subject, _noise(1), 1, scheduler)
    after = dict(getattr(scheduler, "config", {}))
    changed = [name for name in {**before, **after} if repr(before.get(name)) != repr(after.get(name))]
    return judge(
        not changed,
        f"changed: {', '.join(changed) or 'nothing'}",
        grid=GRID,
        advice="Keep what belongs to a run beside the config, which says how to make the scheduler again.",
    )


def _noise(seed: int) -> torch.Tensor:
    return fixed_noise((2, 2, 4, 4), seed)


def _run(subject: Subject, noise: torch.Tensor, seed: int, scheduler: Any = None) -> torch.Tensor:
    torch.manual_seed(0)
    generators = seeded(seed, seed + 10)
    return run(subject, smooth_model, noise, STEPS, scheduler=scheduler, generator=generators)[-1].after


def _started(subject: Subject, noise: torch.Tensor, seed: int, scheduler: Any = None) -> Any:
    scheduler = subject.make() if scheduler is None else scheduler
    scheduler.set_timesteps(STEPS)
    x = noise * float(scheduler.init_noise_sigma)
    return turns(scheduler, smooth_model, x, generator=seeded(seed, seed + 10))
