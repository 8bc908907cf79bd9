"""What every solver must do."""

import io
from itertools import pairwise

import pytest
import torch
from mezzotint.scheduling import integrate
from mezzotint_schedulers import SOLVERS

every_solver = pytest.mark.parametrize("spec", SOLVERS, ids=lambda spec: spec.name)
SHORT = [[5.0, 0.0], [5.0, 1.0, 0.0], [5.0, 2.0, 0.4, 0.0], [9.0, 5.0, 2.0, 0.4, 0.05, 0.0]]


def noise(step, stage):
    return torch.randn(2, 1, 2, 2, generator=torch.Generator().manual_seed(10 * step + stage)).double()


@every_solver
@pytest.mark.parametrize("levels", SHORT, ids=len)
def test_a_point_is_found_exactly(spec, levels):
    """All data at one point: the denoised sample is that point, and so must be the end of every run."""
    point = torch.full((2, 1, 2, 2), 0.37, dtype=torch.float64)
    end = integrate(spec, lambda x, sigma: point, noise(9, 9) * levels[0], levels, noise=noise)
    torch.testing.assert_close(end, point, rtol=0, atol=1e-12)


@every_solver
@pytest.mark.parametrize("levels", SHORT, ids=len)
def test_scale_and_shift_of_the_data_scale_and_shift_the_sample(spec, levels):
    """An affine change of all data is an affine change of the run: no solver may have a length of its own."""

    def denoise(x, sigma):
        return torch.tanh(x / (1 + sigma))

    start = noise(9, 9) * levels[0]
    end = integrate(spec, denoise, start, levels, noise=noise)
    shift = 0.7
    moved = integrate(
        spec, lambda x, sigma: denoise(x - shift, sigma) + shift, start + shift, levels, noise=noise
    )
    torch.testing.assert_close(moved, end + shift, rtol=1e-10, atol=1e-10)


