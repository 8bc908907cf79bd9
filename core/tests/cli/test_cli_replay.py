"""`mezzotint replay`: what it says and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mezzotint.recipes.image_files import read_image, read_recipe, save_png


@pytest.fixture
def made(generate) -> Path:
    assert generate("ghost", "--seed", 7, "--brighten").exit_code == 0
    return Path("ghost-7.png")


def test_an_untouched_file_is_identical(mezzotint, made, plugin_file):
    result = mezzotint("replay", made, "--plugin", plugin_file)
    assert (result.exit_code, result.stdout) == (0, "ghost-7.png: identical, every pixel\n")
    assert [path.name for path in Path().iterdir()] == ["ghost-7.png"]


def test_output_saves_the_new_image_beside_the_old(mezzotint, made, plugin_file):
    result = mezzotint("replay", made, "--plugin", plugin_file, "-o", "./")
    assert result.stdout.splitlines()[-1] == "ghost-7-2.png"
    assert read_image("ghost-7-2.png").tobytes() == read_image(made).tobytes()


def test_other_pixels_exit_with_1(mezzotint, made, plugin_file):
    image = read_image(made)
    image.putpixel((3, 3), tuple(255 - value for value in image.getpixel((3, 3))))
    changed = save_png(image, read_recipe(made), "changed.png")
    result = mezzotint("replay", changed, "--plugin", plugin_file, "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["identical"] is False
    assert "1 of 1024 pixels differ" in answer["difference"]


def test_a_missing_plugin_is_named_and_stops_unless_told_to_go_on(mezzotint, made, plugin_file):
    without = plugin_file.with_name("other.py")
    without.write_text(plugin_file.read_text().replace("[Brighten, ", "["))
    result = mezzotint("replay", made, "--plugin", without)
    assert result.exit_code == 2
    assert "extension 'brighten' is not here" in result.stderr
    result = mezzotint("replay", made, "--plugin", without, "--anyway")
    assert result.exit_code == 0
    assert "warning: extension 'brighten'" in result.stderr
    assert "not identical" in result.stdout


def test_a_missing_model_says_where_it_came_from(mezzotint, made):
    result = mezzotint("replay", made)
    assert result.exit_code == 2
    assert "model 'tiny'" in result.stderr
    assert "--plugin FILE" in result.stderr


def test_a_file_without_recipe_is_exit_code_2(mezzotint):
    Path("x.png").write_text("no image")
    result = mezzotint("replay", "x.png")
    assert result.exit_code == 2
    assert "not a PNG" in result.stderr
