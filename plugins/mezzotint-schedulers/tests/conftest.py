import math
from functools import cache
from itertools import pairwise

import pytest
import torch
from mezzotint.scheduling import Past, make_scheduler
from mezzotint_schedulers import DIFFUSERS, SOLVERS, SPACINGS

SIGMA_MAX, SIGMA_MIN = 14.61, 0.0292
"""Of Stable Diffusion's noise schedule."""


@pytest.fixture
def make():
    """A scheduler by name, from what this distribution provides."""

    def make(name, spacing=None, like=None, **options):
        return make_scheduler(
            name,
            spacing=spacing,
            like=like,
            schedulers={spec.name: spec for spec in SOLVERS},
            families={DIFFUSERS.prefix: DIFFUSERS},
            spacings={spec.name: spec for spec in SPACINGS},
            options=options,
        )

    return make


def predict(x, t):
    """A model that is any smooth function of sample and timestep."""
    return torch.tanh(0.7 * x + float(t) / 2000) * 0.9


@pytest.fixture
def run():
    """The last sample of a run, driven as pipelines do, from noise of the given seeds."""

    def run(scheduler, n=8, seeds=(1, 2), dtype=torch.float32, start=0, model=predict, **arguments):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        x = torch.stack([torch.randn(4, 8, 8, generator=each) for each in generators]).to(dtype)
        scheduler.set_timesteps(n)
        x = x * scheduler.init_noise_sigma
        for t in scheduler.timesteps[start:]:
            output = model(scheduler.scale_model_input(x, t), t)
            if getattr(getattr(scheduler, "solver", None), "unconditional", False):
                arguments["uncond_output"] = output
            x = scheduler.step(output, t, x, return_dict=False, **arguments)[0]
        return x

    return run


class GaussianMixture:
    """Three normal distributions on a line: the denoised sample is known, the ODE's solution to 1e-12."""

    means = torch.tensor([-1.2, 0.3, 1.1], dtype=torch.float64)
    weights = torch.tensor([0.3, 0.45, 0.25], dtype=torch.float64)
    variance = 0.35**2

    def __init__(self):
        self.start = torch.linspace(-1.5, 1.5, 9, dtype=torch.float64).reshape(-1, 1, 1, 1) * SIGMA_MAX

    def denoise(self, x, sigma):
        total = self.variance + sigma**2
        distance = x[..., None] - self.means
        share = torch.softmax(self.weights.log() - distance**2 / (2 * total), -1)
        return (share * (self.means + self.variance / total * distance)).sum(-1)

    def solve(self, x, sigma, sigma_next, steps=60):
        """Classical Runge-Kutta in log σ."""
        h = math.log(sigma_next / sigma) / steps

        def slope(u, x):
            return x - self.denoise(x, math.exp(u))

        for i in range(steps):
            u = math.log(sigma) + i * h
            k1 = slope(u, x)
            k2 = slope(u + h / 2, x + h / 2 * k1)
            k3 = slope(u + h / 2, x + h / 2 * k2)
            k4 = slope(u + h, x + h * k3)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return x

    @cache  # noqa: B019
    def end(self):
        return self.solve(self.start, SIGMA_MAX, SIGMA_MIN, steps=2000)

    def begun(self, levels, steps):
        """Sample and history after the first steps, exact, as multistep solvers would like to find them."""
        x, history = self.start, []
        for sigma, sigma_next in pairwise(levels[: steps + 1]):
            history.append(Past(x, sigma, self.denoise(x, sigma), {"corrected": x, "noise": 0 * x}))
            x = self.solve(x, sigma, sigma_next)
        return x, tuple(history)


@pytest.fixture(scope="session")
def mixture():
    return GaussianMixture()


def exponential(n):
    return [SIGMA_MAX * (SIGMA_MIN / SIGMA_MAX) ** (i / n) for i in range(n + 1)]


def alternating(n):
    """Steps in log σ that alternate 1 : 3. Smooth grids hide a solver that ignores the ratio of its steps."""
    return [SIGMA_MAX * (SIGMA_MIN / SIGMA_MAX) ** ((2 * i - i % 2) / (2 * n)) for i in range(n + 1)]


@pytest.fixture
def grids():
    """Both grids by name."""
    return {"exponential": exponential, "alternating": alternating}


@pytest.fixture(params=[exponential, alternating], ids=["exponential", "alternating"])
def grid(request):
    """From a number of steps to noise levels that end at σ_min: a jump to 0 would not shrink with the steps."""
    return request.param
