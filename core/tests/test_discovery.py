"""Plugins are found by metadata, imported only if they may be, and fail without a trace."""

from __future__ import annotations

import itertools
import sys
import textwrap
from importlib import metadata
from pathlib import Path

import pytest
from mezzotint import ModelSpec, Registry, hookimpl
from mezzotint.errors import DuplicateNameError, PluginError, UnknownNameError
from mezzotint.plugins.discovery import GROUP, State
from mezzotint.plugins.settings import Settings, read_settings

NOTHING = Settings({})


class Site:
    """A folder of installed distributions, as pip leaves them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, distribution, source, *, version="1.0", requires=(), plugin=None):
        """Write a module and its dist-info with an entry point in our group."""
        module = distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source))
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}"]
        (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {line}" for line in requires)]))
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{plugin or distribution} = {module}\n")

    def points(self):
        found = metadata.distributions(path=[str(self.folder)])
        return [point for dist in found for point in dist.entry_points if point.group == GROUP]

    def load(self, settings=NOTHING, plugins=()):
        return Registry.load(plugins, settings=settings, entry_points=self.points())


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield Site(tmp_path)
    for name in set(sys.modules) - before:
        del sys.modules[name]


GOOD = """
    from pathlib import Path
    from mezzotint import ModelSpec, hookimpl

    @hookimpl
    def models():
        return [ModelSpec("{name}", Path("."))]
