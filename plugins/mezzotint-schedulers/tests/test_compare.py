"""`mezzotint schedulers compare`, on a tiny random model."""

import json

import pytest
from click.testing import CliRunner
from mezzotint.testing import save_tiny_model
from mezzotint_schedulers import commands
from PIL import Image


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_tiny_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def compare(model):
    (spec,) = commands()

    def compare(*arguments):
        return CliRunner().invoke(spec.load(), ["--model", model, "--limit-steps", "20", *arguments])

    return compare


def test_more_steps_come_nearer_to_the_limit_and_evaluations_are_counted(compare):
    done = compare("euler", "heun", "ddpm", "--steps", "3,10", "--spacing", "karras", "--json")
    rows = {(row["scheduler"], row["steps"]): row for row in json.loads(done.stdout)}
    assert rows["euler", 10]["distance"] < rows["euler", 3]["distance"]
    assert rows["heun", 3]["evaluations"] == 5
    assert rows["ddpm", 3]["distance"] is None


def test_the_sheet_has_a_picture_for_each_run_and_overwrites_nothing(compare, tmp_path):
    sheet = tmp_path / "sheet.png"
    done = compare("euler", "dpmpp-2m", "--steps", "2,3", "-o", str(sheet))
    assert done.exit_code == 0, done.output
    with Image.open(sheet) as page:
        assert page.width >= 2 * 96
    again = compare("euler", "--steps", "2", "-o", str(sheet))
    assert "exists; choose another name" in str(again.exception)


@pytest.mark.parametrize("steps", ["many", "0", "5,,6"])
def test_steps_must_be_numbers(compare, steps):
    done = compare("euler", "--steps", steps)
    assert done.exit_code == 2
