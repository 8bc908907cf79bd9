"""The exact problems are exact: checked against each other, and against an integration by brute force."""

import math
from itertools import pairwise

import pytest
import torch
from mezzotint.testing.conformance.draws import Draws, impulses, zeros
from mezzotint.testing.conformance.grids import ALTERNATING, EXPONENTIAL, GRIDS, SIGMA_MAX, SIGMA_MIN
from mezzotint.testing.conformance.problems import GAUSSIAN, MIXTURE, POINT, Mixture, spread


def brute_force(problem, x, sigma, sigma_next, steps=4000):
    """Classical Runge-Kutta in log σ."""
    h = math.log(sigma_next / sigma) / steps

    def slope(x, u):
        return x - problem.denoised(x, math.exp(u))

    for i in range(steps):
        u = math.log(sigma) + i * h
        k1 = slope(x, u)
        k2 = slope(x + h / 2 * k1, u + h / 2)
        k3 = slope(x + h / 2 * k2, u + h / 2)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(x + h * k3, u + h))
    return x


@pytest.mark.parametrize("problem", [POINT, GAUSSIAN, MIXTURE], ids=lambda problem: type(problem).__name__)
def test_the_solution_follows_the_ode(problem):
    start = spread()
    exact = problem.solution(start, SIGMA_MAX, SIGMA_MIN)
    torch.testing.assert_close(brute_force(problem, start, SIGMA_MAX, SIGMA_MIN), exact, rtol=0, atol=1e-11)


def test_a_mixture_of_one_is_the_gaussian():
    one = Mixture(means=(0.0,), weights=(1.0,), variance=GAUSSIAN.variance)
    x = spread()
    for sigma in (SIGMA_MAX, 1.0, SIGMA_MIN):
        torch.testing.assert_close(
            one.denoised(x, sigma), GAUSSIAN.denoised(x, sigma), rtol=1e-13, atol=1e-13
        )
    exact = GAUSSIAN.solution(x, SIGMA_MAX, SIGMA_MIN)
    torch.testing.assert_close(one.solution(x, SIGMA_MAX, SIGMA_MIN), exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
def test_grids_fall_from_sigma_max_to_sigma_min_exactly(grid):
    levels = grid(64)
    assert len(levels) == 65
    assert levels[0] == SIGMA_MAX
    assert levels[-1] == SIGMA_MIN
    assert all(later < earlier for earlier, later in pairwise(levels))


def test_steps_of_the_alternating_grid_alternate_one_to_three():
    logs = [math.log(level) for level in ALTERNATING(8)]
    steps = [earlier - later for earlier, later in pairwise(logs)]
    assert [step / steps[0] for step in steps] == pytest.approx([1, 3] * 4)
    assert ALTERNATING(8)[::2] == pytest.approx(EXPONENTIAL(4))


def test_draws_are_replaced_wherever_they_come_from():
    with Draws(impulses) as draws:
        first = torch.randn(4, 1, generator=torch.Generator().manual_seed(1))
        second = torch.randn_like(torch.zeros(4, 1, dtype=torch.float64))
        third = torch.empty(4, 1).normal_()
    assert draws.count == 3
    assert torch.cat([first, second, third], 1).tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert not torch.equal(torch.randn(4), torch.zeros(4))


def test_draws_are_counted_without_a_change():
    plain = torch.randn(3, generator=torch.Generator().manual_seed(1))
    with Draws() as draws:
        counted = torch.randn(3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(plain, counted)
    assert draws.count == 1
    with Draws(zeros):
        assert not torch.randn(3).any()
