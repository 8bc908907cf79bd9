"""The replay: a pure solver as a diffusers scheduler, one model evaluation a turn."""

import copy
import io
import json

import pytest
import torch
from mezzotint.errors import PluginError, RequestError
from mezzotint.scheduling import integrate, solver, spacing
from mezzotint.scheduling.noise import keyed_noise
from mezzotint.scheduling.replay import ReplayScheduler


def test_it_computes_what_the_closed_loop_computes(make, run, model, solvers):
    scheduler = make()
    replayed = run(scheduler, n=5, dtype=torch.float64)

    schedule = scheduler.noise_schedule
    levels = scheduler.state_dict()["levels"]
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    x = torch.stack([torch.randn(4, 8, 8, generator=each) for each in generators]).double()

    def denoise(x, sigma):
        alpha = schedule.alpha(sigma)
        told = torch.tensor(schedule.timestep_at(sigma), dtype=torch.float32)
        return (x * alpha - alpha * sigma * model(x * alpha, told)) / alpha

    def noise(step, stage):
        return keyed_noise([(1, 0), (2, 0)], step, stage, like=x)

    start = x * scheduler.init_noise_sigma / schedule.alpha(levels[0])
    closed = integrate(solvers["everything"], denoise, start, levels, noise=noise)
    # Between turns the replay passes through the model's frame, which rounds once: 1e-14 in float64.
    torch.testing.assert_close(replayed, closed, rtol=1e-12, atol=1e-12)


def test_there_is_one_turn_for_each_model_evaluation(make):
    scheduler = make()
    scheduler.set_timesteps(4)
    assert len(scheduler.timesteps) == 3 + 3 + 3 + 1
    assert scheduler.order == 3
    assert len(scheduler.sigmas) == len(scheduler.timesteps) + 1


def test_a_run_never_writes_the_config(make, run):
    scheduler = make()
    before = json.dumps(dict(scheduler.config), sort_keys=True)
    run(scheduler)
    assert json.dumps(dict(scheduler.config), sort_keys=True) == before


def test_two_interleaved_runs_equal_two_runs_one_after_the_other(make, turns):
    def start(seed):
        scheduler = make()
        scheduler.set_timesteps(4)
        generator = torch.Generator().manual_seed(seed)
        return turns(scheduler, torch.randn(1, 4, 4, 4, generator=generator), generator)

    alone = [list(start(seed)) for seed in (1, 2)]
    interleaved = list(zip(start(1), start(2), strict=True))
    for first, second, (one, two) in zip(*alone, interleaved, strict=True):
        assert torch.equal(first, one)
        assert torch.equal(second, two)


def test_a_second_run_of_the_same_scheduler_starts_afresh(make, run):
    scheduler = make()
    first = run(scheduler)
    run(scheduler, n=3)
    assert torch.equal(run(scheduler), first)


def test_a_deep_copy_in_the_middle_goes_on_by_itself(make, turns):
    scheduler = make()
    scheduler.set_timesteps(4)
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(1, 4, 4, 4)
    *_, middle = turns(scheduler, start, generator, stop=5)
    twin = copy.deepcopy(scheduler)
    *_, end = turns(scheduler, middle, generator, start=5)
    *_, end_of_twin = turns(twin, middle, generator, start=5)
    assert torch.equal(end, end_of_twin)


@pytest.mark.parametrize("at", range(10))
def test_a_run_resumes_from_disk_bit_for_bit_at_every_turn(make, turns, at):
    scheduler = make()
    scheduler.set_timesteps(4)
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(2, 4, 4, 4)
    samples = [start, *turns(scheduler, start, generator)]

    scheduler.set_timesteps(4)
    list(turns(scheduler, start, generator, stop=at))
    file = io.BytesIO()
    torch.save(scheduler.state_dict(), file)
    file.seek(0)
    resumed = make()
    resumed.load_state_dict(torch.load(file, weights_only=True))
    *_, end = turns(resumed, samples[at], generator, start=at)
    assert torch.equal(end, samples[-1])


def test_a_run_without_generator_resumes_with_the_noise_that_it_began_with(make, turns):
    scheduler = make()
    scheduler.set_timesteps(3)
    *_, middle = turns(scheduler, torch.randn(1, 4, 4, 4), stop=3)
    state = scheduler.state_dict()
    *_, end = turns(scheduler, middle, start=3)
    scheduler.load_state_dict(state)
    *_, again = turns(scheduler, middle, start=3)
    assert torch.equal(end, again)


