"""`mezzotint.replay`: identical pixels, or a sentence about each thing that is missing or differs."""

from __future__ import annotations

import copy
from pathlib import Path

import mezzotint
import pytest
from mezzotint import Extension, hookimpl
from mezzotint.errors import ReplayError
from mezzotint.recipes.image_files import save_png
from mezzotint.testing import tiny_pipeline
from pydantic import Field


class Brighten(Extension, name="brighten"):
    """Add a constant, read from a file if there is one."""

    by: float = 0.5
    path: Path | None = None

    @hookimpl
    def latents(self, latents, run):
        return latents + self.by


class Renamed(Extension, name="brighten"):
    """An extension of that name with other options."""

    amount: float = Field(0.5, ge=0)


class Plugin:
    """Brings `brighten`."""

    @hookimpl
    def extensions(self):
        return [Brighten]


class Other:
    """Brings another `brighten`."""

    @hookimpl
    def extensions(self):
        return [Renamed]


@pytest.fixture
def shining(tiny_model):
    return tiny_pipeline(tiny_model, plugins=[Plugin()])


def same(first, second) -> bool:
    return first.size == second.size and first.tobytes() == second.tobytes()


def test_the_same_recipe_gives_the_same_pixels(shining):
    made = shining("ghost", steps=2, seed=7, use=[Brighten(by=0.7)])
    again = mezzotint.replay(made.recipe_of(0), pipe=shining)
    assert same(made.images[0], again.images[0])
    assert again.recipe == made.recipe


def test_a_file_is_enough(tiny_model, tmp_path):
    made = mezzotint.load(tiny_model)("ghost", steps=2, seed=7)
    path = save_png(made.images[0], made.recipe_of(0), tmp_path / "x.png")
    assert same(made.images[0], mezzotint.replay(path).images[0])
    from PIL import Image

    with Image.open(path) as image:
        assert same(made.images[0], mezzotint.replay(image).images[0])


def test_an_image_of_a_batch_is_made_with_its_batch(shining):
    made = shining(["ghost", "cat"], steps=2, seed=7, n=2)
    recipe = made.recipe_of(3)
    again = mezzotint.replay(recipe, pipe=shining)
    assert len(again.images) == 4
    assert same(made.images[3], again.images[recipe["index"]])


def test_a_scheduler_object_is_made_again_from_its_config(shining):
    from diffusers import EulerDiscreteScheduler

    euler = EulerDiscreteScheduler.from_config(shining.scheduler.config, timestep_spacing="trailing")
    made = shining("ghost", steps=2, seed=7, scheduler=euler)
    again = mezzotint.replay(made.recipe_of(0), pipe=shining)
    assert same(made.images[0], again.images[0])


def test_a_missing_extension_is_named_and_stops(shining, tiny_model, caplog):
    recipe = shining("ghost", steps=2, seed=7, use=[Brighten()]).recipe_of(0)
    bare = tiny_pipeline(tiny_model)
    with pytest.raises(ReplayError, match="extension 'brighten' is not here.*'Plugin'.*anyway"):
        mezzotint.replay(recipe, pipe=bare)
    result = mezzotint.replay(recipe, pipe=bare, anyway=True)
    assert result.recipe["extensions"] == []
    assert "extension 'brighten' is not here" in caplog.text


def test_a_plugin_of_another_version_is_named_and_stops(shining):
    recipe = shining("ghost", steps=2, seed=7).recipe_of(0)
    recipe["model"]["plugin"] = {"name": "emoji", "distribution": "mezzotint-nowhere", "version": "9"}
    with pytest.raises(ReplayError, match="mezzotint-nowhere 9"):
        mezzotint.replay(recipe, pipe=shining)
    assert mezzotint.replay(recipe, pipe=shining, anyway=True).images


def test_other_weights_stop(shining, tmp_path):
    recipe = shining("ghost", steps=2, seed=7).recipe_of(0)
    with pytest.raises(ReplayError, match="other weights"):
        mezzotint.replay(recipe, pipe=tiny_pipeline(tmp_path / "other", seed=1))


def test_a_file_that_changed_or_is_gone_stops(shining, tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"1")
    recipe = shining("ghost", steps=2, seed=7, use=[Brighten(path=path)]).recipe_of(0)
    path.write_bytes(b"2")
    with pytest.raises(ReplayError, match="x.bin has other content"):
        mezzotint.replay(recipe, pipe=shining)
    path.unlink()
    with pytest.raises(ReplayError, match="x.bin, which is not here"):
        mezzotint.replay(recipe, pipe=shining)


