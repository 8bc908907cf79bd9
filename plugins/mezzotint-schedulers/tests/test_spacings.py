"""What every spacing must do, and the published numbers of each."""

from itertools import pairwise

import diffusers
import mpmath
import pytest
from mezzotint.errors import MezzotintError, RequestError
from mezzotint.scheduling import find_spacing
from mezzotint.scheduling.model_config import DEFAULTS
from mezzotint.scheduling.noise_schedule import noise_schedule
from mezzotint.scheduling.plan import check_sigmas
from mezzotint_schedulers import SPACINGS
from mezzotint_schedulers.spacings.beta_quantile import beta_quantile

BY_NAME = {spec.name: spec for spec in SPACINGS}
SD = noise_schedule(DEFAULTS)
MODELS = {
    "stable diffusion": {},
    "zero terminal SNR": {"rescale_betas_zero_snr": True},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "flow": {"use_flow_sigmas": True, "flow_shift": 3.0},
    "hundred timesteps": {"num_train_timesteps": 100},
}


def spaced(name, n, schedule=SD, **options):
    return list(find_spacing(name, BY_NAME)(n, schedule, **options))


def timesteps(name, n, schedule=SD, **options):
    return [schedule.timestep_at(sigma) for sigma in spaced(name, n, schedule, **options)[:-1]]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("at_first", [False, True], ids=["to zero", "to the first timestep"])
@pytest.mark.parametrize("spec", SPACINGS, ids=lambda spec: spec.name)
def test_levels_are_one_more_than_steps_and_fall_strictly(spec, model, at_first):
    """Or the number of steps is refused in so many words."""
    schedule = noise_schedule({**DEFAULTS, **MODELS[model]}, ends_at_first_timestep=at_first)
    for n in (1, 2, 3, 4, 5, 7, 10, 16, 30, 50, 77, 333, 1000):
        try:
            levels = list(spec(n, schedule))
        except RequestError:
            assert n > 30
            continue
        assert len(levels) == n + 1
        check_sigmas(levels)
        assert levels[-1] in (0.0, schedule.final) or levels[-1] == pytest.approx(schedule.sigma_min)
        assert list(spec(n, schedule)) == levels


def test_leading_and_linspace_have_two_meanings():
    """Both of ten steps: what diffusers' classes give, one side each."""
    assert timesteps("leading@ddim", 10) == list(range(900, -1, -100))
    assert timesteps("leading@dpm", 10) == list(range(900, 0, -90))
    assert timesteps("linspace@ddim", 10) == list(range(999, -1, -111))
    assert timesteps("linspace@dpm", 10) == [999, 899, 799, 699, 599, 500, 400, 300, 200, 100]
    assert timesteps("trailing", 10) == list(range(999, 0, -100))


@pytest.mark.parametrize("n", [1, 3, 7, 10, 30, 50])
@pytest.mark.parametrize(
    ("name", "class_name", "plain"),
    [
        ("leading@ddim", "DDIMScheduler", "leading"),
        ("linspace@ddim", "DDIMScheduler", "linspace"),
        ("trailing", "DDIMScheduler", "trailing"),
        ("leading@ddim", "EulerDiscreteScheduler", "leading"),
        ("linspace@euler", "HeunDiscreteScheduler", "linspace"),
        ("leading@dpm", "DPMSolverMultistepScheduler", "leading"),
        ("linspace@dpm", "UniPCMultistepScheduler", "linspace"),
        ("leading@dpm", "DEISMultistepScheduler", "leading"),
        ("trailing", "DPMSolverMultistepScheduler", "trailing"),
        ("lcm", "LCMScheduler", "leading"),
    ],
)
def test_timesteps_are_those_of_the_class_that_the_dialect_names(name, class_name, plain, n):
    if plain == "linspace" and n == 1:
        pytest.skip("diffusers starts the only step at timestep 0")
    theirs = getattr(diffusers, class_name)(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing=plain,
        steps_offset=1,
    )
    theirs.set_timesteps(n)
    expected = theirs.timesteps.tolist()
    if class_name == "HeunDiscreteScheduler":
        expected = [expected[0], *expected[1::2]]
    schedule = noise_schedule({**DEFAULTS, "steps_offset": 1})
    # Theirs, fractional, are linear in σ, ours in log σ: half a thousandth of a timestep.
    assert timesteps(name, n, schedule) == pytest.approx(expected, abs=0.01)


def test_karras_is_equation_five():
    levels = spaced("karras", 5, rho=3.0)
    roots = [level ** (1 / 3) for level in levels[:-1]]
    assert [a - b for a, b in pairwise(roots)] == pytest.approx([(roots[0] - roots[-1]) / 4] * 4)
    assert levels[0] == pytest.approx(SD.sigma_max)
    assert levels[-2:] == pytest.approx([SD.sigma_min, 0])


def test_exponential_has_one_ratio_and_polyexponential_bends_it():
    levels = spaced("exponential", 6)[:-1]
    ratios = [a / b for a, b in pairwise(levels)]
    assert ratios == pytest.approx([ratios[0]] * 5)
    assert spaced("polyexponential", 6) == pytest.approx(spaced("exponential", 6))
    assert spaced("polyexponential", 6, rho=2.0)[1] < levels[1]