def test_the_unconditional_prediction_of_a_steps_start_is_there_in_all_of_it_and_is_resumed(make):
    @solver("both", accuracy_order=1, evals_per_step=2, unconditional=True)
    def both(s):
        if s.sigma_next == 0:
            return s.uncond_denoised
        return s.denoise(s.x, s.sigma_next) + 2 * s.uncond_denoised

    def answers(x):
        return {"model_output": torch.tanh(x), "uncond_output": torch.sin(x)}

    def turns(scheduler, x, start, stop):
        for t in scheduler.timesteps[start:stop]:
            x = scheduler.step(timestep=t, sample=x, **answers(x)).prev_sample
        return x

    scheduler = make(both)
    scheduler.set_timesteps(3)
    middle = turns(scheduler, torch.ones(1, 1, 2, 2), 0, 3)
    state = scheduler.state_dict()
    assert state["unconditional"] is not None
    end = turns(scheduler, middle, 3, None)
    resumed = make(both)
    resumed.load_state_dict(state)
    assert torch.equal(turns(resumed, middle, 3, None), end)


def test_a_solver_that_does_not_declare_it_cannot_see_the_unconditional_prediction(make):
    secret = solver("secret", accuracy_order=1)(lambda s: s.uncond_denoised)
    scheduler = make(secret)
    scheduler.set_timesteps(2)
    x = torch.ones(1, 1, 2, 2)
    with pytest.raises(PluginError, match=r"declare @solver\(…, unconditional=True\)"):
        scheduler.step(x, scheduler.timesteps[0], x, uncond_output=x)


def test_a_solver_cannot_write_its_options(make):
    @solver("writes", accuracy_order=1, gain=1.0)
    def writes(s):
        s.options.gain = 2.0
        return s.x

    with pytest.raises(PluginError, match="solver 'writes' .* a solver cannot change its option 'gain'"):
        make(writes).set_timesteps(2)


def test_a_state_of_another_solver_is_refused(make, solvers):
    scheduler = make()
    scheduler.set_timesteps(3)
    with pytest.raises(RequestError, match="of solver 'everything', not of 'euler-like'"):
        make(solvers["euler-like"]).load_state_dict(scheduler.state_dict())


def test_a_run_from_index_k_equals_a_full_run_from_there_on(make, turns, solvers):
    scheduler = make(solvers["euler-like"])
    scheduler.set_timesteps(6)
    samples = list(turns(scheduler, torch.randn(1, 4, 4, 4)))
    scheduler.set_timesteps(6)
    scheduler.set_begin_index(3)
    tail = list(turns(scheduler, samples[2], start=3))
    assert all(torch.equal(one, two) for one, two in zip(samples[3:], tail, strict=True))


def test_a_run_cannot_start_within_a_step(make):
    scheduler = make()
    scheduler.set_timesteps(4)
    scheduler.set_begin_index(6)
    with pytest.raises(
        RequestError, match=r"cannot start at index 7, within a step; steps start at \[0, 3, 6, 9\]"
    ):
        scheduler.set_begin_index(7)


def test_an_unannounced_start_is_found_if_its_timestep_is_unique(make, turns, solvers):
    scheduler = make(solvers["euler-like"])
    scheduler.set_timesteps(6)
    *_, announced = turns(scheduler, torch.ones(1, 4, 4, 4), start=2)
    scheduler.set_timesteps(6)
    scheduler.set_begin_index(2)
    *_, found = turns(scheduler, torch.ones(1, 4, 4, 4), start=2)
    assert torch.equal(announced, found)


def test_equal_timesteps_change_neither_the_number_of_steps_nor_their_levels(make, turns, solvers):
    scheduler = make(solvers["euler-like"])
    # Below the lowest trained level all timesteps are 0.
    scheduler.set_timesteps(sigmas=[1.0, 0.02, 0.015, 0.01, 0.0])
    assert scheduler.timesteps[1:].tolist() == [0.0, 0.0, 0.0]
    samples = list(turns(scheduler, torch.ones(1, 4, 4, 4), model=lambda x, t: x * 0))
    assert len(samples) == 4
    assert scheduler.step_index == 4
    scheduler.set_timesteps(sigmas=[1.0, 0.02, 0.015, 0.01, 0.0])
    with pytest.raises(RequestError, match="timestep 0 starts 3 steps of this run; call set_begin_index"):
        next(turns(scheduler, torch.ones(1, 4, 4, 4), start=2))


