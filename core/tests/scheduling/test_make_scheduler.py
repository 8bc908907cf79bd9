"""From a name to a scheduler: what is found, what is read from the model, what is refused."""

import copy
import json

import diffusers
import pytest
from mezzotint.errors import DuplicateNameError, RequestError, UnknownNameError
from mezzotint.scheduling import SchedulerFamily, SchedulerSpec, make_scheduler, spacing
from mezzotint.scheduling.replay import ReplayScheduler

SD = {
    "_class_name": "PNDMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
}


@pytest.fixture
def named(solvers, spacings):
    family = SchedulerFamily(
        "diffusers",
        lambda: ["EulerDiscreteScheduler", "DDIMScheduler", "FlowMatchEulerDiscreteScheduler"],
        lambda name, config: getattr(diffusers, name).from_config(dict(config)),
    )
    own = SchedulerSpec(
        "own", lambda config, options: diffusers.DDIMScheduler.from_config(dict(config), **options)
    )
    schedulers = {**solvers, "own": own, "DDPMScheduler": diffusers.DDPMScheduler}

    def named(name, spacing="geometric", like=None, spacings=spacings, **options):
        return make_scheduler(
            name,
            spacing=spacing,
            like=like,
            schedulers=schedulers,
            families={"diffusers": family},
            spacings=spacings,
            options=options,
        )

    return named


def test_the_model_settings_come_from_its_scheduler_which_is_left_as_it_is(named):
    like = diffusers.DDIMScheduler(beta_end=0.03, prediction_type="v_prediction", rescale_betas_zero_snr=True)
    before = copy.deepcopy(dict(like.config))
    made = named("euler-like", like=like)
    assert isinstance(made, ReplayScheduler)
    assert made.config["beta_end"] == 0.03
    assert made.config["prediction_type"] == "v_prediction"
    assert made.config["rescale_betas_zero_snr"] is True
    assert dict(like.config) == before


def test_defaults_of_the_class_that_wrote_a_config_are_filled_in(named):
    made = named("euler-like", like={"_class_name": "DDIMScheduler"})
    assert made.config["beta_end"] == 0.02
    assert made.config["clip_sample"] is True


def test_without_a_model_it_is_stable_diffusions(named):
    made = named("euler-like")
    assert (made.config["beta_start"], made.config["beta_end"]) == (0.00085, 0.012)


def test_a_solvers_scheduler_can_be_the_model_for_another(named):
    first = named("euler-like", like={**SD, "beta_end": 0.05})
    second = named("everything", spacing=None, like=first)
    assert second.config["beta_end"] == 0.05
    assert second.spacing.name == "geometric"


@pytest.mark.parametrize(
    ("like", "expected"),
    [
        ({"_class_name": "DDIMScheduler", "timestep_spacing": "leading"}, "leading"),
        ({"_class_name": "DPMSolverMultistepScheduler", "timestep_spacing": "leading"}, "leading@dpm"),
        ({"_class_name": "UniPCMultistepScheduler"}, "linspace@dpm"),
        ({"_class_name": "EulerDiscreteScheduler"}, "linspace@euler"),
        ({"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}, "trailing"),
        ({"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": True}, "karras"),
        ({"_class_name": "HeunDiscreteScheduler", "use_exponential_sigmas": True}, "exponential"),
        ({"_class_name": "DEISMultistepScheduler", "use_beta_sigmas": True}, "beta"),
        ({"_class_name": "PNDMScheduler"}, "leading"),
        (None, "trailing"),
    ],
)
def test_the_default_spacing_is_the_models_own_in_its_own_dialect(named, like, expected):
    known = {
        name: spacing(name, default=True)(lambda n, schedule: schedule.finish([1.0]))
        for name in ("leading@ddim", "leading@dpm", "linspace@dpm", "linspace@euler")
    }
    known["leading@dpm"] = spacing("leading@dpm")(lambda n, schedule: schedule.finish([1.0]))
    known |= {
        name: spacing(name)(lambda n, schedule: schedule.finish([1.0]))
        for name in ("trailing", "karras", "exponential", "beta")
    }
    made = named("euler-like", spacing=None, like=like, spacings=known)
    assert made.spacing.name == {"leading": "leading@ddim"}.get(expected, expected)


def test_options_go_to_solver_spacing_and_model(named):
    made = named("everything", gain=2, ratio=3.0, prediction_type="sample")
    assert made.options.gain == 2
    assert made.config["spacing_options"] == {"ratio": 3.0}
    assert made.config["prediction_type"] == "sample"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gian": 2.0}, r"neither solver 'everything' nor spacing 'geometric' has an option 'gian'; .*gain"),
        ({"gain": "much"}, "'gain' is 'much'; it takes a float such as 1.0"),
        ({"gain": True}, "'gain' is True; it takes a float"),
    ],
)
def test_wrong_options_are_refused(named, options, message):
    with pytest.raises(RequestError, match=message):
        named("everything", **options)


