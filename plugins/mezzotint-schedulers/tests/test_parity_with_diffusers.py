"""Solvers against diffusers' classes of the same settings, driven alike by the same function as model.

Both compute in float32, diffusers' noise levels too, and long steps amplify its rounding: the tolerance is
2e-5 of the largest value (most agree to 1e-6). Where diffusers is wrong a test says so and shows the difference.
"""

import math
from functools import partial

import diffusers
import pytest
import torch
from mezzotint.scheduling.noise import keyed_noise
from mezzotint_schedulers.solvers.ancestral import ancestral_split

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
SEEDS = (1, 2)
TOLERANCE = 2e-5


def distance(ours, theirs):
    return float((ours - theirs).abs().max() / theirs.abs().max())


def scheduler_class(name):
    found = getattr(diffusers, name)
    if isinstance(found, diffusers.utils.DummyObject):
        pytest.skip(f"{name} needs a package that is not installed")
    return found


DETERMINISTIC = [
    ("euler", "EulerDiscreteScheduler", {}, {}),
    ("heun", "HeunDiscreteScheduler", {}, {}),
    ("dpm2", "KDPM2DiscreteScheduler", {}, {}),
    ("lms", "LMSDiscreteScheduler", {}, {}),
    ("dpmpp-2m", "DPMSolverMultistepScheduler", {}, {}),
    (
        "dpmpp-2m-sde",
        "DPMSolverMultistepScheduler",
        {"solver_type": "heun"},
        {"eta": 0.0, "solver_type": "heun"},
    ),
    ("unipc", "UniPCMultistepScheduler", {}, {}),
    ("unipc", "UniPCMultistepScheduler", {"solver_order": 3}, {"order": 3}),
    (
        "unipc",
        "UniPCMultistepScheduler",
        {"solver_type": "bh1", "final_sigmas_type": "sigma_min"},
        {"solver_type": "bh1"},
    ),
    ("unipc", "UniPCMultistepScheduler", {"solver_order": 1}, {"order": 1}),
    # Its DEIS and SA-Solver always end at σ_min.
    ("deis", "DEISMultistepScheduler", {"solver_order": 2}, {"order": 2, "final_sigmas_type": "sigma_min"}),
    ("deis", "DEISMultistepScheduler", {"solver_order": 3}, {"order": 3, "final_sigmas_type": "sigma_min"}),
    # It modifies SA-Solver from order 2 on, "for few steps".
    (
        "sa-solver",
        "SASolverScheduler",
        {"predictor_order": 1, "corrector_order": 1, "tau_func": lambda t: 0},
        {"predictor_order": 1, "corrector_order": 1, "tau": 0.0, "final_sigmas_type": "sigma_min"},
    ),
    ("ddim", "DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}, {}),
    ("ddim", "DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": True}, {}),
]


@pytest.mark.parametrize("n", [1, 5, 20])
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize(("name", "theirs", "config", "options"), DETERMINISTIC)
def test_deterministic_solvers_agree(make, run, name, theirs, config, options, spacing, n):
    if spacing == "linspace" and (name == "ddim" or n == 1):
        pytest.skip("diffusers is wrong there, see below")
    like = scheduler_class(theirs)(**SD, **config, timestep_spacing=spacing)
    ours = make(name, like=like, **options)
    assert distance(run(ours, n), run(like, n)) < TOLERANCE
    assert len(ours.timesteps) == len(like.timesteps)


@pytest.mark.parametrize("spacing", ["karras", "exponential", "beta"])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("euler", "EulerDiscreteScheduler"),
        ("heun", "HeunDiscreteScheduler"),
        ("dpm2", "KDPM2DiscreteScheduler"),
        ("lms", "LMSDiscreteScheduler"),
    ],
)
def test_spacings_over_a_range_agree(make, run, name, theirs, spacing):
    if spacing == "beta":
        pytest.importorskip("scipy")
    flag = {"karras": "use_karras_sigmas", "exponential": "use_exponential_sigmas", "beta": "use_beta_sigmas"}
    like = scheduler_class(theirs)(**SD, **{flag[spacing]: True})
    # Their σ_min and σ_max are float32.
    assert distance(run(make(name, like=like), 12), run(like, 12)) < TOLERANCE