@every_solver
def test_without_noise_it_needs_none_and_with_noise_it_asks_for_it(spec, make, run):
    scheduler = make(spec.name, "karras")
    first, second = (run(scheduler, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert torch.equal(first, second) is not spec.stochastic


@every_solver
def test_an_image_of_a_batch_is_the_image_alone(spec, make, run):
    def end(seeds):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return run(make(spec.name, "karras"), seeds=seeds, generator=generators)

    assert torch.equal(end((3, 4, 5))[1:2], end((4,)))


@every_solver
def test_it_resumes_bit_for_bit(spec, make):
    def turns(scheduler, x, start, stop):
        for t in scheduler.timesteps[start:stop]:
            answer, generator = torch.tanh(x), torch.Generator().manual_seed(4)
            x = scheduler.step(answer, t, x, generator=generator, uncond_output=answer).prev_sample
        return x

    scheduler = make(spec.name, "karras")
    scheduler.set_timesteps(6)
    middle = turns(scheduler, torch.ones(1, 4, 4, 4), 0, 5)
    file = io.BytesIO()
    torch.save(scheduler.state_dict(), file)
    end = turns(scheduler, middle, 5, None)
    resumed = make(spec.name, "karras")
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(turns(resumed, middle, 5, None), end)


@every_solver
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double_precision(spec, make, run, dtype):
    def end(dtype):
        generator = torch.Generator().manual_seed(1)
        return run(make(spec.name, "karras"), dtype=dtype, generator=generator, model=lambda x, t: x * 0.5)

    half, exact = end(dtype), end(torch.float64)
    assert half.dtype == dtype
    error = (half.double() - exact).abs().max() / exact.abs().max()
    assert error < 30 * torch.finfo(dtype).eps


@every_solver
def test_it_makes_as_many_evaluations_as_it_declares(spec, make):
    scheduler = make(spec.name, "karras", **({"repeats": 0} if spec.name == "restart" else {}))
    scheduler.set_timesteps(8)
    whole_steps = 7 * spec.evals_per_step
    assert whole_steps < len(scheduler.timesteps) <= whole_steps + spec.evals_per_step


@every_solver
def test_it_looks_back_no_further_than_it_declares(spec, make, run):
    """With one step of history less than declared the run must differ, else the declaration is too high."""
    import dataclasses

    if not spec.history:
        return
    options = {"unipc": {"order": 3}, "sa-solver": {"predictor_order": 4, "lower_order_final": False}}.get(
        spec.name, {}
    )
    levels = [10.0, 7.0, 5.0, 3.5, 2.0, 1.2, 0.8]

    def end(history):
        shorter = dataclasses.replace(spec, history=history)
        denoise = lambda x, sigma: torch.tanh(x / (1 + sigma))  # noqa: E731
        return integrate(shorter, denoise, noise(9, 9) * 10, levels, noise=noise, options=options)

    assert not torch.equal(end(spec.history), end(spec.history - 1))
    assert torch.equal(end(spec.history), end(spec.history + 1))


TWINS = [
    ("ddim", {}, "euler", {}),
    ("ddim", {"eta": 1.0}, "ddpm", {}),
    ("euler-ancestral", {}, "ddpm", {}),
    ("euler-ancestral", {"eta": 0.0}, "euler", {}),
    ("euler-cfg-pp", {}, "euler", {}),
    ("euler-ancestral-cfg-pp", {"eta": 0.0}, "euler", {}),
    ("dpm2-ancestral", {"eta": 0.0}, "dpm2", {}),
    ("dpmpp-2m-sde", {"eta": 0.0}, "dpmpp-2m", {}),
    ("dpmpp-2s-ancestral", {"eta": 0.0}, "dpmpp-sde", {"eta": 0.0}),
    ("seeds-2", {}, "dpmpp-sde", {}),
    ("er-sde", {"order": 1, "scale": "ode"}, "euler", {}),
    ("sa-solver", {"tau": 0.0, "corrector_order": 0, "lower_order_final": False}, "res-multistep", {}),
    ("lms", {"order": 1}, "euler", {}),
    ("deis", {"order": 1}, "euler", {}),
    ("ipndm", {"order": 1}, "euler", {}),
    ("gradient-estimation", {"gamma": 1.0}, "euler", {}),
    ("restart", {"repeats": 0}, "heun", {}),
]


@pytest.mark.parametrize(("name", "options", "twin", "options_of_twin"), TWINS)
def test_special_cases_that_the_papers_state(name, options, twin, options_of_twin):
    specs = {spec.name: spec for spec in SOLVERS}
    levels = [9.0, 5.0, 2.0, 0.4, 0.05, 0.0]

    def denoise(x, sigma):
        return torch.tanh(x / (1 + sigma))

    start = noise(9, 9) * levels[0]
    one = integrate(specs[name], denoise, start, levels, noise=noise, options=options)
    two = integrate(specs[twin], denoise, start, levels, noise=noise, options=options_of_twin)
    torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_restart_goes_back_up_once_where_it_passes_its_lower_level(make):
    scheduler = make("restart", "karras", substeps=3, repeats=2)
    scheduler.set_timesteps(10)
    sigmas = scheduler.sigmas.tolist()
    climbs = [later for earlier, later in pairwise(sigmas) if later > earlier]
    assert climbs == pytest.approx([2.0, 2.0])
    assert len(scheduler.timesteps) == 19 + 2 * 3 * 2


def test_the_fixed_names_are_there():
    fixed = "ddpm ddim euler euler-ancestral heun dpm2 lms dpmpp-2m dpmpp-2m-sde dpmpp-sde dpmpp-3m-sde unipc deis lcm"
    names = [spec.name for spec in SOLVERS]
    assert set(fixed.split()) <= set(names)
    assert len(set(names)) == len(names)
    assert all(spec.paper and spec.description for spec in SOLVERS)