@pytest.mark.parametrize(
    ("name", "spacing_name", "message"),
    [
        ("euler-lik", "geometric", "no scheduler named 'euler-lik'; did you mean euler-like?"),
        ("zzz", "geometric", "no scheduler named 'zzz'; there are: .*diffusers:…"),
        ("diffusers:EulerScheduler", None, "did you mean EulerDiscreteScheduler"),
        ("euler-like", "geometrik", "no spacing named 'geometrik'; did you mean geometric?"),
    ],
)
def test_unknown_names_say_what_there_is(named, name, spacing_name, message):
    with pytest.raises(UnknownNameError, match=message):
        named(name, spacing_name)


@pytest.mark.parametrize(
    ("name", "spacing_name", "like", "message"),
    [
        (5, None, None, "a scheduler is given by its name, such as 'euler' .* not as 5"),
        (None, None, None, "not as None"),
        ("euler-like", 7, None, "spacing= takes a name, such as 'karras', or what @spacing returns, not 7"),
        ("euler-like", "geometric", 3.0, "like= takes a scheduler or its config, not 3.0"),
    ],
)
def test_arguments_of_the_wrong_kind_are_one_sentence(named, name, spacing_name, like, message):
    with pytest.raises(RequestError, match=message):
        named(name, spacing_name, like=like)


def test_a_pipeline_is_no_scheduler_and_the_sentence_says_which_part_is(named):
    class Pipeline:
        scheduler = diffusers.DDIMScheduler()

    with pytest.raises(RequestError, match=r"like= takes pipe.scheduler, not Pipeline"):
        named("euler-like", like=Pipeline())


def test_solver_and_spacing_may_be_given_themselves(named, solvers, spacings):
    made = named(solvers["everything"], spacings["geometric"])
    assert (made.solver, made.spacing) == (solvers["everything"], spacings["geometric"])
    with pytest.raises(RequestError, match="spacing= 'geometric' goes with a solver"):
        named("diffusers:DDIMScheduler", spacings["geometric"])


def test_without_a_name_it_is_the_class_of_the_model_with_another_spacing(named):
    like = diffusers.EulerDiscreteScheduler()
    made = named(None, "karras", like=like)
    assert type(made) is diffusers.EulerDiscreteScheduler
    assert made.config.use_karras_sigmas is True
    solved = named(None, "geometric", like=named("everything", like=like))
    assert (solved.solver.name, solved.spacing.name) == ("everything", "geometric")


def test_without_plugins_an_unknown_name_says_what_brings_some():
    def bare(name, spacing=None):
        return make_scheduler(name, spacing=spacing, schedulers={}, families={}, spacings={})

    with pytest.raises(
        UnknownNameError, match="no scheduler named 'euler'; .*pip install mezzotint-schedulers"
    ):
        bare("euler")
    like = diffusers.DDIMScheduler()
    with pytest.raises(RequestError, match="DDIMScheduler cannot take the spacing 'karas'; it takes leading"):
        make_scheduler(None, spacing="karas", like=like, schedulers={}, families={}, spacings={})


def test_a_plain_name_means_the_default_dialect_and_two_defaults_are_an_error(named):
    @spacing("steps@one", default=True)
    def one(n, schedule):
        return schedule.finish([1.0])

    @spacing("steps@two", default=True)
    def two(n, schedule):
        return schedule.finish([1.0])

    assert named("euler-like", "steps", spacings={"steps@one": one}).spacing is one
    both = {"steps@one": one, "steps@two": two}
    assert named("euler-like", "steps@two", spacings=both).spacing is two
    with pytest.raises(DuplicateNameError, match="steps@one and steps@two both claim"):
        named("euler-like", "steps", spacings=both)