def test_noise_is_added_at_the_exact_level_of_the_run(make, solvers):
    scheduler = make(solvers["euler-like"])
    scheduler.set_timesteps(7)
    scheduler.set_begin_index(3)
    clean, noise = torch.ones(2, 1, 2, 2).double(), torch.full((2, 1, 2, 2), 2.0).double()
    noisy = scheduler.add_noise(clean, noise, scheduler.timesteps[3:4].repeat(2))
    sigma = scheduler.state_dict()["levels"][3]
    alpha = (1 + sigma**2) ** -0.5
    torch.testing.assert_close(noisy, alpha * clean + alpha * sigma * noise, rtol=1e-14, atol=0)


def test_among_equal_timesteps_noise_is_added_at_the_level_where_the_run_is(make, turns, solvers):
    scheduler = make(solvers["euler-like"])
    scheduler.set_timesteps(sigmas=[1.0, 0.02, 0.015, 0.01, 0.0])

    def added():
        zero, one = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
        return float(scheduler.add_noise(zero, one, torch.zeros(1)))

    assert added() == pytest.approx(0.02, rel=1e-3)
    scheduler.set_begin_index(2)
    assert added() == pytest.approx(0.015, rel=1e-3)
    next(turns(scheduler, torch.ones(1, 1, 2, 2), model=lambda x, t: x * 0, start=2))
    assert added() == pytest.approx(0.01, rel=1e-3)


def test_noise_is_added_at_training_timesteps_before_there_is_a_run(make):
    from diffusers import DDPMScheduler

    scheduler = make()
    reference = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    clean, noise, times = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2), torch.tensor([0, 500, 999])
    torch.testing.assert_close(
        scheduler.add_noise(clean, noise, times),
        reference.add_noise(clean, noise, times),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("dtype", "error"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2), (torch.float32, 1e-6)]
)
def test_samples_keep_their_dtype_and_the_arithmetic_is_wider(make, run, solvers, dtype, error):
    scheduler = make(solvers["euler-like"])
    low = run(scheduler, dtype=dtype, model=lambda x, t: torch.tanh(x.double()).to(dtype))
    high = run(scheduler, dtype=torch.float64, model=lambda x, t: torch.tanh(x))
    assert low.dtype == dtype
    assert (low.double() - high).abs().max() < error * high.abs().max()


def test_a_step_in_half_precision_is_the_wide_step_rounded_once(make, solvers):
    def step(widen):
        scheduler = make(solvers["euler-like"])
        scheduler.set_timesteps(4)
        sample, output = (
            torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(k)).half() for k in (1, 2)
        )
        if widen:
            sample, output = sample.float(), output.float()
        return scheduler.step(output, scheduler.timesteps[0], sample).prev_sample

    assert torch.equal(step(widen=False), step(widen=True).half())


def test_the_output_names_the_clean_sample_for_previews(make, solvers):
    scheduler = make(solvers["euler-like"], prediction_type="sample")
    scheduler.set_timesteps(2)
    output = scheduler.step(torch.full((1, 1, 2, 2), 0.5), scheduler.timesteps[0], torch.ones(1, 1, 2, 2))
    assert torch.equal(output.pred_original_sample, torch.full((1, 1, 2, 2), 0.5))


def test_clipping_of_the_config_is_kept(make, run, solvers):
    scheduler = make(solvers["euler-like"], prediction_type="sample", clip_sample=True, clip_sample_range=0.3)
    assert run(scheduler, model=lambda x, t: x).abs().max() <= 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_inference_steps": 0}, "at least one step, not 0"),
        ({"num_inference_steps": -3}, "at least one step, not -3"),
        ({}, "exactly one"),
        ({"num_inference_steps": 3, "sigmas": [1.0, 0.0]}, "exactly one"),
        ({"sigmas": [1.0, 2.0, 0.0]}, r"must fall strictly, but σ\[0\] = 1 is followed by 2"),
        ({"sigmas": [1.0, 1.0, 0.0]}, "must fall strictly"),
        ({"sigmas": [1.0, float("nan"), 0.0]}, "must fall strictly"),
        ({"sigmas": [float("inf"), 1.0, 0.0]}, "must be finite"),
        ({"sigmas": [1.0, -1.0]}, "end at 0 or above"),
        ({"sigmas": [1.0]}, "at least one step"),
        ({"sigmas": []}, "at least one step"),
        ({"timesteps": [10, 20]}, "must fall strictly, but 10 is followed by 20"),
        ({"timesteps": [1000, 0]}, r"timestep 1000 is not in 0 … 999"),
        ({"timesteps": []}, "empty"),
    ],
)
def test_what_is_no_interval_is_refused(make, arguments, message):
    with pytest.raises(RequestError, match=message):
        make().set_timesteps(**arguments)


