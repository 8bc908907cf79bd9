"""Arguments of a run are checked with one clear sentence each; what is left out comes from the model."""

from __future__ import annotations

import mezzotint
import pytest
import torch
from mezzotint import RunDefaults
from mezzotint.errors import RequestError
from mezzotint.pipeline.request import resolve

MODEL = {"defaults": RunDefaults(), "native_size": (64, 64), "size_multiple": 8}


def test_defaults_come_from_the_model_and_then_from_the_pipeline():
    defaults = RunDefaults(steps=12, guidance=3.0, scheduler="euler", spacing="karras", negative="blurry")
    request = resolve("a", **{**MODEL, "defaults": defaults})
    assert (request.steps, request.guidance, request.scheduler, request.spacing) == (
        12,
        3.0,
        "euler",
        "karras",
    )
    assert request.negatives == ("blurry",)
    assert resolve("a", **MODEL).steps == 30
    assert resolve("a", **MODEL).size == (64, 64)


def test_another_scheduler_does_not_take_over_the_models_spacing():
    defaults = RunDefaults(scheduler="euler", spacing="karras")
    assert resolve("a", scheduler="lcm", **{**MODEL, "defaults": defaults}).spacing is None


def test_one_negative_for_all_or_one_each():
    assert resolve(["a", "b"], negative="c", **MODEL).negatives == ("c", "c")
    assert resolve(["a", "b"], negative=["c", "d"], **MODEL).negatives == ("c", "d")


def test_seeds_count_up_over_all_images():
    assert resolve(["a", "b"], n=2, seed=5, **MODEL).seeds == [5, 6, 7, 8]


def test_a_random_seed_is_chosen_and_kept():
    first, second = resolve("a", **MODEL).seed, resolve("a", **MODEL).seed
    assert first != second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": 3}, "prompt must be a string"),
        ({"prompt": []}, "prompt must be a string"),
        ({"negative": ["a", "b", "c"]}, "3 negative prompts for 1 prompts"),
        ({"steps": 0}, "steps must be a whole number, at least 1, not 0"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"n": 0}, "n must be a whole number"),
        ({"seed": -1}, "seed must be a whole number, from 0"),
        ({"seed": True}, "seed must be a whole number"),
        ({"guidance": float("nan")}, "guidance must be a finite number"),
        ({"guidance": "high"}, "guidance must be a finite number"),
        ({"size": 64}, r"size must be \(width, height\)"),
        ({"size": (60, 64)}, "width must be a multiple of 8 for this model, not 60; 56 and 64 are"),
        ({"size": (10**6, 10**6)}, "size 1000000x1000000 has 1,000,000,000,000 pixels; at most"),
        ({"size": (64, 0)}, "height must be a whole number, at least 8"),
    ],
)
def test_a_bad_value_is_one_sentence(arguments, message):
    with pytest.raises(RequestError, match=message):
        resolve(**{"prompt": "a", **MODEL, **arguments})


def test_numbers_of_numpy_are_numbers():
    import numpy as np

    request = resolve("a", steps=np.int64(3), guidance=np.float32(2.5), seed=np.int32(7), **MODEL)
    assert (request.steps, request.guidance, request.seed) == (3, 2.5, 7)
    assert type(request.steps) is int


def test_latents_that_are_not_finite_are_said_instead_of_drawn(tiny_model):
    pipe = mezzotint.load(tiny_model)
    with torch.no_grad():
        pipe.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(RequestError, match="not finite at the end of the run"):
        pipe("ghost", steps=1, seed=1)
