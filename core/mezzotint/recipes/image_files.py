"""PNG files that carry how they were made: the recipe as JSON, and the text that other tools read.

Text chunk `mezzotint` holds the recipe, `parameters` the text of AUTOMATIC1111's web UI. Files are
looked at before they are decoded, since they may come from strangers.
"""

from __future__ import annotations

import json
import os
import secrets
import struct
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import ReplayError
from ..strangers_json import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image
    from PIL.PngImagePlugin import PngInfo

CHUNK = "mezzotint"
MAX_PIXELS = 2**26
"""Larger files are not decoded (8192 x 8192)."""
MAX_TEXT = 2**20
"""Bytes of all text chunks together; a recipe has a few thousand."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_SAMPLERS = {
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "euler": "Euler",
    "euler-ancestral": "Euler a",
    "heun": "Heun",
    "dpm2": "DPM2",
    "lms": "LMS",
    "dpmpp-2m": "DPM++ 2M",
    "dpmpp-2m-sde": "DPM++ 2M SDE",
    "dpmpp-sde": "DPM++ SDE",
    "dpmpp-3m-sde": "DPM++ 3M SDE",
    "unipc": "UniPC",
    "deis": "DEIS",
    "lcm": "LCM",
}
"""What AUTOMATIC1111 calls our solvers."""


def save_png(image: Image, recipe: Mapping[str, Any] | None, path: str | Path) -> Path:
    """Write an image with its recipe, whole or not at all, and never over an existing file.

    Args:
        recipe: of this image (`Result.recipe_of`), or `None` for an image that no recipe makes.

    Raises:
        FileExistsError: there is a file of that name; it is left as it was.
    """
    content = BytesIO()
    image.save(content, format="PNG", pnginfo=_chunks(recipe) if recipe is not None else None)
    return write_new(Path(path), content.getvalue())


def write_new(path: Path, content: bytes) -> Path:
    """Write a file under a name that is free, so that nobody ever sees half of it.

    Raises:
        FileExistsError: the name is taken, also if it was taken a moment ago.
    """
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
        _claim(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The recipe stored in a PNG file; its pixels are not decoded.

    Raises:
        ReplayError: it is no PNG, has no recipe, or is too large to be one of ours.
    """
    from PIL import Image

    path = Path(path)
    check_png(path)
    try:
        with Image.open(path, formats=["PNG"]) as image:
            # `.text` would decode the whole image; `.info` has what stands before the pixels.
            text = image.info.get(CHUNK)
    except (OSError, ValueError, SyntaxError) as error:
        raise ReplayError(f"{path} is not a readable PNG: {error}") from None
    if text is None:
        raise ReplayError(
            f"{path} holds no recipe: mezzotint did not make it, or a program that drops it saved it again"
        )
    return parse_recipe(text, str(path))


def parse_recipe(text: object, where: str) -> dict[str, Any]:
    """The recipe in the text of a PNG chunk.

    Raises:
        ReplayError: it is not a JSON object.
    """
    try:
        recipe = parse(text) if isinstance(text, str) else None
    except ValueError:
        recipe = None
    if not isinstance(recipe, dict):
        raise ReplayError(f"the recipe in {where} is damaged: it is not a JSON object")
    return recipe


def read_image(path: str | Path) -> Image:
    """The pixels of a PNG file in RGB, after the checks of `check_png`.

    Raises:
        ReplayError: as for `read_recipe`, or the file is damaged.
    """
    from PIL import Image

    path = Path(path)
    check_png(path)
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise ReplayError(f"{path} is not a readable PNG: {error}") from None


def check_png(path: Path) -> None:
    """Walk over the chunks in front of the pixels, without reading them, and refuse what is too large.

    Raises:
        ReplayError: no such file, no PNG, more than `MAX_PIXELS` pixels or `MAX_TEXT` bytes of text.
    """
    try:
        with path.open("rb") as stream:
            _check_chunks(path, stream, path.stat().st_size)
    except FileNotFoundError:
        raise ReplayError(f"there is no file {path}") from None
    except OSError as error:
        raise ReplayError(f"{path} cannot be read: {error.strerror or error}") from None


def a1111_parameters(recipe: Mapping[str, Any]) -> str:
    """The `parameters` text of AUTOMATIC1111's web UI, which most tools read.

    Format: prompt, negative prompt and settings, a line each (modules/infotext_utils.py there).
    """
    index = recipe.get("index", 0)
    row = index // recipe.get("n", 1)
    scheduler, model = recipe["scheduler"], recipe["model"]
    lines = [recipe["prompt"][row]]
    if recipe["negative"][row]:
        lines.append(f"Negative prompt: {recipe['negative'][row]}")
    settings = {
        "Steps": recipe["steps"],
        "Sampler": _sampler(scheduler),
        "Schedule type": (scheduler.get("spacing") or "automatic").capitalize(),
        "CFG scale": f"{recipe['guidance']:g}",
        "Seed": recipe["seed"] + index,
        "Size": "x".join(map(str, recipe["size"])),
        "Model hash": model["fingerprint"][:10],
        "Model": Path(model["name"]).name,
        "Version": f"mezzotint {recipe['mezzotint']}",
    }
    lines.append(", ".join(f"{key}: {_quote(str(value))}" for key, value in settings.items() if value != ""))
    return "\n".join(lines)


def _chunks(recipe: Mapping[str, Any]) -> PngInfo:
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_text(CHUNK, json.dumps(recipe))
    # Like AUTOMATIC1111 itself: tEXt where Latin-1 is enough, else iTXt.
    chunks.add_text("parameters", a1111_parameters(recipe))
    return chunks


def _claim(temporary: Path, path: Path) -> None:
    """Give a finished file its name, unless that exists."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links: take the name first, then put the file in its place.
        path.open("xb").close()
        try:
            temporary.replace(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _check_chunks(path: Path, stream: IO[bytes], size: int) -> None:
    if stream.read(8) != _SIGNATURE:
        raise ReplayError(
            f"{path} is not a PNG file; recipes are stored in the PNG files that mezzotint writes"
        )
    text = 0
    while True:
        header = stream.read(8)
        if len(header) < 8:
            raise ReplayError(f"{path} is cut off: it ends before its pixels")
        length, kind = struct.unpack(">I4s", header)
        if kind == b"IHDR":
            _check_size(path, stream.read(8))
            length -= 8
        elif kind in (b"IDAT", b"IEND"):
            return
        else:
            # Whatever is not pixels counts, as a reader keeps all of it in memory.
            text += length
        if text > MAX_TEXT:
            raise ReplayError(f"{path} has more than {MAX_TEXT // 2**20} MiB of text; it is not opened")
        if stream.tell() + length > size:
            raise ReplayError(f"{path} is cut off: it ends before its pixels")
        stream.seek(length + 4, os.SEEK_CUR)


def _check_size(path: Path, header: bytes) -> None:
    width, height = struct.unpack(">II", header) if len(header) == 8 else (0, 0)
    if not 0 < width * height <= MAX_PIXELS:
        raise ReplayError(
            f"{path} claims {width} x {height} pixels; more than {MAX_PIXELS:,} are not decoded"
        )


def _sampler(scheduler: Mapping[str, Any]) -> str:
    name = scheduler.get("name")
    return _SAMPLERS.get(name, name.rpartition(":")[2]) if name else str(scheduler["class"])


def _quote(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ",:\n") else value
