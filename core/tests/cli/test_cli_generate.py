"""`mezzotint generate`: files, names, batches, the sheet, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mezzotint.recipes.image_files import read_image, read_recipe


def pixels(path: str) -> bytes:
    return read_image(path).tobytes()


def test_names_a_file_after_prompt_and_seed_and_prints_its_path(generate):
    result = generate("A ghost, smiling!", "--seed", 7)
    assert result.exit_code == 0, result.output
    assert result.stdout == "a-ghost-smiling-7.png\n"
    assert read_recipe("a-ghost-smiling-7.png")["prompt"] == ["A ghost, smiling!"]


def test_each_image_of_several_stands_alone(generate):
    generate("ghost", "--seed", 7, "-n", 3, "-o", "several")
    generate("ghost", "--seed", 9, "-o", "alone")
    assert pixels("several/ghost-9.png") == pixels("alone/ghost-9.png")
    assert read_recipe("several/ghost-9.png")["n"] == 1


def test_a_batch_is_one_run_and_its_files_say_which_image_they_are(generate):
    generate("ghost", "--seed", 7, "-n", 3, "--batch-size", 2)
    recipes = [read_recipe(f"ghost-{seed}.png") for seed in (7, 8, 9)]
    assert [(r["seed"], r["n"], r["index"]) for r in recipes] == [(7, 2, 0), (7, 2, 1), (9, 1, 0)]


def test_several_prompts_give_images_each_with_seeds_that_go_on(generate):
    result = generate("ghost", "cat", "--seed", 1, "-n", 2)
    assert result.stdout.split() == ["ghost-1.png", "ghost-2.png", "cat-3.png", "cat-4.png"]


def test_never_overwrites(generate):
    Path("ghost-7.png").write_text("mine")
    assert generate("ghost", "--seed", 7).stdout == "ghost-7-2.png\n"
    assert generate("ghost", "--seed", 7, "-o", "ghost-7.png").stdout == "ghost-7-3.png\n"
    assert Path("ghost-7.png").read_text() == "mine"


def test_grid_adds_one_sheet(generate):
    result = generate("ghost", "--seed", 7, "-n", 4, "--grid", "--size", "32x16")
    assert result.stdout.splitlines()[-1] == "ghost-7-grid.png"
    assert read_image("ghost-7-grid.png").size == (2 * 32 + 3 * 2, 2 * 16 + 3 * 2)


def test_output_may_be_a_pattern(generate):
    result = generate("A ghost", "--seed", 7, "-n", 2, "-o", "made/{model}/{number:03d}-{prompt}")
    assert result.stdout.split() == ["made/tiny/001-a-ghost.png", "made/tiny/002-a-ghost.png"]


def test_json_names_files_and_seeds(generate):
    answer = json.loads(generate("ghost", "--seed", 7, "-n", 2, "--grid", "--json").stdout)
    assert [(image["path"], image["seed"]) for image in answer["images"]] == [
        ("ghost-7.png", 7),
        ("ghost-8.png", 8),
    ]
    assert answer["grid"] == "ghost-7-grid.png"


def test_progress_goes_to_stderr_and_quiet_leaves_it_out(generate):
    assert "image 1 of 2: 3 steps" in generate("ghost", "-n", 2).stderr
    assert generate("cat", "-n", 2, "--quiet").stderr == ""


def test_explain_prints_the_plan_and_makes_nothing(generate):
    result = generate("ghost", "--explain", "--brighten", "--steps", 5)
    assert "steps: 5" in result.stdout
    assert "latents" in result.stdout
    assert "brighten" in result.stdout
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ghost", "--model", "tinny"], ["tinny", "did you mean tiny?"]),
        (["ghost", "--step", "3"], ["--step", "--steps"]),
        (["ghost", "--scheduler", "eul"], ["no scheduler named 'eul'"]),
        (["ghost", "--size", "big"], ["WIDTHxHEIGHT"]),
        (["ghost", "--size", "33x32"], ["width must be a multiple of 2", "32 and 34"]),
        (["ghost", "-o", "ghost.jpg"], [".png"]),
        (["ghost", "-o", "{prompt.__class__}"], ["{prompt}, {seed}"]),
        (["ghost", "-o", "{seed:q}"], ["pattern"]),
        (["ghost", "--stamp", "x,weight=-1"], ["stamp", "weight", "greater than 0"]),
        (["--plugin", "nowhere.py", "ghost"], ["nowhere.py"]),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(generate, arguments, words):
    result = generate(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def test_an_error_in_a_hook_names_plugin_and_hook_point(generate):
    result = generate("ghost", "--stamp", "x,weight=13")
    assert result.exit_code == 2
    assert "13 brings bad luck" in result.stderr
    for word in ("extension stamp", "plugin tinyplugin", "hook point step_end", "step 1 of 3"):
        assert word in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in generate("ghost", "--stamp", "x,weight=13", "--debug").stderr


def test_images_that_are_finished_are_listed_when_a_later_one_fails(generate):
    result = generate("ghost", "--seed", 7, "-n", 3, "--grid", "--interrupt", "seed=8,fail=true")
    assert result.exit_code == 2
    assert result.stdout == "ghost-7.png\n"
    assert "out of luck" in result.stderr
    assert [path.name for path in Path().iterdir()] == ["ghost-7.png"]


def test_a_folder_that_cannot_be_made_is_said_before_the_model_is_loaded(generate):
    Path("taken").write_text("")
    result = generate("ghost", "-o", "taken/inside/")
    assert result.exit_code == 2
    assert "taken/inside" in result.stderr


def test_ctrl_c_in_the_second_image_leaves_the_first_whole(plugin_file):
    command = [sys.executable, "-m", "mezzotint", "generate", "ghost", "-m", "tiny", "--plugin", plugin_file]
    process = subprocess.run(
        [*command, "--seed", "7", "-n", "3", "--grid", "--interrupt-seed", "8"],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 130, process.stderr
    assert process.stdout == "ghost-7.png\n"
    assert "1 of 3 images is finished and whole: ghost-7.png" in process.stderr
    assert "Traceback" not in process.stderr
    assert [path.name for path in Path().iterdir()] == ["ghost-7.png"]
    assert read_image("ghost-7.png").size == (32, 32)


LOOK = """
from mezzotint import Extension, hookimpl
from mezzotint.pictures import PictureForEach


class Look(Extension, name="look", conflicts="look"):
    picture: PictureForEach

    @hookimpl
    def step_end(self, run): ...



@hookimpl
def extensions():
    return [Look]
"""


def test_pictures_for_the_images_of_one_run_are_refused_for_several_runs(generate, tmp_path):
    plugin = tmp_path / "look_plugin.py"
    plugin.write_text(LOOK)
    asked = ["ghost", "--plugin", plugin, "--look", "[a.png,b.png]", "--steps", 1, "-n", 4]
    refused = generate(*asked, "--batch-size", 2)
    assert refused.exit_code == 2
    assert "--look: picture has 2 pictures" in " ".join(refused.output.split())
    assert "these are 2 runs" in " ".join(refused.output.split())
    assert generate(*asked, "--batch-size", 4).exit_code == 0
    assert (
        "Repeatable"
        not in generate("--plugin", plugin, "--help").output.partition("--look")[2].partition("--")[0]
    )
