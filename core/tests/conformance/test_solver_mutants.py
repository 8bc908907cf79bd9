"""Seeded bugs in solvers, each of them caught by the check that is meant for it."""

import math

import pytest
import torch
from mezzotint.scheduling import solver
from mezzotint.testing.conformance import CHECKS, subject_of

MUTANTS = []


def mutant(check, name, **declared):
    """A wrong solver, and the name of the check that must fail."""

    def add(function):
        MUTANTS.append(pytest.param(solver(name, **declared)(function), check, id=name))
        return function

    return add


def caught(subject, check):
    (found,) = (each for each in CHECKS if each.name == check)
    return found(subject)


def second_order(s, denoised_last, r):
    denoised = s.denoised + (s.denoised - denoised_last) / (2 * r)
    return s.sigma_next / s.sigma * s.x - math.expm1(-s.h) * denoised


def plain(s):
    return s.x + (s.sigma_next - s.sigma) * s.derivative


@mutant("order-alternating", "missing-step-ratio", accuracy_order=2, history=1)
def missing_step_ratio(s):
    return second_order(s, s.history[-1].denoised, 1.0) if s.history and s.sigma_next > 0 else plain(s)


@mutant("order-exponential", "sigma-of-the-wrong-end", accuracy_order=2, evals_per_step=2)
def sigma_of_the_wrong_end(s):
    x = plain(s)
    if s.sigma_next == 0:
        return x
    slope_next = (x - s.denoise(x, s.sigma_next)) / s.sigma
    return s.x + (s.sigma_next - s.sigma) * (s.derivative + slope_next) / 2


@mutant("order-exponential", "second-stage-from-the-start", accuracy_order=2, evals_per_step=2)
def second_stage_from_the_start(s):
    x = plain(s)
    if s.sigma_next == 0:
        return x
    slope_next = (x - s.denoise(s.x, s.sigma_next)) / s.sigma_next
    return s.x + (s.sigma_next - s.sigma) * (s.derivative + slope_next) / 2


@mutant("order-exponential", "euler-that-says-two", accuracy_order=2)
def euler_that_says_two(s):
    return plain(s)


@mutant("order-exponential", "half-of-the-second-difference", accuracy_order=3, history=2)
def half_of_the_second_difference(s):
    """As the third order of DPM-Solver++ is often written down: the curvature has half its weight."""
    if len(s.history) < 2 or s.sigma_next == 0:
        return plain(s)
    last, before = s.history[-1], s.history[-2]
    r0 = (s.half_log_snr - last.half_log_snr) / s.h
    r1 = (last.half_log_snr - before.half_log_snr) / s.h
    slope, earlier = (s.denoised - last.denoised) / r0, (last.denoised - before.denoised) / r1
    curvature = (slope - earlier) / (r0 + r1)
    phi_2 = 1 + math.expm1(-s.h) / s.h
    x = s.sigma_next / s.sigma * s.x - math.expm1(-s.h) * s.denoised + phi_2 * (slope + r0 * curvature)
    return x + 0.5 * (1 - 2 * phi_2 / s.h) * curvature


@mutant("order-declared", "heun-that-says-one", accuracy_order=1, evals_per_step=2)
def heun_that_says_one(s):
    x = plain(s)
    if s.sigma_next == 0:
        return x
    slope_next = (x - s.denoise(x, s.sigma_next)) / s.sigma_next
    return s.x + (s.sigma_next - s.sigma) * (s.derivative + slope_next) / 2


@mutant("stability", "growing-from-step-to-step", accuracy_order=3, history=1)
def growing_from_step_to_step(s):
    """The most accurate explicit method of two steps in log σ, which is famously unstable (root -5)."""
    if not s.history or s.sigma_next == 0:
        return plain(s)
    last = s.history[-1]
    now, before = s.x - s.denoised, last.x - last.denoised
    return -4 * s.x + 5 * last.x - s.h * (4 * now + 2 * before)


@mutant("point-mass", "weights-that-do-not-sum-to-one", accuracy_order=1)
def weights_that_do_not_sum_to_one(s):
    return s.sigma_next / s.sigma * s.x + (1 - s.sigma_next / s.sigma) * 0.999 * s.denoised


