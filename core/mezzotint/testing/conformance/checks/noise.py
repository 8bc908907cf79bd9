"""Noise belongs to a seed and a sample, not to a batch or to whoever drew before."""

from __future__ import annotations

import torch

from ..draws import Draws, zeros
from ..drive import run, seeded, smooth_model
from ..finding import Finding, judge
from ..problems import fixed_noise
from ..subject import Subject

STEPS = 6
SHAPE = (2, 4, 4)


def seeded_noise(subject: Subject) -> Finding:
    """The generator alone decides: torch's global state changes nothing and another seed changes something."""
    start = fixed_noise((1, *SHAPE))

    def end(seed: int, elsewhere: int) -> torch.Tensor:
        # Another seed elsewhere must not matter; the state of the caller is put back.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(elsewhere)
            return run(subject, smooth_model, start, STEPS, generator=seeded(seed))[-1].after

    with Draws(zeros) as draws:
        run(subject, smooth_model, start, STEPS, generator=seeded(1))
    first = end(1, 1)
    says_noise = draws.count > 0 if subject.solver is None else subject.solver.stochastic
    if not torch.equal(first, end(1, 2)):
        return judge(
            False,
            "equal seeds give different samples",
            grid=f"n = {STEPS}",
            advice="Take noise from s.noise(stage), or in a scheduler from step's generator, and nowhere else.",
        )
    different = not torch.equal(first, end(2, 1))
    return judge(
        different == says_noise,
        f"another seed gives {'another' if different else 'the same'} sample, "
        f"and it {'adds' if says_noise else 'adds no'} noise",
        grid=f"n = {STEPS}",
        advice="Declare stochastic= as it is, and let every draw depend on the generator.",
    )


def batch_invariance(subject: Subject) -> Finding:
    """Sample k of a batch of three is, bit for bit, the one that its generator gives alone."""
    start = fixed_noise((3, *SHAPE))
    seeds = (5, 6, 7)
    together = run(subject, smooth_model, start, STEPS, generator=seeded(*seeds))[-1].after
    different = []
    for k, seed in enumerate(seeds):
        alone = run(subject, smooth_model, start[k : k + 1], STEPS, generator=seeded(seed))[-1].after
        if not torch.equal(alone, together[k : k + 1]):
            different.append(k)
    return judge(
        not different,
        f"samples {different} differ from those alone" if different else "every sample is as alone",
        grid=f"batch of {len(seeds)} with a list of generators, n = {STEPS}",
        advice="Draw each sample's noise from its own generator, and let no sum run over the batch.",
    )
