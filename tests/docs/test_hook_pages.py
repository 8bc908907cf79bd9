"""Every hook point has a page with its exact signature, a place in the order of firing, and a test."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from mezzotint import Extension, hookimpl
from mezzotint.hooks.signatures import hook_points
from mezzotint.hookspecs import Providers, RunHooks

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "hooks"
POINTS = hook_points(Providers, RunHooks)
PLACES = {
    # A whole processor excludes the other attention hooks at its layer.
    "attention_processor": "mid.**.attn1",
    "attention_probe": "mid.**.attn2",
    "cross_attention_tokens": "mid.**.attn2",
    "unet_block_input": "mid",
    "unet_block": "mid",
    "unet_block_output": "mid",
}


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_hooks", ROOT / "docs" / "generate_hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_parts_are_up_to_date(generator, capsys):
    stale = generator.main(["--check"])
    assert not stale, f"run: python docs/generate_hooks.py\n{capsys.readouterr().out}"


@pytest.mark.parametrize("name", POINTS)
def test_a_page_shows_the_declaration_as_it_stands_in_hookspecs(name, generator):
    from mezzotint import hookspecs

    declared = generator.signature(name)
    indented = "\n".join(f"    {line}" for line in declared.splitlines())
    assert indented in Path(hookspecs.__file__).read_text(encoding="utf-8")
    assert f"```python\n{declared}\n```" in (PAGES / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", POINTS)
def test_a_page_has_prose_an_example_and_typical_users(name):
    written = (
        (PAGES / f"{name}.md").read_text(encoding="utf-8").partition("<!-- end of the generated part -->")[2]
    )
    assert "To be written" not in written
    assert re.search(r"^## Example$.*^```python$.*^    def " + name + r"\(", written, re.M | re.S)
    assert "## Typical users" in written


def test_there_is_no_page_of_a_hook_point_that_is_gone():
    assert {path.stem for path in PAGES.glob("*.md")} == {*POINTS, "index"}


@pytest.mark.parametrize("name", POINTS)
def test_a_hook_point_has_a_test(name):
    implementation = re.compile(rf"@(?:mezzotint\.)?hookimpl\b[^\n]*\n(?:\s*@[^\n]+\n)*\s*def {name}\(")
    folders = [ROOT / "core" / "tests", ROOT / "tests", *ROOT.glob("plugins/*/tests")]
    texts = (path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("test_*.py"))
    assert any(implementation.search(text) for text in texts if text), f"no test implements {name}"


def test_hook_points_are_listed_in_the_order_in_which_they_first_fire(generator, tiny_model):
    from mezzotint.testing import tiny_pipeline

    fired: list[str] = []
    pipe = tiny_pipeline(tiny_model)
    pipe("a", negative="b", steps=2, guidance=5.0, seed=1, use=[recorder(fired)()])
    listed = [name for names in generator.FIRING.values() for name in names]
    assert sorted(listed) == sorted(POINTS)
    # It fires after each of the others, so it has no place of its own in their order.
    assert "hook_called" in fired
    in_order = [name for name in dict.fromkeys(fired) if name != "hook_called"]
    assert [name for name in listed if name in hook_points(RunHooks)] == [*in_order, "hook_called"]


def recorder(fired: list[str]) -> type[Extension]:
    """An extension at every run hook that writes down what fires and changes nothing."""

    def implementation(name: str):
        def function(self):
            fired.append(name)

        return hookimpl(at=PLACES.get(name))(function)

    methods = {name: implementation(name) for name in hook_points(RunHooks)}
    return type("Recorder", (Extension,), {"__module__": __name__, **methods}, name="recorder")


def test_providers_are_asked_once_in_the_order_of_their_declaration(generator):
    from mezzotint.plugins.registry import Registry
    from mezzotint.plugins.settings import Settings

    asked: list[str] = []

    class Plugin:
        @hookimpl
        def models(self):
            asked.append("models")

        @hookimpl
        def schedulers(self):
            asked.append("schedulers")

        @hookimpl
        def spacings(self):
            asked.append("spacings")

        @hookimpl
        def extensions(self):
            asked.append("extensions")

        @hookimpl
        def preprocessors(self):
            asked.append("preprocessors")

        @hookimpl
        def commands(self):
            asked.append("commands")

    Registry.load([Plugin()], settings=Settings({}), entry_points=())
    assert asked == list(generator.FIRING["Once, when the plugin loads"])