@pytest.fixture
def same_noise(monkeypatch):
    """Let diffusers' classes draw, step by step, the noise that ours is given by its key."""

    def patch(module):
        draws = iter(range(1000))

        def randn_tensor(shape, generator=None, device=None, dtype=None, **_):
            keys = [(seed, 0) for seed in SEEDS]
            return keyed_noise(keys, next(draws), 0, torch.empty(shape, dtype=dtype))

        monkeypatch.setattr(f"diffusers.schedulers.{module}.randn_tensor", randn_tensor)

    return patch


SDE = {"algorithm_type": "sde-dpmsolver++"}
STOCHASTIC = [
    ("ddpm", "DDPMScheduler", "scheduling_ddpm", {"clip_sample": False}, {}),
    ("euler-ancestral", "EulerAncestralDiscreteScheduler", "scheduling_euler_ancestral_discrete", {}, {}),
    ("dpm2-ancestral", "KDPM2AncestralDiscreteScheduler", "scheduling_k_dpm_2_ancestral_discrete", {}, {}),
    ("dpmpp-2m-sde", "DPMSolverMultistepScheduler", "scheduling_dpmsolver_multistep", SDE, {}),
    ("lcm", "LCMScheduler", "scheduling_lcm", {"timestep_scaling": 1e6}, {}),
]


@pytest.mark.parametrize(("name", "theirs", "module", "config", "options"), STOCHASTIC)
def test_stochastic_solvers_agree_on_the_same_noise(
    make, run, same_noise, name, theirs, module, config, options
):
    like = scheduler_class(theirs)(**SD, **config, timestep_spacing="leading")
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    spacing = "lcm" if name == "lcm" else None
    ours = run(make(name, spacing, like=like, **options), 10, SEEDS, generator=generators)
    same_noise(module)
    assert distance(ours, run(like, 10, SEEDS, generator=generators)) < TOLERANCE


def test_ddim_agrees_at_every_eta(make, run):
    like = diffusers.DDIMScheduler(
        **SD, clip_sample=False, set_alpha_to_one=False, timestep_spacing="trailing"
    )
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    ours = run(make("ddim", like=like, eta=0.6), 10, SEEDS, generator=generators)
    like.set_timesteps(10)
    x = torch.stack([torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in SEEDS])
    for step, t in enumerate(like.timesteps):
        output = torch.tanh(0.7 * x + float(t) / 2000) * 0.9
        noise = keyed_noise([(seed, 0) for seed in SEEDS], step, 0, x)
        x = like.step(output, t, x, eta=0.6, variance_noise=noise).prev_sample
    assert distance(ours, x) < TOLERANCE


def test_dpmpp_sde_agrees_on_the_same_brownian_motion(make, run):
    like = scheduler_class("DPMSolverSDEScheduler")(**SD, timestep_spacing="trailing")
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    ours = make("dpmpp-sde", like=like)
    end = run(ours, 6, SEEDS, generator=generators)
    levels = ours.state_dict()["levels"]
    calls = iter(range(1000))

    def noise_sampler(sigma, sigma_next):
        step, stage = divmod(next(calls), 2)
        first, second = (
            keyed_noise([(seed, 0) for seed in SEEDS], step, k, torch.empty(2, 4, 8, 8)) for k in (0, 1)
        )
        if stage == 0:
            return first
        middle = math.sqrt(levels[step] * levels[step + 1])
        up = ancestral_split(levels[step], levels[step + 1], 1.0)[1]
        part = ancestral_split(levels[step], middle, 1.0)[1] * (levels[step + 1] / middle) ** 2
        return (part * first + math.sqrt(up**2 - part**2) * second) / up

    like.set_timesteps(6)
    like.noise_sampler = noise_sampler
    x = torch.stack([torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in SEEDS])
    x = x * like.init_noise_sigma
    for t in like.timesteps:
        scaled = like.scale_model_input(x, t)
        x = like.step(torch.tanh(0.7 * scaled + float(t) / 2000) * 0.9, t, x).prev_sample
    assert distance(end, x) < TOLERANCE


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("euler", "EulerDiscreteScheduler"),
        ("dpmpp-2m", "DPMSolverMultistepScheduler"),
        ("ddim", "DDIMScheduler"),
    ],
)
def test_prediction_types_agree(make, run, name, theirs, prediction_type):
    config = {"clip_sample": False} if theirs == "DDIMScheduler" else {}
    like = scheduler_class(theirs)(
        **SD, **config, timestep_spacing="trailing", prediction_type=prediction_type
    )
    assert distance(run(make(name, like=like), 10), run(like, 10)) < TOLERANCE