def test_kl_optimal_ends_where_its_dialect_says():
    assert spaced("kl-optimal@comfy", 5)[-1] == 0
    assert spaced("kl-optimal@a1111", 5)[-1] == pytest.approx(SD.sigma_min)
    assert len(spaced("kl-optimal@a1111", 5)) == len(spaced("kl-optimal@comfy", 5)) == 6


def test_the_two_beta_spacings_differ_and_name_their_steps():
    assert timesteps("beta@comfy", 4)[0] == 999
    assert abs(spaced("beta@comfy", 10)[5] - spaced("beta@diffusers", 10)[5]) > 1
    with pytest.raises(RequestError, match="some timesteps coincide; use 'beta'"):
        spaced("beta@comfy", 400)


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.6), (0.5, 0.9), (2.0, 3.0)])
def test_beta_quantiles_are_inverse_to_the_distribution(a, b):
    for probability in (1e-6, 0.001, 0.1, 0.5, 0.9, 0.999):
        x = beta_quantile(probability, a, b)
        assert float(mpmath.betainc(a, b, 0, mpmath.mpf(x), regularized=True)) == pytest.approx(
            probability, rel=1e-11
        )


def test_align_your_steps_has_the_published_levels():
    expected = diffusers.schedulers.AysSchedules
    assert spaced("ays-sd1@comfy", 10) == pytest.approx(expected["StableDiffusionSigmas"])
    assert spaced("ays-sdxl@comfy", 10) == pytest.approx(expected["StableDiffusionXLSigmas"])
    assert spaced("ays-sd1@a1111", 11)[-2:] == pytest.approx([0.029, 0])
    assert spaced("ays-sd1@comfy", 20)[2] == pytest.approx(6.475)


def test_gits_is_the_best_of_all_spacings_on_its_candidates():
    """Against every choice of levels, tried one by one, for Euler's method on normally distributed data."""
    from itertools import combinations

    count, coefficient = 61, 1.15
    high, low = SD.sigma_max ** (1 / 7), SD.sigma_min ** (1 / 7)
    levels = [(high + (low - high) * i / (count - 1)) ** 7 for i in range(count)]

    def cost(path):
        # Where x = sqrt(1 + σ²), Euler's step from σ to σ' misses x' by this much.
        total = 0.0
        for position, (a, b) in enumerate(pairwise(path)):
            reached = (1 + a * a) ** 0.5 + (b - a) * a / (1 + a * a) ** 0.5
            total += coefficient**position * abs(reached - (1 + b * b) ** 0.5)
        return total

    paths = ((levels[0], *chosen, levels[-1]) for chosen in combinations(levels[1:-1], 2))
    best = min(paths, key=cost)
    assert spaced("gits", 3)[:-1] == pytest.approx(best[:-1])


def test_gits_is_for_few_steps():
    assert len(spaced("gits@gaussian", 50)) == 51
    with pytest.raises(
        RequestError, match="'gits' is for few steps, at most 50, not 51; use spacing 'karras'"
    ):
        spaced("gits", 51)


def test_linear_quadratic_has_the_published_numbers():
    """ComfyUI's of 4 steps: 1 - 0.0125 i for i < 2, then 1 - (a i² + b i + c) with the numbers of its code."""
    difference = 2 - 0.025 * 4
    a, b = difference / (2 * 2**2), 0.025 / 2 - 2 * difference / 2**2
    expected = [1, 1 - 0.0125, *(1 - (a * i**2 + b * i + a * 2**2) for i in (2, 3)), 0]
    assert [level / SD.sigma_max for level in spaced("linear-quadratic", 4)] == pytest.approx(expected)


def test_simple_and_the_uniform_ones_have_the_published_timesteps():
    assert timesteps("simple", 3) == [999, 666, 333]
    assert timesteps("ddim-uniform", 4) == [751, 501, 251, 1]
    assert timesteps("sgm-uniform", 3) == pytest.approx([999, 666, 333])
    assert timesteps("uniform", 4) == pytest.approx([999, 666, 333, 0])
    assert timesteps("lcm", 4) == [999, 759, 499, 259]


def test_too_many_steps_are_refused_with_the_way_out(make):
    with pytest.raises(RequestError, match="1001 steps are too many for 1000 training timesteps; use fewer"):
        spaced("trailing", 1001)
    offset = noise_schedule({**DEFAULTS, "steps_offset": 1})
    with pytest.raises(RequestError, match="start at timestep 1000, but the last is 999; .*'trailing'"):
        spaced("leading@ddim", 1000, offset)
    assert len(spaced("karras", 5000)) == 5001


def test_names_are_unique_and_each_family_has_one_default():
    names = [spec.name for spec in SPACINGS]
    assert len(set(names)) == len(names)
    for family in {spec.family for spec in SPACINGS}:
        assert sum(spec.default for spec in SPACINGS if spec.family == family) == 1
    assert {"linspace", "leading", "trailing", "karras", "exponential", "beta"} <= {
        spec.family for spec in SPACINGS
    }
    assert issubclass(RequestError, MezzotintError)
