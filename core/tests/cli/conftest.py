"""A tiny model behind a plugin file, distributions without pip, and the command line in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner, Result
from mezzotint.cli.main import main

PLUGIN = '''
import os
import signal
from pathlib import Path

from mezzotint import Extension, Field, ModelSpec, RunDefaults, hookimpl


class Brighten(Extension, name="brighten"):
    """Add a constant to the final latents."""

    by: float = Field(0.5, ge=0, le=2, description="how much")
    invert: bool = Field(False, description="take it away instead")

    @hookimpl
    def latents(self, latents, run):
        return latents + (-self.by if self.invert else self.by)


class Stamp(Extension, name="stamp"):
    """Scale the latents by what a file says."""

    path: Path = Field(description="a file")
    weight: float = Field(1.0, gt=0, description="how strongly")
    layers: list[str] = Field([], description="where")

    @hookimpl
    def step_end(self, latents, run):
        if self.weight == 13:
            raise ValueError("13 brings bad luck")
        return latents * self.weight


class Interrupt(Extension, name="interrupt"):
    """Press Ctrl-C, or fail, in the middle of the image with this seed."""

    seed: int = 0
    fail: bool = False

    @hookimpl
    def step_end(self, latents, run):
        if run.request.seed == self.seed and run.step.index == 1:
            if self.fail:
                raise RuntimeError("out of luck")
            os.kill(os.getpid(), signal.SIGINT)


@hookimpl
def models():
    return [ModelSpec("tiny", Path({folder!r}), "random weights", "CC0-1.0", RunDefaults(steps=3, guidance=2.0))]


@hookimpl
def extensions():
    return [Brighten, Stamp, Interrupt]
'''

Mezzotint = Callable[..., Result]


@pytest.fixture(scope="session")
def plugin_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin that brings the model `tiny` and three extensions."""
    import torch
    from mezzotint.testing import save_tiny_model

    # Threads that wait for each other cost a busy machine more than these models do.
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny_model(folder / "model")
    path = folder / "tinyplugin.py"
    path.write_text(PLUGIN.replace("{folder!r}", repr(str(folder / "model"))))
    return path


@pytest.fixture(autouse=True)
def no_other_plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither this person's configuration nor installed plugins; the working folder is empty."""
    monkeypatch.setenv("MEZZOTINT_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("MEZZOTINT_PLUGINS", "")
    monkeypatch.delenv("MEZZOTINT_STRICT", raising=False)
    monkeypatch.delenv("MEZZOTINT_DISABLE", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def mezzotint() -> Mezzotint:
    """Run a command line in this process."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def generate(mezzotint: Mezzotint, plugin_file: Path) -> Mezzotint:
    """`mezzotint generate` with the tiny model."""
    return lambda *arguments: mezzotint("generate", "--model", "tiny", "--plugin", plugin_file, *arguments)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Make a distribution with one plugin, as pip would leave it: `install("name", "python code")`."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    names: list[str] = []

    def make(name: str, code: str, *, version: str = "1.2", requires: str = "") -> None:
        module = name.replace("-", "_")
        (site / f"{module}.py").write_text(dedent(code))
        info = site / f"{module}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata + (f"Requires-Dist: {requires}\n" if requires else ""))
        plugin = name.removeprefix("mezzotint-")
        (info / "entry_points.txt").write_text(f"[mezzotint.plugins]\n{plugin} = {module}\n")
        names.append(plugin)
        monkeypatch.setenv("MEZZOTINT_PLUGINS", ",".join(names))

    yield make
    import sys

    for module in [name for name in sys.modules if getattr(sys.modules[name], "__file__", None)]:
        if str(sys.modules[module].__file__).startswith(str(site)):
            del sys.modules[module]
