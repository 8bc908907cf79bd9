"""PNG files with their recipe: what is written, what other tools read, and what is refused unopened."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path

import pytest
from mezzotint.errors import ReplayError
from mezzotint.recipes.image_files import a1111_parameters, read_image, read_recipe, save_png
from PIL import Image

RECIPE = {
    "format": 1,
    "mezzotint": "0.1.0",
    "prompt": ["3d render of a ghost", "絵文字"],
    "negative": ["blurry", ""],
    "steps": 20,
    "guidance": 7.0,
    "seed": 5,
    "n": 2,
    "size": [64, 64],
    "index": 0,
    "scheduler": {"name": "dpmpp-2m", "spacing": "karras", "class": "ReplayScheduler", "plugin": None},
    "model": {"name": "emoji", "fingerprint": "0123456789abcdef", "plugin": None},
    "extensions": [],
}


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def header(width: int, height: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)


@pytest.fixture
def picture() -> Image.Image:
    return Image.effect_noise((16, 16), 80).convert("RGB")


def test_an_image_comes_back_with_its_recipe(tmp_path, picture):
    path = save_png(picture, RECIPE, tmp_path / "x.png")
    assert read_recipe(path) == RECIPE
    assert read_image(path).tobytes() == picture.tobytes()


def test_nothing_is_overwritten_and_nothing_is_left_behind(tmp_path, picture):
    path = tmp_path / "x.png"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        save_png(picture, RECIPE, path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]
    assert path.read_text() == "mine"


def test_a_file_system_without_links_is_written_to_all_the_same(tmp_path, picture, monkeypatch):
    def refuse(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    path = save_png(picture, RECIPE, tmp_path / "x.png")
    assert read_recipe(path) == RECIPE
    with pytest.raises(FileExistsError):
        save_png(picture, RECIPE, path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_an_interruption_while_writing_leaves_no_file(tmp_path, picture, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_png(picture, RECIPE, tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_parameters_is_the_text_of_automatic1111():
    assert a1111_parameters(RECIPE) == (
        "3d render of a ghost\n"
        "Negative prompt: blurry\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 5, Size: 64x64, "
        "Model hash: 0123456789, Model: emoji, Version: mezzotint 0.1.0"
    )


def test_parameters_of_a_batch_are_those_of_its_image():
    text = a1111_parameters({**RECIPE, "index": 3})
    assert text.startswith("絵文字\nSteps: 20")
    assert "Seed: 8," in text


def test_an_independent_reader_understands_the_file(tmp_path, picture):
    sd_parsers = pytest.importorskip("sd_parsers")
    path = save_png(picture, RECIPE, tmp_path / "x.png")
    found = sd_parsers.ParserManager().parse(path)
    assert found.generator.value == "AUTOMATIC1111"
    assert found.full_prompt == "3d render of a ghost"
    assert found.full_negative_prompt == "blurry"
    sampler = found.samplers[0]
    assert sampler.name == "DPM++ 2M"
    assert sampler.parameters == {"scheduler": "Karras", "cfg_scale": "7", "seed": "5", "steps": "20"}
    assert (sampler.model.name, sampler.model.hash) == ("emoji", "0123456789")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"GIF89a", "not a PNG"),
        (b"", "not a PNG"),
        (png(header(50_000, 50_000), (b"IDAT", b"")), "50000 x 50000 pixels"),
        (png(header(0, 5), (b"IDAT", b"")), "0 x 5 pixels"),
        (png(header(4, 4), (b"tEXt", b"mezzotint\0" + b"a" * 2**20), (b"IDAT", b"")), "1 MiB of text"),
        (png(header(4, 4), *[(b"tEXt", b"k\0" + b"a" * 2**18)] * 5, (b"IDAT", b"")), "1 MiB of text"),
        (png(header(4, 4)), "cut off"),
        (png(header(4, 4)) + struct.pack(">I4s", 2**19, b"tEXt"), "cut off"),
        (png(header(4, 4)) + struct.pack(">I4s", 2**31, b"tEXt"), "1 MiB of text"),
        (png(header(4, 4), (b"tEXt", b"a\0b"), (b"IDAT", b"")), "no recipe"),
        (png(header(4, 4), (b"tEXt", b"mezzotint\0[1]"), (b"IDAT", b"")), "not a JSON object"),
        (png(header(4, 4), (b"tEXt", b"mezzotint\0" + b"[" * 90_000), (b"IDAT", b"")), "not a JSON object"),
    ],
)
def test_what_is_no_image_of_ours_is_refused(tmp_path, content, words, monkeypatch):
    path = tmp_path / "x.png"
    path.write_bytes(content)

    def decoded(*_):
        raise AssertionError("the pixels were decoded")

    monkeypatch.setattr(Image.Image, "load", decoded)
    with pytest.raises(ReplayError, match=".*") as caught:
        read_recipe(path)
    assert words in str(caught.value)


def test_compressed_text_is_not_blown_up(tmp_path):
    bomb = zlib.compress(b"a" * 2**26)
    path = tmp_path / "x.png"
    path.write_bytes(png(header(4, 4), (b"zTXt", b"mezzotint\0\0" + bomb), (b"IDAT", b"")))
    with pytest.raises(ReplayError, match="too large"):
        read_recipe(path)


def test_a_file_that_there_is_not_is_said(tmp_path):
    with pytest.raises(ReplayError, match="no file"):
        read_recipe(tmp_path / "x.png")
    with pytest.raises(ReplayError, match="cannot be read"):
        read_recipe(tmp_path)


def test_the_recipe_chunk_is_plain_json(tmp_path, picture):
    path = save_png(picture, RECIPE, tmp_path / "x.png")
    assert json.loads(Image.open(path).text["mezzotint"]) == RECIPE
    assert Path(path).stat().st_mode & 0o044, "readable like any new file"
