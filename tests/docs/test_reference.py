"""The pages name what there is: public names, settings, commands and their options, and nothing that is not."""

from __future__ import annotations

import re
from pathlib import Path

import mezzotint
import mezzotint.testing
import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.mark.parametrize("name", mezzotint.__all__)
def test_a_public_name_is_in_the_reference(name):
    assert f"`mezzotint.{name}" in (DOCS / "reference.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", mezzotint.testing.__all__)
def test_a_public_name_of_the_test_kit_is_in_the_reference(name):
    assert f"`mezzotint.testing.{name}" in (DOCS / "reference.md").read_text(encoding="utf-8")


def test_the_reference_names_nothing_that_is_not_there():
    named = re.findall(
        r"^\| `mezzotint\.(?!testing\.|scheduling\.|errors\.)(\w+)",
        (DOCS / "reference.md").read_text(encoding="utf-8"),
        re.M,
    )
    assert sorted(set(named) - {"testing"}) == sorted(mezzotint.__all__)


def test_pages_and_code_know_the_same_environment_variables():
    variable = re.compile(r"\bMEZZOTINT_[A-Z_]+\b")
    used = {
        name
        for path in (ROOT / "core" / "mezzotint").rglob("*.py")
        for name in variable.findall(path.read_text())
    }
    told = set(variable.findall((DOCS / "plugins.md").read_text(encoding="utf-8")))
    assert told == used


def test_commands_and_options_of_the_command_line_page_exist():
    import click
    from mezzotint.cli.main import OWN

    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    for spec in OWN:
        assert f"## `mezzotint {spec.name}" in page, f"docs/command-line.md lacks {spec.name}"
        section = page.partition(f"## `mezzotint {spec.name}")[2].partition("\n## ")[0]
        for parameter in spec.load().params:
            if isinstance(parameter, click.Option) and "--debug" not in parameter.opts:
                assert any(f"`{opt}" in section for opt in parameter.opts), f"{spec.name}: {parameter.opts}"
        known = {
            opt for parameter in spec.load().params for opt in (*parameter.opts, *parameter.secondary_opts)
        }
        for opt in re.findall(r"^\| `(-[\w-]+)", section.partition("\n### ")[0], re.M):
            assert opt in known, f"{spec.name} has no {opt}"


def test_no_page_names_a_folder_of_the_machine_it_was_written_on():
    for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("*/README.md")]:
        found = re.search(r"(?<![\w.])/(?:home|root|work|Users)/\w+", page.read_text(encoding="utf-8"))
        assert not found, f"{page.name}: {found.group()}"