def test_zero_terminal_snr_agrees(make, run):
    like = diffusers.DDIMScheduler(
        **SD,
        clip_sample=False,
        timestep_spacing="trailing",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
    )
    # DDIM has α = 0 at the last timestep, here it is 2^-12.
    assert distance(run(make("ddim", like=like), 10), run(like, 10)) < 3e-4


def test_flow_matching_agrees(make):
    like = diffusers.FlowMatchEulerDiscreteScheduler()
    ours = make("euler", like=like)
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))

    def end(scheduler):
        scheduler.set_timesteps(8)
        x = noise
        for t in scheduler.timesteps:
            x = scheduler.step(torch.tanh(0.7 * x + float(t) / 2000), t, x, return_dict=False)[0]
        return x

    # A flow starts at σ = 1, where σ/α is infinite; here it is 1e6.
    assert distance(end(ours), end(like)) < TOLERANCE
    assert ours.init_noise_sigma == pytest.approx(1)


def test_flow_levels_of_the_caller_agree(make):
    like = diffusers.FlowMatchEulerDiscreteScheduler()
    ours = make("euler", like=like)
    levels = [1.0, 0.8, 0.5, 0.1]
    like.set_timesteps(sigmas=levels)
    ours.set_timesteps(sigmas=levels)
    torch.testing.assert_close(ours.timesteps.float(), like.timesteps, rtol=1e-6, atol=0)


