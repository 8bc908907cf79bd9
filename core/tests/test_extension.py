"""Options are declared once; hook methods are checked when the class is defined."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from mezzotint import Extension, Field, hookimpl
from mezzotint.errors import PluginError, RequestError


class Brighten(Extension, name="brighten"):
    """Add a constant.

    More about it.
    """

    path: Path
    by: float = Field(0.1, ge=0, le=1, description="how much")


def test_options_by_position_and_by_name():
    assert Brighten("a.png", 0.5) == Brighten(path=Path("a.png"), by=0.5)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((), {}, r"brighten: option 'path' is required"),
        (("a", 0.1, 3), {}, r"brighten takes 2 options \(path, by\), not 3"),
        (("a",), {"path": "b"}, r"brighten: option 'path' was given twice"),
        (("a",), {"buy": 1}, r"brighten: no option 'buy'; did you mean by"),
        (("a", 2), {}, r"brighten: option 'by': input should be less than or equal to 1, got 2"),
    ],
)
def test_a_bad_option_is_one_sentence(arguments, options, message):
    with pytest.raises(RequestError, match=message):
        Brighten(*arguments, **options)


def test_extensions_are_frozen():
    with pytest.raises(Exception, match="frozen"):
        Brighten("a").by = 0.5


def test_options_are_plain_data_and_files_are_known_by_content(tmp_path):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"content")
    extension = Brighten(picture)
    assert extension.options() == {"path": str(picture), "by": 0.1}
    assert extension.files() == {"path": hashlib.sha256(b"content").hexdigest()}


def test_folders_and_several_files_are_known_by_content_too(tmp_path):
    class Many(Extension, name="many"):
        model: Path
        pictures: tuple[Path, ...] = ()
        named: dict[str, Path] = Field({})

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "a.png").write_bytes(b"content")
    here = Many(model=tmp_path / "model", pictures=(tmp_path / "b.png", tmp_path / "a.png"))
    content = hashlib.sha256(b"content").hexdigest()
    assert here.files().keys() == {"model", "pictures.1"}
    assert here.files()["pictures.1"] == content
    assert Many(model=tmp_path / "gone", named={"edges": tmp_path / "a.png"}).files() == {
        "named.edges": content
    }


def test_summary_is_the_first_line_of_the_docstring():
    assert Brighten.summary() == "Add a constant."


def test_an_unknown_hook_suggests_one():
    with pytest.raises(PluginError, match="extension typo: no hook point 'step_ends'; did you mean step_end"):

        class Typo(Extension, name="typo"):
            @hookimpl
            def step_ends(self):
                return None


def test_an_unknown_argument_lists_those_there_are():
    with pytest.raises(
        PluginError, match=r"takes 'latent', which the hook point lacks; it has \(latents, run\)"
    ):

        class Typo(Extension, name="typo"):
            @hookimpl
            def step_end(self, latent):
                return None


def test_a_provider_hook_on_an_extension_says_where_it_belongs():
    with pytest.raises(PluginError, match="'models' is a provider"):

        class Misplaced(Extension, name="misplaced"):
            @hookimpl
            def models(self):
                return []


@pytest.mark.parametrize("name", ["Freeu", "free u", "free_u", "-a", "1a"])
def test_names_are_words_joined_by_dashes(name):
    with pytest.raises(PluginError, match="lower-case words"):
        type("Named", (Extension,), {"__module__": __name__}, name=name)


def test_a_subclass_may_take_over_hooks_under_its_own_name():
    class Base(Extension, name="base"):
        @hookimpl
        def step_end(self, latents):
            return latents

    class Derived(Base, name="derived"):
        """The same."""

    assert list(Derived.hook_names()) == ["step_end"]
    assert Derived.extension_name == "derived"
    assert Base.extension_name == "base"


@pytest.mark.parametrize("outside", [staticmethod, classmethod])
def test_a_static_or_class_method_is_refused(outside):
    def step_end(latents=None):
        return None

    for method in (hookimpl(outside(step_end)), outside(hookimpl(step_end))):
        with pytest.raises(PluginError, match="step_end is a static or class method"):
            type("Static", (Extension,), {"step_end": method, "__module__": __name__}, name="static")


def test_catch_all_parameters_are_refused():
    with pytest.raises(PluginError, match=r"has the parameter \*\*kwargs"):

        class Greedy(Extension, name="greedy"):
            @hookimpl
            def step_end(self, latents, **kwargs):
                return None


def test_at_is_refused_where_nothing_fires_per_block():
    with pytest.raises(PluginError, match="step_end does not fire per block"):

        class Misplaced(Extension, name="misplaced"):
            @hookimpl(at="mid")
            def step_end(self):
                return None


def test_a_subclass_without_a_name_has_none(pipe):
    class Base(Extension, name="base"):
        @hookimpl
        def step_end(self, latents):
            return latents

    class Nameless(Base):
        """No name of its own."""

    with pytest.raises(PluginError, match="has no name"):
        pipe.plan("x", use=[Nameless()])


def test_an_extension_without_a_hook_is_refused(pipe):
    with pytest.raises(PluginError, match="brighten implements no hook point"):
        pipe.plan("x", use=[Brighten("a")])


def test_an_object_in_memory_is_named_in_the_recipe_and_costs_no_picture(pipe):
    from PIL import Image

    class Shows(Extension, name="shows"):
        image: object

        @hookimpl
        def latents(self, latents):
            return latents

    result = pipe("a cat", steps=1, seed=1, use=Shows(Image.new("RGB", (1, 1))))
    assert result.recipe["extensions"][0]["options"] == {"image": {"in memory": "PIL.Image.Image"}}
