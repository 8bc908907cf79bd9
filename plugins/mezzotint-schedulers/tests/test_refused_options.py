import math
from contextlib import suppress

import pytest
from mezzotint.errors import RequestError
from mezzotint_schedulers import SPACINGS


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unipc", {"solver_type": "bh9"}, "option 'solver_type' is 'bh9'; there are bh1, bh2"),
        ("unipc", {"order": 4}, r"option 'order' is 4; it must be in 1 … 3"),
        ("lms", {"order": 0}, r"option 'order' is 0; it must be in 1 … 4"),
        ("ipndm", {"order": 5}, r"option 'order' is 5; it must be in 1 … 4"),
        ("deis", {"order": -1}, r"option 'order' is -1; it must be in 1 … 3"),
        ("er-sde", {"order": 4}, r"option 'order' is 4; it must be in 1 … 3"),
        ("er-sde", {"scale": "linear"}, "option 'scale' is 'linear'; there are er-sde-5, ode"),
        ("sa-solver", {"predictor_order": 0}, r"option 'predictor_order' is 0; it must be in 1 … 4"),
        ("sa-solver", {"tau": -1.0}, r"option 'tau' is -1.0; it must be at least 0"),
        ("dpmpp-2m-sde", {"solver_type": "bh2"}, "option 'solver_type' is 'bh2'; there are midpoint, heun"),
        ("dpmpp-sde", {"r": 0.0}, r"option 'r' is 0.0; it must be in 0.001 … 1"),
        ("seeds-2", {"r": 2.0}, r"option 'r' is 2.0; it must be in 0.001 … 1"),
        ("restart", {"sigma_low": 3.0}, r"option 'sigma_high' is 2.0; it must be at least 3"),
        ("restart", {"rho": 0.0}, r"option 'rho' is 0.0; it must be in 0.1 … 1000"),
        ("restart", {"substeps": 0}, r"option 'substeps' is 0; it must be at least 1"),
        ("restart", {"repeats": -1}, r"option 'repeats' is -1; it must be at least 0"),
    ],
)
def test_an_option_out_of_range_is_refused_before_the_run(make, name, options, message):
    scheduler = make(name, "karras", **options)
    with pytest.raises(RequestError, match=message):
        scheduler.set_timesteps(20)


@pytest.mark.parametrize(
    "name",
    [
        "ddim",
        "euler-ancestral",
        "dpm2-ancestral",
        "dpmpp-2s-ancestral",
        "dpmpp-sde",
        "dpmpp-2m-sde",
        "seeds-2",
    ],
)
@pytest.mark.parametrize("eta", [-1.0, math.nan, math.inf])
def test_noise_of_negative_strength_is_refused(make, name, eta):
    with pytest.raises(RequestError, match="option 'eta' is .*; it must be at least 0"):
        make(name, "karras", eta=eta).set_timesteps(4)


OF_SPACINGS = [
    ("karras", "rho"),
    ("polyexponential", "rho"),
    ("beta@comfy", "alpha"),
    ("beta@comfy", "beta"),
    ("beta@diffusers", "alpha"),
    ("beta@diffusers", "beta"),
    ("linear-quadratic", "threshold"),
    ("gits", "coefficient"),
    ("gits", "variance"),
    ("lcm", "original_steps"),
]


@pytest.mark.parametrize(("spacing", "option"), OF_SPACINGS)
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_an_option_of_a_spacing_out_of_range_is_one_sentence(make, spacing, option, value):
    if option == "original_steps":
        value = int(value) if math.isfinite(value) else -5
    with pytest.raises(RequestError, match=f"^option '{option}' is .*; it must be (in|at least) [0-9]"):
        make("euler", spacing, **{option: value}).set_timesteps(4)


def test_every_option_of_a_spacing_has_a_range():
    assert {(spec.name, option) for spec in SPACINGS for option in spec.options} == {
        (name if "@" in name or name != "gits" else "gits@gaussian", option) for name, option in OF_SPACINGS
    }


@pytest.mark.parametrize("schedule", [{}, {"rescale_betas_zero_snr": True}], ids=["", "zero terminal SNR"])
@pytest.mark.parametrize(
    ("spacing", "options"),
    [("karras", {"rho": rho}) for rho in (0.1, 1, 1000)]
    + [("polyexponential", {"rho": rho}) for rho in (0.1, 1000)]
    + [("beta", {"alpha": a, "beta": b}) for a in (0.01, 100) for b in (0.01, 100)]
    + [("linear-quadratic", {"threshold": value}) for value in (0.001, 0.999)]
    + [("gits", {"coefficient": value}) for value in (0.01, 100)]
    + [("gits", {"variance": value}) for value in (1e-6, 1e6)],
)
def test_at_the_ends_of_its_range_a_spacing_works_or_says_why_not(make, spacing, options, schedule):
    scheduler = make("euler", spacing, like={**schedule}, **options)
    with suppress(RequestError):  # Levels that coincide; anything else of Python's own would come through.
        scheduler.set_timesteps(4)
        assert len(scheduler.timesteps) == 4


def test_restart_runs_in_as_few_steps_as_there_are(make, run):
    for steps, evaluations in ((1, 1), (2, 2 + 6 + 1), (3, 2 + 2 + 6 + 1)):
        scheduler = make("restart", "karras", substeps=3)
        assert run(scheduler, steps).isfinite().all()
        assert len(scheduler.timesteps) == evaluations