def test_custom_timesteps_are_told_to_the_model_as_they_are(make, solvers):
    scheduler = make(solvers["euler-like"])
    scheduler.set_timesteps(timesteps=[999, 850, 736, 24])
    assert scheduler.timesteps.tolist() == [999, 850, 736, 24]
    assert scheduler.timesteps.dtype == torch.int64


def test_misuse_of_step_is_refused(make, solvers):
    scheduler = make(solvers["euler-like"])
    x = torch.ones(1, 1, 2, 2)
    with pytest.raises(RequestError, match="call set_timesteps first"):
        scheduler.step(x, 999, x)
    scheduler.set_timesteps(2)
    with pytest.raises(RequestError, match="timestep 1 starts 0 steps"):
        scheduler.step(x, 1, x)
    for t in scheduler.timesteps:
        x = scheduler.step(x, t, x).prev_sample
    with pytest.raises(RequestError, match="the run is over after 2 model evaluations"):
        scheduler.step(x, 0, x)


def test_skipping_a_turn_is_noticed(make, solvers):
    scheduler = make(solvers["euler-like"])
    scheduler.set_timesteps(3)
    x = scheduler.step(torch.ones(1, 1, 2, 2), scheduler.timesteps[0], torch.ones(1, 1, 2, 2)).prev_sample
    with pytest.raises(RequestError, match="but turn 1 of this run is at"):
        scheduler.step(x, scheduler.timesteps[2], x)


def test_nan_from_the_model_names_solver_and_step(make, turns):
    scheduler = make()
    scheduler.set_timesteps(4)
    calls = iter(range(100))
    with pytest.raises(RequestError, match="not finite in step 2 of 4 of solver 'everything'"):
        list(turns(scheduler, torch.ones(1, 1, 2, 2), model=lambda x, t: x / (next(calls) < 4)))


def test_infinity_from_the_model_is_as_bad(make, solvers):
    scheduler = make(solvers["euler-like"])
    scheduler.set_timesteps(2)
    x = torch.ones(1, 1, 2, 2)
    answer = torch.tensor([[[[1.0, 2.0], [float("inf"), -float("inf")]]]])
    with pytest.raises(RequestError, match="not finite in step 1 of 2"):
        scheduler.step(answer, scheduler.timesteps[0], x)


def test_a_solver_that_asks_where_the_sample_says_is_named(make, turns):
    @solver("adaptive", accuracy_order=1, evals_per_step=2)
    def adaptive(s):
        return s.denoise(s.x, s.sigma_next + 0.1 + float(s.x.abs().max()))

    scheduler = make(adaptive)
    scheduler.set_timesteps(2)
    with pytest.raises(
        PluginError, match="'adaptive' asks for the model at σ = .*must not depend on the sample"
    ):
        list(turns(scheduler, torch.ones(1, 1, 2, 2)))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda s: s.denoised, "declares 2 evaluations a step, but makes 1"),
        (lambda s: s.denoise(s.x, 0.0), "asks for the model at σ = 0.0 in step 0"),
        (
            lambda s: s.denoise(s.x, s.sigma_next) if s.sigma_next else 3,
            "returned int in step 1, not a sample",
        ),
    ],
)
def test_a_solver_that_breaks_its_contract_is_named(make, function, message):
    broken = solver("broken", accuracy_order=1, evals_per_step=2)(function)
    with pytest.raises(PluginError, match=f"solver 'broken' {message}"):
        make(broken).set_timesteps(2)


def test_an_option_that_a_solver_cannot_take_is_in_the_message(make):
    @solver("choosy", accuracy_order=1, kind="plain")
    def choosy(s):
        return s.euler(s.sigma_next) * {"plain": 1}[s.options.kind]

    message = "solver 'choosy' with kind='fancy' fails in step 0 .*: KeyError: 'fancy'"
    with pytest.raises(PluginError, match=message):
        make(choosy, solver_options={"kind": "fancy"}).set_timesteps(2)