@mutant("point-mass", "single-precision-inside", accuracy_order=1)
def single_precision_inside(s):
    return (s.x.float() + (s.sigma_next - s.sigma) * s.derivative.float()).to(s.x.dtype)


@mutant("shift", "clipped-in-the-solver", accuracy_order=1)
def clipped_in_the_solver(s):
    return s.x + (s.sigma_next - s.sigma) * (s.x - s.denoised.clamp(-2, 2)) / s.sigma


@mutant("point-mass", "no-last-step", accuracy_order=1)
def no_last_step(s):
    return s.x if s.sigma_next == 0 else plain(s)


@mutant("last-jump", "logarithm-of-zero", accuracy_order=1)
def logarithm_of_zero(s):
    return s.denoised + math.exp(math.log(s.sigma_next / s.sigma)) * (s.x - s.denoised)


@mutant("last-jump", "extrapolated-to-a-clamped-logarithm", accuracy_order=2, history=1)
def extrapolated_to_a_clamped_logarithm(s):
    if not s.history:
        return plain(s)
    h = -math.log(max(s.sigma_next, 1e-40)) - s.half_log_snr
    r = (s.half_log_snr - s.history[-1].half_log_snr) / h
    denoised = s.denoised + (s.denoised - s.history[-1].denoised) / (2 * r)
    return s.sigma_next / s.sigma * s.x - math.expm1(-h) * denoised


@mutant("last-jump", "not-a-number-at-the-end", accuracy_order=1)
def not_a_number_at_the_end(s):
    weight = (
        (torch.ones(()) * s.sigma_next).log().exp() / s.sigma * (s.half_log_snr_next / s.half_log_snr_next)
    )
    return s.denoised + weight * (s.x - s.denoised)


@mutant("evaluations", "one-evaluation-too-many", accuracy_order=1)
def one_evaluation_too_many(s):
    s.denoise(s.x, s.sigma)
    return plain(s)


@mutant("weak-order-exponential", "noise-too-weak", accuracy_order=1, stochastic=True)
def noise_too_weak(s):
    ratio = (s.sigma_next / s.sigma) ** 2
    return s.denoised + ratio * (s.x - s.denoised) + s.sigma_next * (1 - ratio) * s.noise()


@mutant("weak-order-exponential", "variance-for-deviation", accuracy_order=1, stochastic=True)
def variance_for_deviation(s):
    ratio = s.sigma_next / s.sigma
    up = s.sigma_next**2 * (1 - ratio**2)
    down = math.sqrt(max(s.sigma_next**2 - up**2, 0))
    x = s.denoised + down * s.derivative
    return x + math.sqrt(up) * s.noise() if up > 0 else x


@mutant(
    "weak-order-alternating", "same-noise-in-every-stage", accuracy_order=1, stochastic=True, evals_per_step=2
)
def same_noise_in_every_stage(s):
    if s.sigma_next == 0:
        return s.denoised
    middle = math.sqrt(s.sigma * s.sigma_next)

    def ancestral(x, denoised, sigma, target):
        ratio = (target / sigma) ** 2
        return denoised + ratio * (x - denoised) + target * math.sqrt(1 - ratio) * s.noise(0)

    x = ancestral(s.x, s.denoised, s.sigma, middle)
    return ancestral(x, s.denoise(x, middle), middle, s.sigma_next)


@mutant("eta-zero", "noise-without-eta", accuracy_order=1, stochastic=True, eta=1.0)
def noise_without_eta(s):
    ratio = (s.sigma_next / s.sigma) ** 2
    deviation = s.sigma_next * math.sqrt(1 - ratio)
    mean = s.denoised + ratio * (s.x - s.denoised)
    return mean + max(s.options.eta, 0.1) * deviation * s.noise()


@mutant("eta-zero", "drift-of-the-sde-without-eta", accuracy_order=1, stochastic=True, eta=1.0)
def drift_of_the_sde_without_eta(s):
    ratio = (s.sigma_next / s.sigma) ** 2
    mean = s.denoised + ratio * (s.x - s.denoised)
    noise = s.options.eta * s.sigma_next * math.sqrt(1 - ratio)
    return mean + noise * s.noise() if noise > 0 else mean