"""


def rows(registry):
    return {row.owner.plugin: (row.state, row.cause) for row in registry.rows}


def test_an_entry_point_is_enough(site):
    site.install("good", GOOD.format(name="a"))
    registry = site.load()
    assert list(registry.models) == ["a"]
    assert str(registry.models.provided("a").owner) == "plugin good (good 1.0)"


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("import does_not_exist", "ModuleNotFoundError: No module named 'does_not_exist'"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("x = 1", "has no function marked with @mezzotint.hookimpl"),
        ("from mezzotint import hookimpl\n@hookimpl\ndef model(): return []", "did you mean models"),
        ("from mezzotint import hookimpl\n@hookimpl\ndef models(pipe): return []", "takes 'pipe'"),
        (
            "from mezzotint import hookimpl\n@hookimpl\ndef step_end(latents): return 1",
            "'step_end' is a run hook",
        ),
        (
            "from mezzotint import hookimpl\n@hookimpl\ndef models(): return ['a']",
            "must return a list of mezzotint.ModelSpec",
        ),
        ("from mezzotint import hookimpl\n@hookimpl\ndef models(): raise KeyError('k')", "KeyError: 'k'"),
        ("from mezzotint import hookimpl\n@hookimpl\ndef models(): raise SystemExit(3)", "SystemExit: 3"),
        (
            "from mezzotint import hookimpl\n@hookimpl\ndef schedulers(): return [int]",
            "must return a list of",
        ),
    ],
)
def test_a_broken_plugin_is_a_failed_row_and_the_rest_works(site, source, cause):
    site.install("bad", source)
    site.install("good", GOOD.format(name="a"))
    registry = site.load()
    state, why = rows(registry)["bad"]
    assert state is State.FAILED
    assert cause in why
    assert list(registry.models) == ["a"]


@pytest.mark.parametrize("source", ["raise RuntimeError('no luck')", "x = 1"])
def test_strict_makes_a_failed_row_an_error(site, source):
    site.install("bad", source)
    with pytest.raises(PluginError, match=r"plugin bad \(bad 1.0\) failed to load"):
        site.load(Settings({}, strict=True))


def test_a_plugin_that_fails_late_leaves_nothing_behind(site):
    site.install(
        "late",
        """
        from pathlib import Path
        from mezzotint import ModelSpec, hookimpl

        @hookimpl
        def models():
            return [ModelSpec("left", Path("."))]

        @hookimpl
        def spacings():
            raise ValueError("late")
        """,
    )
    registry = site.load()
    assert list(registry.models) == []
    assert registry._manager.get_plugins() == set()


def test_a_failed_import_leaves_none_of_its_modules(site):
    package = site.folder / "half"
    package.mkdir()
    (package / "__init__.py").write_text("from . import inner\nraise RuntimeError")
    (package / "inner.py").write_text("")
    site.install("loader", "import half")
    site.load()
    assert "loader" not in sys.modules
    (package / "__init__.py").write_text("from . import inner")


@pytest.mark.parametrize("by", ["plugin", "distribution"])
def test_a_disabled_plugin_is_not_imported(site, by):
    site.install("dist-a", "raise SystemError('imported')", plugin="plug")
    name = {"plugin": "plug", "distribution": "dist-a"}[by]
    registry = site.load(Settings({name: "the test"}))
    assert rows(registry)["plug"] == (State.DISABLED, "disabled by the test")
    assert "dist_a" not in sys.modules


def test_only_the_named_plugins_are_imported(site):
    site.install("good", GOOD.format(name="a"))
    site.install("other", "raise SystemError('imported')")
    registry = site.load(Settings({}, only=frozenset({"good"})))
    assert rows(registry)["other"] == (State.DISABLED, "not in MEZZOTINT_PLUGINS")
    assert list(registry.models) == ["a"]


def test_a_plugin_for_another_version_is_not_imported(site):
    site.install("future", "raise SystemError('imported')", requires=["torch", "mezzotint>=99"])
    state, cause = rows(site.load())["future"]
    assert (state, "requires mezzotint>=99" in cause) == (State.FAILED, True)
    assert "future" not in sys.modules


def test_a_requirement_of_an_extra_does_not_count(site):
    site.install("good", GOOD.format(name="a"), requires=['mezzotint>=99; extra == "next"', "Mezzotint>=0.1"])
    assert list(site.load().models) == ["a"]


def test_a_name_of_two_plugins_is_there_for_neither_and_names_both(site):
    site.install("one", GOOD.format(name="a"))
    site.install("two", GOOD.format(name="a"))
    registry = site.load()
    assert list(registry.models) == []
    with pytest.raises(DuplicateNameError) as caught:
        registry.models["a"]
    assert "one 1.0" in str(caught.value)
    assert "two 1.0" in str(caught.value)
    assert "mezzotint plugins disable" in str(caught.value)
    assert list(site.load(Settings({"two": "the test"})).models) == ["a"]


def test_two_plugins_of_one_name_are_told_apart_by_distribution(site):
    site.install("one", GOOD.format(name="a"), plugin="same")
    site.install("two", GOOD.format(name="b"), plugin="same")
    failed = [row for row in site.load().rows if row.state is State.FAILED]
    assert len(failed) == 2
    assert all("one 1.0 and two 1.0" in row.cause for row in failed)


def test_nothing_depends_on_the_order_of_installation(site):
    for name in ("one", "two", "three"):
        site.install(name, GOOD.format(name=name))
    points = site.points()
    loaded = [
        [row.owner.plugin for row in Registry.load(settings=NOTHING, entry_points=order).rows]
        for order in itertools.permutations(points)
    ]
    assert all(order == ["one", "three", "two"] for order in loaded)


def test_an_unknown_name_suggests_one(site):
    site.install("good", GOOD.format(name="emoji"))
    with pytest.raises(UnknownNameError, match="no model named 'emojy'; did you mean emoji"):
        site.load().models["emojy"]


class Local:
    """A plugin class that a caller hands over."""

    @hookimpl
    def models(self):
        return [ModelSpec("local", Path("."))]


@pytest.mark.parametrize("plugin", [Local, Local()])
def test_an_object_or_a_class_is_a_plugin(plugin):
    registry = Registry.load([plugin], settings=NOTHING, entry_points=())
    assert list(registry.models) == ["local"]


def test_a_python_file_is_a_plugin(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(GOOD.format(name="a")))
    registry = Registry.load([str(path)], settings=NOTHING, entry_points=())
    assert str(registry.models.provided("a").owner) == "plugin mine"


def test_a_given_plugin_that_fails_is_an_error_and_names_it(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("raise ValueError('broken')")
    with pytest.raises(PluginError, match="plugin mine failed to load: ValueError: broken"):
        Registry.load([path], settings=NOTHING, entry_points=())


def test_a_given_plugin_may_not_take_a_name_but_an_old_quarrel_is_not_its_fault(site):
    site.install("one", GOOD.format(name="a"))
    site.install("two", GOOD.format(name="a"))
    assert "local" in site.load(plugins=[Local]).models
    site.install("three", GOOD.format(name="local"))
    with pytest.raises(DuplicateNameError, match="'local' is provided by plugin three"):
        site.load(plugins=[Local])


def test_names_are_compared_as_packaging_does(site):
    site.install("my-dist", "raise SystemError('imported')", plugin="plug")
    assert rows(site.load(Settings({"My_Dist": "the test"})))["plug"][0] is State.DISABLED


def test_settings_come_from_the_environment_and_the_file(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[plugins]\ndisabled = ["a"]\n')
    settings = read_settings(
        {
            "MEZZOTINT_CONFIG": str(path),
            "MEZZOTINT_DISABLE": "b, c",
            "MEZZOTINT_STRICT": "1",
            "MEZZOTINT_PLUGINS": "",
        }
    )
    assert settings == Settings(
        {"a": str(path), "b": "MEZZOTINT_DISABLE", "c": "MEZZOTINT_DISABLE"}, frozenset(), strict=True
    )


def test_a_misspelt_name_in_the_environment_is_a_warning_with_the_nearest(caplog):
    settings = Settings({"shedulers": "MEZZOTINT_DISABLE", "gone": "/etc/config.toml"}, frozenset({"emojy"}))
    sentences = settings.misspelt({"schedulers", "emoji", "mezzotint-emoji"})
    assert len(sentences) == 2
    assert "MEZZOTINT_DISABLE names 'shedulers'" in sentences[0]
    assert "did you mean schedulers?" in sentences[0]
    assert "MEZZOTINT_PLUGINS names 'emojy'" in sentences[1]
    Registry.load(settings=settings, entry_points=())
    assert "names 'shedulers', which is not installed" in caplog.text
