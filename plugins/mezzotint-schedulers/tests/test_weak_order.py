"""Stochastic solvers on Gaussian data: every sampler is linear there, so its variance is exact, without sampling.

The responses to the first sample and to each injected noise, one row of a batch each, add up in squares
(Pierret & Galerne 2025).
"""

import math

import pytest
import torch
from mezzotint.scheduling import integrate
from mezzotint_schedulers import SOLVERS

VARIANCE = 0.25
SECOND_ORDER_ON_GAUSSIANS = {"dpmpp-sde": 2, "seeds-2": 2}
"""Where the noise of their two stages belongs to one Brownian motion; their papers promise order 1 in general."""
STOCHASTIC = [spec for spec in SOLVERS if spec.stochastic and spec.name != "lcm"]


def denoise(x, sigma):
    return VARIANCE / (VARIANCE + sigma**2) * x


def variance(spec, levels, options=None, stages=2):
    steps = len(levels) - 1
    responses = torch.zeros(1 + steps * stages, 1, 1, 1, dtype=torch.float64)
    responses[0] = 1

    def noise(step, stage):
        impulse = torch.zeros_like(responses)
        impulse[1 + step * stages + stage] = 1
        return impulse

    end = integrate(spec, denoise, responses, levels, noise=noise, options=options).flatten()
    return float(end[0] ** 2 * (VARIANCE + levels[0] ** 2) + (end[1:] ** 2).sum())


def options_for(spec, n):
    # Restart goes down again in substeps of its own, which must become finer with the others.
    return {"substeps": n // 8} if spec.name == "restart" else None


@pytest.mark.parametrize("spec", STOCHASTIC, ids=lambda spec: spec.name)
def test_the_variance_converges_with_the_declared_order(spec, grid):
    exact = VARIANCE + grid(8)[-1] ** 2
    numbers = (128, 256) if spec.name != "er-sde" else (256, 512)
    coarse, fine = (abs(variance(spec, grid(n), options_for(spec, n)) - exact) for n in numbers)
    expected = SECOND_ORDER_ON_GAUSSIANS.get(spec.name, spec.accuracy_order)
    assert math.log2(coarse / fine) > expected - 0.2


@pytest.mark.parametrize("spec", STOCHASTIC, ids=lambda spec: spec.name)
def test_forgetting_the_noise_would_be_noticed(spec, grid):
    exact = VARIANCE + grid(8)[-1] ** 2
    end = variance(spec, grid(64), (options_for(spec, 64) or {}))
    assert end == pytest.approx(exact, rel=0.15)
    if "s_noise" in spec.options:
        assert variance(spec, grid(64), {"s_noise": 0.5}) < 0.9 * end


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.7])
def test_every_eta_has_the_same_variance_in_the_limit(eta, grid):
    exact = VARIANCE + grid(8)[-1] ** 2
    for spec in STOCHASTIC:
        if "eta" in spec.options:
            assert variance(spec, grid(256), {"eta": eta}) == pytest.approx(exact, rel=0.04), spec.name
