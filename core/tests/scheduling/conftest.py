import pytest
import torch
from mezzotint.scheduling import Step, solver, spacing
from mezzotint.scheduling.replay import ReplayScheduler


@solver("euler-like", accuracy_order=1)
def euler(s: Step):
    return s.x + (s.sigma_next - s.sigma) * s.derivative


@solver("everything", accuracy_order=1, evals_per_step=3, stochastic=True, history=2, gain=1.0)
def everything(s: Step):
    """Uses all that a solver may: two more evaluations, history, carried tensors, two stages of noise."""
    if s.sigma_next == 0:
        return s.denoised
    middle = (s.sigma * s.sigma_next) ** 0.5
    first = s.denoise(s.denoised + middle * s.derivative + 0.1 * middle * s.noise(0), middle)
    second = s.denoise(first + s.sigma_next * s.derivative, s.sigma_next)
    x = (s.denoised + first + second) / 3 + s.sigma_next * s.derivative
    for past in s.history:
        x = x + 0.01 * s.options.gain * (past.denoised - past.x / past.sigma) + 0.01 * past.carry["kept"]
    return x + 0.2 * s.sigma_next * s.noise(1), {"kept": first}


@spacing("geometric")
def geometric(n, schedule, *, ratio: float = 1.0):
    high, low = schedule.sigma_max, schedule.sigma_min
    return schedule.finish(high * (low / high) ** ((i / n) ** ratio) for i in range(n))


@spacing("every-tenth", start="marginal")
def every_tenth(n, schedule):
    return schedule.finish(schedule.sigma_at(10 * i + schedule.steps_offset) for i in reversed(range(n)))


def predict(x, t):
    """A model: any smooth function of sample and timestep, the same for every sample of a batch."""
    return torch.tanh(0.7 * x + torch.as_tensor(float(t), dtype=x.dtype) / 2000) * 0.9


@pytest.fixture
def solvers():
    return {"euler-like": euler, "everything": everything}


@pytest.fixture
def spacings():
    return {"geometric": geometric, "every-tenth": every_tenth}


@pytest.fixture
def make():
    """A scheduler from specs and settings of the model."""

    def make(solver=everything, spacing=geometric, **settings):
        return ReplayScheduler(solver, spacing, **settings)

    return make


@pytest.fixture
def turns():
    """Drive a scheduler as pipelines do, from where it is; yields the sample after each turn."""

    def turns(scheduler, x, generator=None, model=predict, start=0, stop=None):
        for t in scheduler.timesteps[start:stop]:
            output = model(scheduler.scale_model_input(x, t), t)
            x = scheduler.step(output, t, x, generator=generator, return_dict=False)[0]
            yield x

    return turns


@pytest.fixture
def run(turns):
    """The final sample of a whole run from seeded noise."""

    def run(scheduler, n=6, seeds=(1, 2), shape=(4, 8, 8), dtype=torch.float32, model=predict):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        noise = torch.stack([torch.randn(shape, generator=each) for each in generators]).to(dtype)
        scheduler.set_timesteps(n)
        *_, x = turns(scheduler, noise * scheduler.init_noise_sigma, generators, model)
        return x

    return run


@pytest.fixture
def model():
    return predict