@pytest.mark.parametrize(
    ("spacing_name", "flags"),
    [
        ("karras", {"use_karras_sigmas": True, "use_exponential_sigmas": False}),
        ("exponential", {"use_exponential_sigmas": True}),
        ("trailing", {"timestep_spacing": "trailing", "use_karras_sigmas": False}),
        ("leading", {"timestep_spacing": "leading"}),
    ],
)
def test_a_spacing_becomes_flags_of_a_diffusers_class(named, spacing_name, flags):
    like = {**SD, "_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": True}
    made = named("diffusers:EulerDiscreteScheduler", spacing_name, like=like)
    assert type(made) is diffusers.EulerDiscreteScheduler
    assert {name: made.config[name] for name in flags} == flags
    assert made.config.beta_end == 0.012


@pytest.mark.parametrize(
    ("name", "spacing_name", "message"),
    [
        (
            "diffusers:DDIMScheduler",
            "karras",
            "cannot take the spacing 'karras'; it takes leading, linspace, trailing",
        ),
        ("diffusers:EulerDiscreteScheduler", "leading@dpm", "dialects belong to solvers"),
        ("diffusers:FlowMatchEulerDiscreteScheduler", "leading", "it takes karras, exponential, beta"),
        ("DDPMScheduler", "ays-sd1", "cannot take the spacing 'ays-sd1'"),
        ("own", "karras", "DDIMScheduler cannot take the spacing 'karras'"),
    ],
)
def test_a_spacing_that_a_class_lacks_is_refused(named, name, spacing_name, message):
    with pytest.raises(RequestError, match=message):
        named(name, spacing_name, like=SD)


def test_what_the_models_scheduler_left_to_its_class_can_be_changed(named):
    """diffusers drops settings that a config names as left to the class, whatever their value is."""
    like = diffusers.EulerDiscreteScheduler()
    made = named("diffusers:EulerDiscreteScheduler", "karras", like=like, beta_end=0.03)
    assert (made.config.use_karras_sigmas, made.config.beta_end) == (True, 0.03)


def test_options_of_a_diffusers_class_are_its_arguments(named):
    made = named("diffusers:DDIMScheduler", None, like=SD, rescale_betas_zero_snr=True)
    assert made.config.rescale_betas_zero_snr is True
    with pytest.raises(RequestError, match="DDIMScheduler has no option 'eta'; it has beta_end"):
        named("diffusers:DDIMScheduler", None, like=SD, eta=1.0)


def test_a_scheduler_spec_receives_config_and_options(named):
    made = named("own", "trailing", like=SD, thresholding=True)
    assert made.config.thresholding is True
    assert made.config.timestep_spacing == "trailing"
    assert made.config.steps_offset == 1


@pytest.mark.parametrize(
    ("like", "reason"),
    [
        (diffusers.EDMEulerScheduler(), "EDMEulerScheduler has no β schedule"),
        (diffusers.DDPMScheduler(variance_type="learned_range"), "learned variance"),
        (diffusers.EulerDiscreteScheduler(timestep_type="continuous"), "continuous timesteps"),
        (diffusers.DDIMScheduler(thresholding=True), "thresholding"),
        (diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), "by image size"),
    ],
)
def test_models_that_solvers_do_not_follow_are_refused_and_sent_to_their_own_scheduler(named, like, reason):
    with pytest.raises(RequestError, match=f"{reason}.*use scheduler 'diffusers:{type(like).__name__}'"):
        named("euler-like", like=like)


def test_flow_settings_come_from_flow_match_euler(named):
    made = named("euler-like", like=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0))
    assert made.config["prediction_type"] == "flow_prediction"
    assert made.config["use_flow_sigmas"] is True
    assert made.config["flow_shift"] == 3.0


def test_configs_are_json(named):
    json.dumps(dict(named("everything", like={**SD, "trained_betas": [0.1] * 10}).config))
