"""Seeded bugs in a scheduler of diffusers' protocol, each of them caught by the check that is meant for it."""

import pytest
import torch
from diffusers import EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from mezzotint.errors import RequestError
from mezzotint.testing.conformance import CHECKS, check_scheduler, subject_of
from small_scheduler import SmallScheduler

MUTANTS = []


def mutant(check):
    """A wrong scheduler, and the name of the check that must fail."""

    def add(wrong):
        MUTANTS.append(pytest.param(wrong, check, id=wrong.__name__))
        return wrong

    return add


@mutant("levels")
class FixedStride(SmallScheduler):
    def next_cumulative(self, index):
        time = self.timesteps[index] - self.config.num_train_timesteps // len(self.timesteps)
        return self.alphas_cumprod[time] if time >= 0 else super().next_cumulative(len(self.timesteps) - 1)


@mutant("levels")
class OffByOneStride(SmallScheduler):
    def next_cumulative(self, index):
        last = index + 1 == len(self.timesteps)
        return super().next_cumulative(index) if last else self.alphas_cumprod[self.timesteps[index + 1] - 1]


@mutant("levels")
class RepeatedLastSigma(SmallScheduler):
    def next_cumulative(self, index):
        return self.alphas_cumprod[self.timesteps[min(index + 1, len(self.timesteps) - 1)]]


@mutant("levels")
class ResidualNoise(SmallScheduler):
    def next_cumulative(self, index):
        last = index + 1 == len(self.timesteps)
        return self.alphas_cumprod[30] if last else super().next_cumulative(index)


@mutant("image-to-image")
class BeginIndexIgnored(SmallScheduler):
    def set_begin_index(self, begin_index=0):
        pass


@mutant("image-to-image")
class LevelOfTheLastTimestep(SmallScheduler):
    def add_noise(self, original_samples, noise, timesteps):
        return super().add_noise(original_samples, noise, self.timesteps[-1:])


@mutant("prediction-types")
class WrongSignOfV(SmallScheduler):
    def denoised(self, output, sample, alpha, sigma):
        if self.config.prediction_type == "v_prediction":
            return alpha * sample + sigma * output
        return super().denoised(output, sample, alpha, sigma)


@mutant("order-exponential")
class HalfOfTheNoise(SmallScheduler):
    def denoised(self, output, sample, alpha, sigma):
        return super().denoised(0.98 * output, sample, alpha, sigma)


@mutant("weak-order-exponential")
class NoiseTwice(SmallScheduler):
    def noise(self, sample, generator):
        return 2**0.5 * super().noise(sample, generator)


