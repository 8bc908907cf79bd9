"""From an empty folder to `pip install` and a passing conformance run, as the page says, without network."""

from __future__ import annotations

from pathlib import Path

import pytest
from scratch_environment import Scratch, build_wheel

PAGE = Path(__file__).parents[2] / "docs" / "write-a-scheduler.md"
FILES = ("two_slopes.py", "test_two_slopes.py", "pyproject.toml")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page, and nothing else in it."""
    folder = tmp_path_factory.mktemp("two-slopes")
    text = PAGE.read_text(encoding="utf-8")
    for title in FILES:
        (folder / title).write_text(text.partition(f'title="{title}"\n')[2].partition("```\n")[0])
    return folder


def test_the_package_is_built_installed_listed_and_proven(project: Path, tmp_path: Path):
    scratch = Scratch(tmp_path / "environment")
    wheel = build_wheel(project, tmp_path)
    scratch.pip("install", "--quiet", "--no-deps", "--no-index", str(wheel))
    listed = scratch.mezzotint("schedulers", "list")
    assert "two-slopes" in listed
    assert "Bashforth & Adams 1883" in listed

    # The test file alone: the solver that it imports is the installed one.
    alone = tmp_path / "tests"
    alone.mkdir()
    (alone / "test_two_slopes.py").write_text((project / "test_two_slopes.py").read_text())
    told = scratch.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--mezzotint-card", folder=alone)
    assert "19 passed" in told
    assert "declared 2" in told


def test_the_solver_has_at_most_ten_lines(project: Path):
    text = (project / "two_slopes.py").read_text()
    body = text.partition("def two_slopes(s):\n")[2].partition("\n\n")[0].splitlines()
    assert len([line for line in body if line.strip() and '"""' not in line]) <= 10
