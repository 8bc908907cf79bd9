"""`mezzotint schedulers compare`, on a tiny random model."""

import json
import re

import pytest
from click.testing import CliRunner
from mezzotint.commands import Interrupted
from mezzotint.errors import RequestError, UnknownNameError
from mezzotint.testing import fingerprint, save_tiny_model, tiny_pipeline
from mezzotint_schedulers import commands
from mezzotint_schedulers.comparison.cells import Cell, plan_cells, why_no_limit
from mezzotint_schedulers.comparison.recorder import Recorder, moments
from PIL import Image


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def compare(model, tmp_path):
    """Run the command in an empty folder; the reference has 40 steps."""
    (spec,) = commands()

    def compare(*arguments, reference="40"):
        words = ["a cat", "--model", str(model), "--reference-steps", reference, "-o", str(tmp_path / "out")]
        return CliRunner().invoke(spec.load(), [*words, *arguments], catch_exceptions=True)

    return compare


def runs(done):
    data = json.loads(done.stdout)
    return {(run["solver"], run["spacing"], run["steps"]): run for run in data["runs"]}


def test_more_steps_come_nearer_to_the_reference_and_evaluations_are_counted(compare):
    done = compare("--solvers", "euler,heun,ddpm", "--spacings", "trailing", "--steps", "3,12", "--json")
    found = runs(done)
    assert found["euler", "trailing", 12]["distance"] < found["euler", "trailing", 3]["distance"]
    assert found["heun", "trailing", 12]["distance"] < found["euler", "trailing", 12]["distance"]
    assert found["heun", "trailing", 3]["evaluations"] == 5
    assert found["ddpm", "trailing", 3]["distance"] is None
    assert found["ddpm", "trailing", 3]["why_no_distance"] == "random"


def test_a_class_of_diffusers_is_measured_from_the_same_reference(compare):
    done = compare(
        "--solvers",
        "euler,diffusers:EulerDiscreteScheduler",
        "--spacings",
        "trailing",
        "--steps",
        "4",
        "--json",
    )
    ours, theirs = runs(done).values()
    assert ours["distance"] == pytest.approx(theirs["distance"], rel=1e-3)


def test_the_report_holds_everything_in_one_file(compare, tmp_path):
    done = compare(
        "--solvers", "euler,unipc", "--spacings", "trailing,karras", "--steps", "2,5", "--show-forward"
    )
    assert done.exit_code == 0, done.output
    page = (tmp_path / "out" / "report.html").read_text()
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert page.count("<svg") == 2
    # Reference, 8 runs, 4 strips of 5, and forward, reverse and predicted at 5 evaluations.
    assert page.count("data:image/png;base64,") == 1 + 8 + 4 * 5 + 3 * 5
    for text in ("unipc · karras", "5 evaluations", "distance 0.", "Forward and reverse"):
        assert text in page
    with Image.open(tmp_path / "out" / "grid.png") as sheet:
        assert sheet.width > 2 * 160
        assert sheet.height > 4 * 160
    assert len(json.loads((tmp_path / "out" / "report.json").read_text())["runs"]) == 8


def test_nothing_is_overwritten(compare, tmp_path):
    arguments = ("--solvers", "euler", "--spacings", "own", "--steps", "1", "-q")
    first, second = (compare(*arguments, reference="0") for _ in range(2))
    assert str(tmp_path / "out" / "report.html") in first.stdout
    assert str(tmp_path / "out-2" / "report.html") in second.stdout


def test_what_cannot_run_is_left_out_with_the_reason_and_the_rest_goes_on(compare):
    done = compare(
        "--solvers",
        "euler,diffusers:DDIMScheduler",
        "--spacings",
        "karras",
        "--steps",
        "2",
        "--json",
        reference="0",
    )
    (failed,) = json.loads(done.stdout)["failed"]
    assert "DDIMScheduler cannot take the spacing 'karras'" in failed["why"]
    assert list(runs(done)) == [("euler", "karras", 2)]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            ("--solvers", "euler,dpmp-2m"),
            UnknownNameError,
            "no scheduler named 'dpmp-2m'; did you mean dpmpp-2m",
        ),
        (("--spacings", "karas"), UnknownNameError, "no spacing named 'karas'; did you mean karras"),
        (
            ("--steps", "1001", "--spacings", "trailing"),
            RequestError,
            "none of these schedulers can run: 1001 steps",
        ),
    ],
)
def test_what_is_misspelt_or_impossible_is_one_sentence(compare, tmp_path, arguments, error, message):
    done = compare(*arguments)
    assert isinstance(done.exception, error)
    assert message in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments", [("--steps", "many"), ("--steps", "0"), ("--steps", "5,,6"), ("--solvers", "a,,b")]
)
def test_lists_are_checked_before_anything_is_loaded(compare, arguments):
    assert compare(*arguments).exit_code == 2


def test_ctrl_c_keeps_the_runs_that_are_finished(compare, tmp_path, monkeypatch):
    from mezzotint_schedulers.comparison import running

    original, finished = running.start_of, []

    def press(pipe, cell):
        # Asked before the first run, and after each.
        finished.append(cell)
        if len(finished) == 4:
            raise KeyboardInterrupt
        return original(pipe, cell)

    monkeypatch.setattr(running, "start_of", press)
    done = compare("--solvers", "euler,ddim", "--spacings", "trailing", "--steps", "2", reference="3")
    assert isinstance(done.exception, Interrupted)
    assert "1 of 2 runs are in" in str(done.exception)
    assert (tmp_path / "out" / "report.html").exists()


def test_the_recorder_changes_no_bit_and_leaves_nothing(model):
    import mezzotint_schedulers

    pipe = tiny_pipeline(model, plugins=[mezzotint_schedulers])
    before = fingerprint(pipe)
    plain = pipe("a cat", steps=3, seed=1, scheduler="euler").latents
    result = pipe("a cat", steps=3, seed=1, scheduler="euler", use=[Recorder()])
    assert fingerprint(pipe) == before
    assert (result.latents == plain).all()
    # Euler's last step ends at the picture that it predicts.
    assert [moment.timestep for moment in moments(result)] == sorted(
        (moment.timestep for moment in moments(result)), reverse=True
    )
    assert (moments(result)[-1].predicted - result.latents).abs().max() < 1e-4


def test_a_random_class_of_diffusers_is_found_out(model):
    import mezzotint_schedulers

    pipe = tiny_pipeline(model, plugins=[mezzotint_schedulers])
    reasons = {
        name: why_no_limit(pipe, Cell(f"diffusers:{name}", "own", 3))
        for name in (
            "EulerAncestralDiscreteScheduler",
            "DDPMScheduler",
            "DDIMScheduler",
            "UniPCMultistepScheduler",
        )
    }
    assert list(reasons.values()) == ["random", "random", "", ""]
    planned, left_out = plan_cells(pipe, ["heun"], ["trailing"], [3])
    assert (planned[0].evaluations, left_out) == (5, {})