def test_options_that_the_extension_no_longer_has_are_named(shining, tiny_model):
    recipe = shining("ghost", steps=2, seed=7, use=[Brighten()]).recipe_of(0)
    with pytest.raises(ReplayError, match="no option 'by'"):
        mezzotint.replay(recipe, pipe=tiny_pipeline(tiny_model, plugins=[Other()]), anyway=True)


def test_a_missing_scheduler_is_named_and_stops(shining, caplog):
    recipe = shining("ghost", steps=2, seed=7).recipe_of(0)
    recipe["scheduler"] |= {
        "name": "half",
        "plugin": {"name": "solvers", "distribution": "mezzotint-solvers", "version": "3"},
    }
    with pytest.raises(ReplayError, match="scheduler 'half' is not here; it came with mezzotint-solvers 3"):
        mezzotint.replay(recipe, pipe=shining)
    assert mezzotint.replay(recipe, pipe=shining, anyway=True).images


def test_a_missing_model_is_named_with_its_plugin(shining):
    recipe = shining("ghost", steps=2, seed=7).recipe_of(0)
    recipe["model"] = {
        "name": "nowhere",
        "fingerprint": "",
        "plugin": {"name": "nowhere", "distribution": "mezzotint-nowhere", "version": "9"},
    }
    with pytest.raises(ReplayError, match="model 'nowhere'.*pip install mezzotint-nowhere==9"):
        mezzotint.replay(recipe)


def test_another_scheduler_of_the_model_itself_stops(shining):
    recipe = shining("ghost", steps=2, seed=7).recipe_of(0)
    recipe["scheduler"]["class"] = "PNDMScheduler"
    with pytest.raises(ReplayError, match="own scheduler was PNDMScheduler; here it is DDIMScheduler"):
        mezzotint.replay(recipe, pipe=shining)


def test_another_torch_is_a_warning(shining, caplog):
    recipe = shining("ghost", steps=2, seed=7).recipe_of(0)
    recipe["versions"] = {"torch": "1.0"}
    assert mezzotint.replay(recipe, pipe=shining).images
    assert "it was made with torch 1.0, here is" in caplog.text


PLUGIN = {"name": "emoji", "distribution": "mezzotint-emoji", "version": "1"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 99}, "format 99"),
        ({"steps": "20"}, "steps"),
        ({"steps": 10**9}, "steps"),
        ({"steps": True}, "steps"),
        ({"n": 10**5}, "images"),
        ({"size": [10**6, 10**6]}, "size"),
        ({"size": [10**4, 10**4]}, "pixels"),
        ({"size": [64]}, "size"),
        ({"index": 4}, "image 4 of 1"),
        ({"model": {}}, "model.name is absent"),
        ({"scheduler": {"name": 3, "class": "x"}}, "scheduler.name"),
        ({"extensions": [{"name": "x"}]}, "extension"),
        ({"extensions": [{"name": "x", "options": {}, "plugin": "y"}]}, "plugin"),
        ({"guidance": float("inf")}, "guidance"),
        ({"prompt": []}, "prompt"),
        ({"device": "/dev/null"}, "device"),
        (
            {"model": {"name": "x", "fingerprint": "", "plugin": {**PLUGIN, "distribution": "x; rm -rf ~"}}},
            "model.plugin.distribution",
        ),
        ({"model": {"name": "\x1b[2J", "fingerprint": ""}}, "model.name"),
    ],
)
def test_a_recipe_that_is_not_ours_is_refused_before_anything_is_opened(change, words):
    recipe = {**copy.deepcopy(GOOD), **change}
    with pytest.raises(ReplayError, match=words):
        mezzotint.replay(recipe)


GOOD = {
    "format": 1,
    "mezzotint": "0.1.0",
    "prompt": ["ghost"],
    "negative": [""],
    "steps": 2,
    "guidance": 5.0,
    "seed": 7,
    "n": 1,
    "size": [32, 32],
    "index": 0,
    "dtype": "float32",
    "device": "cpu",
    "scheduler": {"name": None, "spacing": None, "class": "DDIMScheduler", "plugin": None},
    "model": {"name": "nowhere", "fingerprint": "", "plugin": None},
    "extensions": [],
    "versions": {},
}


def test_an_image_without_a_recipe_is_refused():
    from PIL import Image

    with pytest.raises(ReplayError, match="no recipe"):
        mezzotint.replay(Image.new("RGB", (4, 4)))
