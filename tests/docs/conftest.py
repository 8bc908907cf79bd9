"""Where the documentation runs: an empty folder, a random model of a few thousand parameters behind `emoji`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest


class Installed(metadata.Distribution):
    """A distribution that exists only here."""

    def __init__(self, name: str) -> None:
        self._name = name

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.4\nName: {self._name}\nVersion: 0.1.0\nRequires-Dist: mezzotint\n"

    def locate_file(self, path):
        raise FileNotFoundError(path)


def plugins_of(test: pytest.Item) -> list[str]:
    """Names of this repository's plugins that the page of a test asks for."""
    page = test.callspec.params.get("page") if hasattr(test, "callspec") else None
    asked = re.search(r"<!-- plugins: ([\w, ]+) -->", page.read_text(encoding="utf-8")) if page else None
    return re.findall(r"\w+", asked[1]) if asked else []


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mezzotint.testing import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / "emoji")


@pytest.fixture
def documented(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_model: Path
) -> Iterator[Path]:
    """The folder to run in. mezzotint-schedulers and a stand-in for mezzotint-emoji are the plugins, and what
    a page names besides: `<!-- plugins: controlnet -->`."""
    import mezzotint
    from mezzotint.plugins.discovery import GROUP

    import_module("mezzotint_schedulers")  # If it fails, say so here; discovery would only list it.
    emoji = ModuleType("stand_in_for_emoji")
    spec = mezzotint.ModelSpec("emoji", tiny_model, defaults=mezzotint.RunDefaults(steps=2))
    emoji.plugin = SimpleNamespace(models=mezzotint.hookimpl(lambda: [spec]))
    monkeypatch.setitem(sys.modules, emoji.__name__, emoji)
    points = [
        metadata.EntryPoint("emoji", "stand_in_for_emoji:plugin", GROUP)._for(Installed("mezzotint-emoji")),
        metadata.EntryPoint("schedulers", "mezzotint_schedulers", GROUP)._for(
            Installed("mezzotint-schedulers")
        ),
        *(
            metadata.EntryPoint(name, f"mezzotint_{name}", GROUP)._for(Installed(f"mezzotint-{name}"))
            for name in plugins_of(request.node)
        ),
    ]
    for user in ("mezzotint.plugins.registry", "mezzotint.cli.plugin_switch"):
        monkeypatch.setattr(f"{user}.installed_entry_points", lambda: points)
    for variable in ("MEZZOTINT_PLUGINS", "MEZZOTINT_DISABLE", "MEZZOTINT_STRICT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MEZZOTINT_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
