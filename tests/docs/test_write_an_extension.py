"""The tutorial's files are what they are said to be: a test that passes and a package that is found."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "write-an-extension.md"


@pytest.fixture
def tutorial(documented: Path) -> Path:
    text = PAGE.read_text(encoding="utf-8")
    for title in ("contrast.py", "test_contrast.py", "pyproject.toml"):
        (documented / title).write_text(text.partition(f'title="{title}"\n')[2].partition("```\n")[0])
    return documented


def test_the_tests_of_the_tutorial_pass(tutorial: Path, tiny_model: Path):
    import test_contrast

    for name in vars(test_contrast).copy():
        if name.startswith("test_"):
            getattr(test_contrast, name)(tiny_model)


def test_its_project_file_makes_a_plugin_that_is_found(tutorial: Path):
    from mezzotint.plugins.discovery import GROUP
    from mezzotint.plugins.registry import Registry
    from mezzotint.plugins.settings import Settings

    project = tomllib.loads((tutorial / "pyproject.toml").read_text())["project"]
    info = tutorial / "mezzotint_contrast-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\n"
        + "".join(f"Requires-Dist: {line}\n" for line in project["dependencies"])
    )
    points = project["entry-points"][GROUP]
    (info / "entry_points.txt").write_text(
        f"[{GROUP}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items())
    )

    (found,) = metadata.distributions(path=[str(tutorial)])
    registry = Registry.load(settings=Settings({}, strict=True), entry_points=found.entry_points)
    assert list(registry.extensions) == ["contrast"]
    assert registry.rows[0].owner.distribution == "mezzotint-contrast"