_KEPT = []


@mutant("interleaved-runs", "history-in-the-module", accuracy_order=1)
def history_in_the_module(s):
    if s.index == 0:
        _KEPT.clear()
    _KEPT.append(s.denoised)
    same = _KEPT[-2:] if _KEPT[-1].shape == _KEPT[0].shape else _KEPT[-1:]
    mean = sum(same) / len(same)
    return s.x + (s.sigma_next - s.sigma) * (s.x - mean) / s.sigma


_LAST = {}


@mutant("used-again", "history-of-the-run-before", accuracy_order=1)
def history_of_the_run_before(s):
    last = _LAST.get(s.x.shape, s.denoised)
    _LAST[s.x.shape] = s.denoised
    return s.x + (s.sigma_next - s.sigma) * (s.x - (0.9 * s.denoised + 0.1 * last)) / s.sigma


@mutant("inputs-untouched", "in-place", accuracy_order=1)
def in_place(s):
    return s.x.add_((s.sigma_next - s.sigma) * s.derivative)


@mutant("inputs-untouched", "in-place-on-the-answer", accuracy_order=1)
def in_place_on_the_answer(s):
    return s.denoised.mul_(1 - s.sigma_next / s.sigma).add_(s.sigma_next / s.sigma * s.x)


@mutant("seeded-noise", "global-random-numbers", accuracy_order=1, stochastic=True)
def global_random_numbers(s):
    ratio = (s.sigma_next / s.sigma) ** 2
    return s.denoised + ratio * (s.x - s.denoised) + s.sigma_next * (1 - ratio) ** 0.5 * torch.randn_like(s.x)


@mutant("seeded-noise", "noise-that-is-not-declared", accuracy_order=1)
def noise_that_is_not_declared(s):
    ratio = (s.sigma_next / s.sigma) ** 2
    return s.denoised + ratio * (s.x - s.denoised) + s.sigma_next * (1 - ratio) ** 0.5 * s.noise()


@mutant("batch-invariance", "one-noise-for-the-batch", accuracy_order=1, stochastic=True)
def one_noise_for_the_batch(s):
    ratio = (s.sigma_next / s.sigma) ** 2
    return s.denoised + ratio * (s.x - s.denoised) + s.sigma_next * (1 - ratio) ** 0.5 * s.noise()[:1]


@mutant("batch-invariance", "mean-over-the-batch", accuracy_order=1)
def mean_over_the_batch(s):
    return plain(s) + 1e-3 * s.sigma_next * s.denoised.mean()


@mutant("resume", "counts-its-own-calls", accuracy_order=1)
def counts_its_own_calls(s):
    counts_its_own_calls.calls = 0 if s.index == 0 else counts_its_own_calls.calls + 1
    return plain(s) * (1 + 1e-3 * (counts_its_own_calls.calls % 3))


@pytest.mark.parametrize(("spec", "check"), MUTANTS)
def test_a_seeded_bug_is_caught(spec, check):
    finding = caught(subject_of(spec), check)
    assert finding.outcome == "failed", finding
    assert finding.measured


def test_the_step_ratio_is_seen_on_uneven_steps_only():
    spec = next(case.values[0] for case in MUTANTS if case.id == "missing-step-ratio")
    smooth, uneven = (caught(subject_of(spec), f"order-{grid}") for grid in ("exponential", "alternating"))
    assert smooth.outcome == "passed"
    assert smooth.numbers["order"] == pytest.approx(2, abs=0.15)
    assert uneven.numbers["order"] == pytest.approx(1, abs=0.15)
    assert "alternating 1:3" in uneven.grid
    assert "step ratio" in uneven.advice


def test_every_check_of_solvers_has_a_mutant():
    of_schedulers = {"levels", "image-to-image", "prediction-types", "config-frozen", "dtype"}
    named = {case.values[1] for case in MUTANTS} | of_schedulers
    assert {check.name for check in CHECKS if "solver" in check.kinds} == named