@mutant("timesteps")
class RoundedTwice(SmallScheduler):
    def spaced(self, n, total):
        return (super().spaced(n, total) // 16) * 16


@mutant("timesteps")
class RefusesFewSteps(SmallScheduler):
    def spaced(self, n, total):
        if n < 4:
            raise ValueError("too few")
        return super().spaced(n, total)


@mutant("evaluations")
class OrderForAccuracy(SmallScheduler):
    order = 2


@mutant("evaluations")
class OneTurnTooMany(SmallScheduler):
    def spaced(self, n, total):
        return super().spaced(n + 1, total)


@mutant("interleaved-runs")
class StateOfTheClass(SmallScheduler):
    answers = []  # noqa: RUF012

    def denoised(self, output, sample, alpha, sigma):
        if self.index == 0:
            self.answers.clear()
        self.answers.append(super().denoised(output, sample, alpha, sigma))
        return sum(self.answers[-2:]) / len(self.answers[-2:])


@mutant("used-again")
class NotReset(SmallScheduler):
    last = None

    def denoised(self, output, sample, alpha, sigma):
        clean = super().denoised(output, sample, alpha, sigma)
        last, self.last = self.last, clean
        return clean if last is None or last.shape != clean.shape else (clean + last) / 2


@mutant("inputs-untouched")
class WritesTheOutput(SmallScheduler):
    def step(self, output, timestep, sample, **kwargs):
        return super().step(output.mul_(1.0001), timestep, sample, **kwargs)


@mutant("inputs-untouched")
class WritesTheSample(SmallScheduler):
    def step(self, output, timestep, sample, **kwargs):
        return (sample.copy_(super().step(output, timestep, sample, **kwargs)[0]),)


@mutant("config-frozen")
class WritesTheConfig(SmallScheduler):
    def set_timesteps(self, n, device=None):
        super().set_timesteps(n)
        self.register_to_config(eta=self.config.eta, steps=n)


@mutant("seeded-noise")
class SharedRandomNumbers(SmallScheduler):
    def noise(self, sample, generator):
        return torch.randn_like(sample)


@mutant("batch-invariance")
class FirstGeneratorForAll(SmallScheduler):
    def noise(self, sample, generator):
        return super().noise(sample, generator[0] if isinstance(generator, list) else generator)


@mutant("dtype")
class SinglePrecisionOut(SmallScheduler):
    def step(self, output, timestep, sample, **kwargs):
        x = super().step(output, timestep, sample, **kwargs)[0]
        return (x.float() if sample.dtype != torch.float64 else x,)


@mutant("dtype")
class LessPreciseThanItsSamples(SmallScheduler):
    def step(self, output, timestep, sample, **kwargs):
        rounded = sample if sample.dtype == torch.float64 else sample.to(torch.float8_e4m3fn).to(sample.dtype)
        return super().step(output, timestep, rounded, **kwargs)


@mutant("resume")
class ForgetsWhenPickled(SmallScheduler):
    def __getstate__(self):
        return {**self.__dict__, "index": None}


STOCHASTIC = {"weak-order-exponential", "seeded-noise", "batch-invariance"}


def subject(wrong, check):
    def make(num_train_timesteps=1000, trained_betas=None, prediction_type="epsilon"):
        eta = 1.0 if check in STOCHASTIC else 0.0
        return wrong(num_train_timesteps, trained_betas, prediction_type, eta)

    return subject_of(make)


def finding(wrong, check):
    (found,) = (each for each in CHECKS if each.name == check)
    return found(subject(wrong, check))


@pytest.mark.parametrize(("wrong", "check"), MUTANTS)
def test_a_seeded_bug_is_caught(wrong, check):
    assert finding(wrong, check).outcome == "failed", finding(wrong, check)


@pytest.mark.parametrize("check", [check.name for check in CHECKS if "scheduler" in check.kinds])
def test_the_scheduler_that_the_bugs_are_seeded_in_is_right(check):
    assert finding(SmallScheduler, check).outcome == (
        "not applicable" if check == "weak-order-alternating" else "passed"
    )


def test_every_check_of_schedulers_has_a_mutant():
    named = {case.values[1] for case in MUTANTS}
    smooth_is_enough = {"order-alternating", "weak-order-alternating"}
    assert {check.name for check in CHECKS if "scheduler" in check.kinds} == named | smooth_is_enough


def test_a_report_says_what_failed_where_and_what_to_do():
    report = check_scheduler(FixedStride, leave_out=["image-to-image"])
    assert [finding.check for finding in report.failed] == ["levels"]
    assert "n = 30" in report["levels"].grid
    with pytest.raises(AssertionError, match=r"FixedStride fails 1 check:\nlevels: failed: .*\n.*by index"):
        report.raise_if_failed()
    assert "1 failed (levels)" in str(report.card)


def test_flow_schedulers_are_put_on_a_grid_by_their_sigmas():
    report = check_scheduler(FlowMatchEulerDiscreteScheduler, accuracy_order=1)
    report.raise_if_failed()
    assert report["order-alternating"].numbers["order"] == pytest.approx(1, abs=0.15)
    assert report["levels"].outcome == "passed"


def test_a_scheduler_object_is_made_again_with_its_config():
    euler = EulerDiscreteScheduler(prediction_type="v_prediction", timestep_spacing="trailing")
    before = str(dict(euler.config))
    check_scheduler(euler, accuracy_order=1).raise_if_failed()
    assert str(dict(euler.config)) == before


def test_what_is_no_scheduler_is_refused():
    with pytest.raises(RequestError, match="is no solver, no spacing and no scheduler"):
        check_scheduler("euler")