def test_a_spacing_that_fails_is_named(make):
    @spacing("divided")
    def divided(n, schedule, *, by=0.0):
        return [schedule.sigma_max / by, 0.0]

    with pytest.raises(PluginError, match=r"spacing 'divided' fails for 1 steps, by=0.0: ZeroDivisionError"):
        make(spacing=divided).set_timesteps(1)


@pytest.mark.parametrize("steps", [2.5, "5"])
def test_a_number_of_steps_that_is_no_whole_number_is_refused(make, steps):
    with pytest.raises(RequestError, match=f"a number of steps is a whole number, not {steps!r}"):
        make().set_timesteps(steps)


@pytest.mark.parametrize("given", [{"sigmas": 5}, {"sigmas": ["high", "low"]}, {"timesteps": 5}])
def test_an_interval_that_is_no_list_of_numbers_is_refused(make, given):
    with pytest.raises(RequestError, match="= takes a list of numbers, not "):
        make().set_timesteps(**given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prediction_type": "noise"}, "prediction_type 'noise' is not known; there are epsilon, "),
        ({"final_sigmas_type": "last"}, "final_sigmas_type 'last' is not known; there are zero, sigma_min"),
        ({"num_train_timesteps": 0}, "num_train_timesteps is 0; it must be above 0"),
        ({"use_flow_sigmas": True, "flow_shift": -1.0}, "flow_shift is -1.0; it must be above 0"),
    ],
)
def test_settings_of_the_model_that_mean_nothing_are_refused(make, settings, message):
    with pytest.raises(RequestError, match=message):
        make(**settings)


def test_samples_that_change_their_shape_within_a_run_are_refused(make):
    @solver("with-history", accuracy_order=1, history=1)
    def with_history(s):
        return s.euler(s.sigma_next)

    scheduler = make(with_history)
    scheduler.set_timesteps(3)
    x = torch.ones(2, 1, 2, 2)
    with pytest.raises(RequestError, match=r"output \(1, 1, 2, 2\) and the sample \(2, 1, 2, 2\) differ"):
        scheduler.step(x[:1], scheduler.timesteps[0], x)
    scheduler.step(x, scheduler.timesteps[0], x)
    with pytest.raises(RequestError, match=r"had shape \(2, 1, 2, 2\) a step before and has \(1, 1, 2, 2\)"):
        scheduler.step(x[:1], scheduler.timesteps[1], x[:1])


def test_a_spacing_of_the_wrong_length_is_named(make):
    @spacing("short")
    def short(n, schedule):
        return [1.0, 0.0]

    with pytest.raises(PluginError, match="spacing 'short' gave 2 noise levels for 5 steps, not 6"):
        make(spacing=short).set_timesteps(5)


def test_the_config_makes_the_same_scheduler_again(make, run, solvers, spacings, tmp_path):
    scheduler = make(solver_options={"gain": 2.0}, spacing_options={"ratio": 1.5}, steps_offset=1)
    scheduler.save_pretrained(tmp_path)
    again = ReplayScheduler.from_pretrained(
        tmp_path, solver=solvers["everything"], spacing=spacings["geometric"]
    )
    # What was stored for the names is given as specs here; by name alone it needs an installed plugin.
    assert again.config["solver_options"] == {"gain": 2.0}
    assert torch.equal(run(scheduler), run(again))


def test_other_schedulers_of_diffusers_can_be_made_from_its_config(make):
    from diffusers import EulerDiscreteScheduler

    euler = EulerDiscreteScheduler.from_config(make(beta_end=0.02, prediction_type="v_prediction").config)
    assert euler.config.beta_end == 0.02
    assert euler.config.prediction_type == "v_prediction"


def test_the_first_noise_is_as_large_as_solver_and_spacing_say(make, spacings):
    def scale(start, spacing):
        probe = solver("probe", accuracy_order=1, start=start)(lambda s: s.denoised)
        scheduler = make(probe, spacings[spacing])
        scheduler.set_timesteps(50)
        return scheduler.init_noise_sigma, scheduler.state_dict()["levels"][0]

    for spacing_name in spacings:
        assert scale("marginal", spacing_name)[0] == pytest.approx(1, abs=1e-12)
    assert scale("spacing", "every-tenth")[0] == pytest.approx(1, abs=1e-12)
    factor, sigma = scale("spacing", "geometric")
    assert factor == pytest.approx(sigma / (1 + sigma**2) ** 0.5, rel=1e-12)
