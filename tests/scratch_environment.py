"""A virtual environment of a test's own that sees the packages of this one, for what pip installs."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path


class Scratch:
    """The environment; nothing is downloaded into it."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / "bin" / "python"
        site_packages = next(folder.glob("lib/python*/site-packages"))
        here = sysconfig.get_paths()["purelib"]
        (site_packages / "outer.pth").write_text(f"import site; site.addsitedir({here!r})\n")
        self.environ = {**os.environ, "MEZZOTINT_CONFIG": str(folder / "config.toml"), "HF_HUB_OFFLINE": "1"}

    def run(self, *arguments: str, code: int = 0, folder: Path | None = None) -> str:
        done = subprocess.run(
            [str(self.python), *arguments],
            env=self.environ,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
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


def build_wheel(project: Path, folder: Path) -> Path:
    """The wheel of a project, built without network."""
    command = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([sys.executable, *command, "--wheel-dir", str(folder), str(project)], check=True)
    (built,) = folder.glob("*.whl")
    return built
