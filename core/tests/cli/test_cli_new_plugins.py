"""`mezzotint plugins new` and `plugins check`: a plugin that works from the start, and what is wrong with one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from mezzotint import Registry


@pytest.fixture
def forget_modules(monkeypatch):
    """Let packages of the working folder be imported, and be gone afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(".")
    yield
    for name in set(sys.modules) - before:
        if name.startswith("mezzotint_"):
            del sys.modules[name]


@pytest.mark.parametrize("kind", ["extension", "scheduler"])
def test_a_new_plugin_loads_and_provides_what_it_is_named(mezzotint, kind):
    assert mezzotint("plugins", "new", "half-step", "--kind", kind).exit_code == 0
    registry = Registry.load(["mezzotint-half-step/mezzotint_half_step/__init__.py"])
    assert "half-step" in (registry.extensions if kind == "extension" else registry.schedulers)


@pytest.mark.parametrize("kind", ["extension", "scheduler"])
def test_the_tests_of_a_new_plugin_can_be_collected(mezzotint, kind, forget_modules, monkeypatch):
    import importlib.util

    mezzotint("plugins", "new", "half-step", "--kind", kind)
    monkeypatch.syspath_prepend("mezzotint-half-step")
    path = "mezzotint-half-step/tests/test_half_step.py"
    spec = importlib.util.spec_from_file_location("test_half_step", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert [name for name in vars(module) if name.startswith("test_")]


def test_a_new_scheduler_is_a_right_one(mezzotint):
    from mezzotint.testing import check_solver

    mezzotint("plugins", "new", "half-step", "--kind", "scheduler")
    solver = Registry.load(["mezzotint-half-step/mezzotint_half_step/__init__.py"]).schedulers["half-step"]
    report = check_solver(solver, leave_out=["stability"])
    assert not report.failed


def test_new_never_overwrites_and_explains_names(mezzotint):
    mezzotint("plugins", "new", "glow")
    again = mezzotint("plugins", "new", "glow")
    assert again.exit_code == 2
    assert "mezzotint-glow exists" in again.stderr
    assert "lower-case words joined by dashes" in mezzotint("plugins", "new", "Half Step").stderr
    assert "mezzotint plugins new glow" in mezzotint("plugins", "new", "mezzotint-glow").stderr


def test_a_class_or_keyword_as_name_gives_valid_python(mezzotint):
    mezzotint("plugins", "new", "lambda", "--kind", "scheduler")
    assert "lambda" in Registry.load(["mezzotint-lambda/mezzotint_lambda/__init__.py"]).schedulers


def test_check_passes_what_is_right(mezzotint):
    mezzotint("plugins", "new", "glow")
    result = mezzotint("plugins", "check", "mezzotint-glow/mezzotint_glow/__init__.py")
    assert result.exit_code == 0, result.stdout
    assert "acts at unet_block_output" in result.stdout


def test_check_names_each_thing_to_mend(mezzotint, install):
    install(
        "mezzotint-sloppy",
        """
        import torch
        from mezzotint import Extension, hookimpl

        class Sloppy(Extension, name="sloppy"):
            amount: float = 1.0

        @hookimpl
        def extensions():
            return [Sloppy]
        """,
    )
    result = mezzotint("plugins", "check", "sloppy", "--json")
    assert result.exit_code == 1
    found = {one["check"]: one["text"] for one in json.loads(result.stdout)["findings"] if not one["passed"]}
    assert "does not depend on mezzotint" in found["requirement"]
    assert "a docstring, a description of amount, a hook method" in found["extension sloppy"]


def test_check_says_which_check_a_solver_fails(mezzotint):
    mezzotint("plugins", "new", "half-step", "--kind", "scheduler")
    path = Path("mezzotint-half-step/mezzotint_half_step/__init__.py")
    path.write_text(path.read_text().replace("accuracy_order=1", "accuracy_order=3"))
    result = mezzotint("plugins", "check", path)
    assert result.exit_code == 1
    assert "MEND scheduler half-step: order" in result.stdout


def test_check_of_a_plugin_that_does_not_load_says_why(mezzotint, install):
    install("mezzotint-broken", "raise RuntimeError('no luck')")
    result = mezzotint("plugins", "check", "broken")
    assert result.exit_code == 1
    assert "RuntimeError: no luck" in result.stdout