class TestWhereDiffusersIsWrong:
    def test_ddim_takes_a_fixed_stride_whatever_its_timesteps_are(self, make, run):
        """diffusers issues 9261, 12633: `step` ignores what `set_timesteps` laid out for linspace."""
        like = diffusers.DDIMScheduler(**SD, clip_sample=False, timestep_spacing="linspace")
        ours = make("ddim", like=like)
        theirs = run(like, 8)
        assert distance(run(ours, 8), theirs) > 0.05
        # Its Euler's method, the same rule, agrees with ours.
        euler = diffusers.EulerDiscreteScheduler(**SD, timestep_spacing="linspace")
        euler.set_timesteps(timesteps=ours.timesteps.tolist())
        x = torch.stack(
            [torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in SEEDS]
        )
        x = x * (float(euler.sigmas[0]) ** 2 + 1) ** 0.5
        for t in euler.timesteps:
            scaled = euler.scale_model_input(x, t)
            x = euler.step(torch.tanh(0.7 * scaled + float(t) / 2000) * 0.9, t, x).prev_sample
        assert distance(run(ours, 8), x) < TOLERANCE

    def test_trailing_may_give_a_step_more_at_timestep_minus_one(self, make):
        """For 62 of the first 1000 numbers of steps, as `numpy.arange` over fractions may reach its end."""
        like = diffusers.DDIMScheduler(**SD, timestep_spacing="trailing")
        ours = make("ddim", like=like)
        like.set_timesteps(61)
        ours.set_timesteps(61)
        assert (len(like.timesteps), int(like.timesteps[-1])) == (62, -1)
        assert ours.timesteps.tolist() == like.timesteps[:-1].tolist()

    def test_one_step_of_linspace_starts_at_timestep_zero(self, make):
        like = diffusers.EulerDiscreteScheduler(**SD, timestep_spacing="linspace")
        ours = make("euler", like=like)
        like.set_timesteps(1)
        ours.set_timesteps(1)
        assert (like.timesteps.tolist(), ours.timesteps.tolist()) == ([0], [999])

    def test_the_third_order_gives_its_second_difference_half_the_weight(self, make, run):
        """Found by the order of convergence; k-diffusion's sample_dpmpp_3m_sde has the same."""
        config = {"solver_order": 3, "solver_type": "heun", "timestep_spacing": "trailing"}
        like = diffusers.DPMSolverMultistepScheduler(**SD, **config)
        halved = run(make("dpmpp-3m-sde", like=like, eta=0.0, curvature=0.5), 20)
        right = run(make("dpmpp-3m-sde", like=like, eta=0.0), 20)
        assert distance(halved, run(like, 20)) < TOLERANCE
        assert distance(right, run(like, 20)) > 1e-4

    def test_dpm_solver_asks_at_rounded_timesteps_that_its_levels_do_not_have(self, make, run):
        like = diffusers.DPMSolverMultistepScheduler(**SD, use_karras_sigmas=True)
        ours = make("dpmpp-2m", like=like)
        assert 1e-6 < distance(run(ours, 20), run(like, 20)) < 1e-4
        like.set_timesteps(60)
        ours.set_timesteps(60)
        assert len(set(like.timesteps.tolist())) < len(set(ours.timesteps.tolist())) == 60

    def test_unipc_bh1_ends_in_nan_at_sigma_zero(self, make, run):
        """B(h) = -h is infinite there and multiplies a correction of 0."""
        like = diffusers.UniPCMultistepScheduler(**SD, solver_type="bh1")
        assert run(like, 5).isnan().all()
        assert run(make("unipc", like=like, solver_type="bh1"), 5).isfinite().all()

    def test_the_third_order_sde_has_a_wrong_sign(self):
        """The weight of the second difference must vanish with the step; theirs tends to -1 instead."""
        like = diffusers.DPMSolverMultistepScheduler(
            **SD, algorithm_type="sde-dpmsolver++", solver_order=3, timestep_spacing="trailing"
        )
        like.set_timesteps(1000)
        like._step_index = 500
        zero, one = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
        # Of a sample at 0 and denoised samples 1, 0, 0 the next step can move no further than its length, 1e-2.
        moved = like.multistep_dpm_solver_third_order_update([one, zero, zero], sample=zero, noise=zero)
        alpha = (1 + float(like.sigmas[501]) ** 2) ** -0.5
        assert float(moved) / alpha == pytest.approx(-0.5, abs=0.01)

    def test_deis_of_order_three_gets_worse_with_more_steps(self):
        """Its weights are differences of float32 logarithms that cancel where steps are short."""
        from mezzotint.testing.conformance import subject_of
        from mezzotint.testing.conformance.checks.order import scheduler_error
        from mezzotint.testing.conformance.grids import EXPONENTIAL

        theirs = subject_of(partial(diffusers.DEISMultistepScheduler, solver_order=3))
        coarse, middle, fine = (scheduler_error(theirs, EXPONENTIAL, n) for n in (24, 48, 192))
        assert coarse / middle > 2**2.5
        assert fine > 3 * middle

    def test_pndm_asks_its_second_timestep_twice(self):
        like = diffusers.PNDMScheduler(**SD, skip_prk_steps=True)
        like.set_timesteps(10)
        assert like.timesteps.tolist() == [901, 801, 801, 701, 601, 501, 401, 301, 201, 101, 1]

    def test_single_step_dpm_solver_writes_its_config(self):
        betas = {name: SD[name] for name in ("beta_start", "beta_end", "beta_schedule")}
        like = scheduler_class("DPMSolverSinglestepScheduler")(**betas, lower_order_final=False)
        like.set_timesteps(7)
        assert like.config.lower_order_final is True

    def test_image_to_image_runs_of_lms_have_weights_of_slopes_that_are_not_there(self, make):
        """Started at index 3 it takes weights of order 4 for the one slope that it has, and so another step."""
        like = scheduler_class("LMSDiscreteScheduler")(**SD)
        ours = make("lms", like=like)
        slope = torch.ones(1, 1, 2, 2)

        def first_step(scheduler):
            scheduler.set_timesteps(6)
            scheduler.set_begin_index(3)
            x = torch.zeros(1, 1, 2, 2)
            seen = scheduler.scale_model_input(x, scheduler.timesteps[3])
            return float((scheduler.step(slope, scheduler.timesteps[3], x).prev_sample - seen).mean())

        theirs = first_step(like)
        length = float(like.sigmas[4] - like.sigmas[3])
        alpha = (1 + float(like.sigmas[4]) ** 2) ** -0.5
        assert first_step(ours) / alpha == pytest.approx(length, rel=1e-3)
        assert theirs / length == pytest.approx(1.4, abs=0.01)
