"""One line in a test file gives one test a check; `--mezzotint-card` prints what was measured."""

import subprocess
import sys
from importlib.metadata import entry_points
from textwrap import dedent

import pytest
from mezzotint.scheduling import solver
from mezzotint.testing.conformance import check_solver, conformance_tests

SOLVER = """
from mezzotint.scheduling import solver
from mezzotint.testing.conformance import conformance_tests

@solver("mine", accuracy_order=ORDER)
def mine(s):
    return s.x + (s.sigma_next - s.sigma) * s.derivative

"""


@pytest.fixture
def run_pytest(tmp_path, capsys):
    """Run pytest in this process on a test file, return its exit status and output."""

    def run_pytest(text, *arguments):
        path = tmp_path / "test_of_a_third_party.py"
        path.write_text(dedent(text))
        sys.modules.pop(path.stem, None)
        registered = any(
            point.value == "mezzotint.testing.pytest_plugin" for point in entry_points(group="pytest11")
        )
        plugin = [] if registered else ["-p", "mezzotint.testing.pytest_plugin"]
        status = pytest.main(["--rootdir", str(tmp_path), "-c", "/dev/null", *plugin, *arguments, str(path)])
        return status, capsys.readouterr().out

    return run_pytest


def test_one_line_gives_one_test_a_check(run_pytest):
    line = "test_mine = conformance_tests(mine)"
    status, output = run_pytest(
        SOLVER.replace("ORDER", "1") + line, "-v", "-k", "point or order", "-p", "no:randomly"
    )
    assert status == 0
    assert "::test_mine[point-mass] PASSED" in output
    assert "::test_mine[order-alternating] PASSED" in output
    assert "weak-order" not in output
    assert "mezzotint conformance" not in output


def test_a_failure_says_what_failed_on_which_grid_and_what_to_do(run_pytest):
    line = "test_mine = conformance_tests(mine)"
    status, output = run_pytest(SOLVER.replace("ORDER", "2") + line, "-k", "order-alternating")
    assert status == 1
    assert "mine: order-alternating: failed: order 1.0" in output
    assert "where 2 is declared" in output
    assert "alternating 1:3, σ 14.61 → 0.0292, n = 256 → 512" in output
    assert "or declare a lower accuracy_order" in output


def test_known_exceptions_are_expected_failures(run_pytest):
    line = (
        "test_mine = conformance_tests(mine, exceptions={'order-exponential': 'the order of another method'})"
    )
    status, output = run_pytest(SOLVER.replace("ORDER", "2") + line, "-k", "order-exponential", "-rx")
    assert status == 0
    assert "the order of another method" in output


def test_the_card_is_printed_when_asked_for(run_pytest):
    line = "test_mine = conformance_tests(mine)"
    status, output = run_pytest(
        SOLVER.replace("ORDER", "1") + line, "--mezzotint-card", "-k", "order or evaluations or stability"
    )
    assert status == 0
    assert "mezzotint conformance" in output
    assert "order        1.01 on exponential, 1.01 on alternating 1:3 grids (declared 1)" in output
    assert "evaluations  1.00 a step" in output
    assert "stable       from 1 steps on" in output


def test_an_exception_for_a_check_that_there_is_not_is_refused():
    euler = solver("euler", accuracy_order=1)(lambda s: s.denoised)
    with pytest.raises(ValueError, match=r"'typo' is no check of a solver; there are point-mass, "):
        conformance_tests(euler, exceptions={"typo": "…"})
    with pytest.raises(ValueError, match="'strictly-decreasing' is no check of a solver"):
        check_solver(euler, leave_out=["strictly-decreasing"])


def test_loading_the_plugin_imports_nothing_heavy():
    code = "import mezzotint.testing.pytest_plugin, sys; print([m for m in ('torch', 'diffusers', 'numpy') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
