"""Nothing is kept where another run could find it, and nothing is written to that belongs to the caller."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch

from ..drive import first_sample, run, seeded, smooth_model, turns
from ..finding import Finding, judge
from ..grids import EXPONENTIAL
from ..problems import MIXTURE, fixed_noise, spread
from ..subject import Subject
from ..trace import trace

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
    """Neither the sample nor the model's answers nor what was returned before is written to."""
    kept: list[tuple[str, torch.Tensor, torch.Tensor]] = []

    def keep(what: str, tensor: torch.Tensor) -> None:
        kept.append((what, tensor, tensor.clone()))

    if subject.solver is not None:
        levels = [*EXPONENTIAL(STEPS), 0.0]
        trace(subject.solver, _Watched(keep), spread(), levels, options=subject.options_for(STEPS))
    else:
        _watch_turns(subject, keep)
    changed = [what for what, now, before in kept if not torch.equal(now, before)]
    return judge(
        not changed,
        f"written to: {changed[0] if changed else 'nothing'}",
        grid=GRID,
        advice="Use x + y instead of x.add_(y): the caller and the history still need these tensors.",
    )


@dataclass(frozen=True)
class _Watched:
    """A problem that keeps what the solver holds in its hands."""

    keep: Callable[[str, torch.Tensor], None]

    def denoised(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        answer = MIXTURE.denoised(x, sigma)
        self.keep(f"the sample at σ = {sigma:.3g}", x)
        self.keep(f"the denoised sample at σ = {sigma:.3g}", answer)
        return answer

    def solution(self, x: torch.Tensor, sigma: float, sigma_next: float) -> torch.Tensor:
        return MIXTURE.solution(x, sigma, sigma_next)


def _watch_turns(subject: Subject, keep: Callable[[str, torch.Tensor], None]) -> None:
    scheduler = subject.make()
    scheduler.set_timesteps(STEPS)

    def model(seen: torch.Tensor, timestep: float) -> torch.Tensor:
        output = smooth_model(seen, timestep)
        keep(f"the sample at timestep {timestep:g}", seen)
        keep(f"the model's output at timestep {timestep:g}", output)
        return output

    for _ in turns(scheduler, model, first_sample(scheduler, _noise(1)), generator=seeded(1, 1)):
        pass


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
    x = first_sample(scheduler, noise)
    return turns(scheduler, smooth_model, x, generator=seeded(seed, seed + 10))
