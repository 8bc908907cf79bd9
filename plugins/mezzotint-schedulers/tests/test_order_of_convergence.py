"""The declared order, measured on a Gaussian mixture whose exact solution is known (Karras et al.'s ODE)."""

import math
from itertools import pairwise

import pytest
from mezzotint.scheduling import integrate, solver
from mezzotint_schedulers import SOLVERS

WITHOUT_NOISE = {"sa-solver": {"tau": 0.0}, "er-sde": {"scale": "ode"}, "restart": {"repeats": 0}}
"""How to switch the noise off where it is not `eta`."""
DETERMINISTIC_ORDER = {"dpmpp-sde": 2, "seeds-2": 2, "dpmpp-3m-sde": 3, "sa-solver": 3, "er-sde": 3}
"""Order without noise, where it is higher than the declared weak order."""


def options_without_noise(spec):
    options = dict(WITHOUT_NOISE.get(spec.name, {"eta": 0.0} if spec.stochastic else {}))
    if "lower_order_final" in spec.options:
        # A last step of lower order is right for pictures and would be all that is measured here.
        options["lower_order_final"] = False
    return options


def slopes(spec, mixture, grid, numbers, options):
    """Observed order between successive numbers of steps, each twice the one before; multistep solvers with an exact history."""
    errors = []
    for n in numbers:
        levels = grid(n)
        x, history = mixture.begun(levels, spec.history)
        end = integrate(spec, mixture.denoise, x, levels[spec.history :], options=options, history=history)
        errors.append(float((end - mixture.end()).abs().max()))
    return [math.log2(error / finer) for error, finer in pairwise(errors)]


CONVERGENT = [spec for spec in SOLVERS if spec.name not in ("ddpm", "lcm")]


@pytest.mark.parametrize("spec", CONVERGENT, ids=lambda spec: spec.name)
def test_the_error_falls_with_the_declared_order(spec, mixture, grid):
    expected = DETERMINISTIC_ORDER.get(spec.name, spec.accuracy_order)
    if spec.name in ("ipndm", "gradient-estimation") and grid.__name__ == "exponential":
        # Of higher order where the steps are equal, or slow to become linear.
        expected = {"ipndm": 2, "gradient-estimation": 1}[spec.name]
    *_, observed = slopes(spec, mixture, grid, (128, 256), options_without_noise(spec))
    assert observed == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("lms", {"order": 2}, 2),
        ("lms", {"order": 3}, 3),
        ("deis", {"order": 2}, 2),
        ("unipc", {"order": 1}, 2),
        ("unipc", {"solver_type": "bh1"}, 3),
        ("sa-solver", {"predictor_order": 1, "corrector_order": 1}, 1),
        ("er-sde", {"order": 1}, 1),
        ("er-sde", {"order": 2}, 2),
        ("dpmpp-2m-sde", {"solver_type": "heun"}, 2),
        ("dpmpp-3m-sde", {"curvature": 0.5}, 2),
        ("dpmpp-sde", {"r": 0.3}, 2),
        ("seeds-2", {"r": 0.7}, 2),
    ],
)
def test_options_change_the_order_as_they_say(name, changes, expected, mixture, grid):
    (spec,) = (spec for spec in SOLVERS if spec.name == name)
    *_, observed = slopes(spec, mixture, grid, (128, 256), options_without_noise(spec) | changes)
    assert observed == pytest.approx(expected, abs=0.15)


def test_unipc_of_order_three_is_of_fourth_order_with_its_corrector(mixture, grid):
    (spec,) = (spec for spec in SOLVERS if spec.name == "unipc")
    *_, observed = slopes(spec, mixture, grid, (32, 64), options_without_noise(spec) | {"order": 3})
    assert observed > 3.7


def test_the_measurement_sees_a_solver_that_ignores_the_ratio_of_its_steps(mixture, grids):
    """The pilot of this kit: smooth grids do not see it, the alternating one does."""

    @solver("without-ratio", accuracy_order=2, history=1)
    def without_ratio(s):
        denoised = s.denoised + (s.denoised - s.history[-1].denoised) / 2
        return s.sigma_next / s.sigma * s.x - math.expm1(-s.h) * denoised

    assert slopes(without_ratio, mixture, grids["exponential"], (128, 256), {})[0] == pytest.approx(
        2, abs=0.15
    )
    assert slopes(without_ratio, mixture, grids["alternating"], (128, 256), {})[0] == pytest.approx(
        1, abs=0.15
    )
