"""A stranger's plugin: built into a wheel, pip-installed into a scratch environment, and there; no line of core changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent / "third_party" / "mezzotint-afterglow"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
    ]
    subprocess.run([sys.executable, *command, str(PROJECT)], check=True)
    (built,) = folder.glob("*.whl")
    return built


class Scratch:
    """An environment of its own that sees the packages of this one."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / "bin" / "python"
        site_packages = next(folder.glob("lib/python*/site-packages"))
        here = sysconfig.get_paths()["purelib"]
        (site_packages / "outer.pth").write_text(f"import site; site.addsitedir({here!r})\n")
        self.environ = {**os.environ, "MEZZOTINT_CONFIG": str(folder / "config.toml"), "HF_HUB_OFFLINE": "1"}

    def run(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [str(self.python), *arguments], env=self.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def pip(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "pip", "--python", str(self.python), *arguments],
            check=True,
            capture_output=True,
        )

    def mezzotint(self, *arguments: str, code: int = 0) -> str:
        return self.run("-m", "mezzotint", *arguments, code=code)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Scratch:
    return Scratch(tmp_path_factory.mktemp("scratch"))


def states(scratch: Scratch) -> dict[str, str]:
    rows = json.loads(scratch.mezzotint("plugins", "list", "--json"))
    rows = rows["plugins"] if isinstance(rows, dict) else rows
    return {row["distribution"]: row["state"] for row in rows}


SCRIPT = """
import json, sys, torch, mezzotint
from mezzotint_afterglow import Afterglow
pipe = mezzotint.load(sys.argv[1])
run = {"steps": 3, "seed": 1, "scheduler": "afterglow-midpoint"}
plain, zero, glow = (pipe("a cat", use=use, **run) for use in ([], [Afterglow(0.0)], [Afterglow(0.5)]))
again = pipe("a cat", **run)
print(json.dumps({
    "zero": torch.equal(plain.latents, zero.latents),
    "glow": not torch.equal(plain.latents, glow.latents),
    "again": torch.equal(plain.latents, again.latents),
    "recipe": glow.recipe["extensions"][0]["plugin"],
    "scheduler": glow.recipe["scheduler"]["plugin"],
    "why": pipe.plan("a cat", use=[Afterglow()]).rows()[0]["from"],
}))
"""


def test_from_wheel_to_picture_and_away_again(scratch, wheel, model_folder, tmp_path):
    assert "mezzotint-afterglow" not in states(scratch)
    scratch.pip("install", "--quiet", "--no-deps", "--no-index", str(wheel))
    assert states(scratch)["mezzotint-afterglow"] == "loaded"
    assert "afterglow-midpoint" in scratch.mezzotint("schedulers", "list")

    told = json.loads(scratch.run("-c", SCRIPT, str(model_folder)).splitlines()[-1])
    plugin = {"name": "afterglow", "distribution": "mezzotint-afterglow", "version": "1.2.3"}
    assert told == {
        "zero": True,
        "glow": True,
        "again": True,
        "recipe": plugin,
        "scheduler": plugin,
        "why": "plugin afterglow (mezzotint-afterglow 1.2.3)",
    }

    out = str(tmp_path / "cat.png")
    generate = (
        "generate",
        "a cat",
        "--model",
        str(model_folder),
        "--steps",
        "2",
        "--seed",
        "1",
        "--output",
        out,
    )
    scratch.mezzotint(*generate, "--scheduler", "afterglow-midpoint", "--afterglow-strength", "0.5")
    assert "identical" in scratch.mezzotint("replay", out)
    assert "--afterglow-strength" in scratch.mezzotint("generate", "--help")

    scratch.mezzotint("plugins", "disable", "afterglow")
    assert states(scratch)["mezzotint-afterglow"] == "disabled"
    scratch.mezzotint("replay", out, code=2)
    scratch.mezzotint("plugins", "enable", "afterglow")

    scratch.pip("uninstall", "--quiet", "--yes", "mezzotint-afterglow")
    assert "mezzotint-afterglow" not in states(scratch)
