"""Whatever a person hands over as a picture is one upright RGB picture, or one sentence."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from mezzotint import Extension
from mezzotint.errors import RequestError
from mezzotint.pictures import (
    OptionalPicture,
    OptionalPictures,
    Picture,
    PictureForEach,
    Pictures,
    open_picture,
)
from PIL import Image


class Shows(Extension, name="shows"):
    one: Picture = Path("a.png")
    maybe: OptionalPicture = None
    each: PictureForEach = Path("a.png")
    several: Pictures = (Path("a.png"),)
    maybe_several: OptionalPictures = None


def noise(seed: int = 0, size: tuple[int, int] = (32, 24)) -> Image.Image:
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def huge_png(path: Path, side: int) -> Path:
    """A PNG that says how large it is, and holds nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    return path


def grey_of(value: object) -> int:
    red, green, blue = open_picture(value).getpixel((0, 0))
    assert red == green == blue
    return red


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "LA", "La", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "I", "F"]
)
def test_every_mode_becomes_rgb(mode):
    picture = Image.new("RGB", (3, 5), (255, 255, 255))
    if mode in ("La", "RGBa"):
        picture = picture.convert("LA" if mode == "La" else "RGBA")
    opened = open_picture(picture.convert(mode))
    assert (opened.mode, opened.size, opened.getpixel((0, 0))) == ("RGB", (3, 5), (255, 255, 255))


@pytest.mark.parametrize(
    ("pixels", "grey"),
    [
        (np.full((4, 4), 102 * 257, np.uint16), 102),
        (np.full((4, 4), 200, np.uint16), 1),
        (np.full((4, 4), 102 * 257, np.int32), 102),
        (np.full((4, 4), 102, np.int32), 102),
        (np.full((4, 4), 0.4, np.float32), 102),
        (np.full((4, 4), 102, np.float32), 102),
        (np.full((4, 4), 102 * 257, np.float32), 102),
    ],
    ids=["16 bits", "dark, 16 bits", "integers to 65535", "integers to 255", "0 to 1", "to 255", "to 65535"],
)
def test_greys_keep_their_range(pixels, grey, tmp_path):
    picture = Image.fromarray(pixels)
    assert grey_of(picture) == grey
    picture.save(tmp_path / "a.tif")
    assert grey_of(tmp_path / "a.tif") == grey


@pytest.mark.parametrize(
    ("array", "grey"),
    [
        (np.full((4, 4, 3), 102, np.uint8), 102),
        (np.full((4, 4), 0.4), 102),
        (np.full((4, 4, 1), 102 * 257, np.uint16), 102),
        (np.ones((4, 4), bool), 255),
    ],
)
def test_arrays_are_pictures(array, grey):
    assert grey_of(array) == grey


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.zeros((8, 8, 2), np.uint8), "image is an array of shape (8, 8, 2); expected (height, width) or"),
        (
            np.full((8, 8, 3), 2.5),
            "an array of float64 from 2.5 to 2.5; expected uint8, uint16, bool, or floats",
        ),
        (np.zeros((0, 8, 3), np.uint8), "shape (0, 8, 3)"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000)), "has 400,000,000 pixels; at most 134,217,728"),
        (Image.fromarray(np.full((4, 4), np.nan, np.float32)), "has pixels that are not finite numbers"),
        (Image.fromarray(np.full((4, 4), -1, np.float32)), "has grey values from -1 to -1; expected floats"),
        (Image.fromarray(np.full((4, 4), 70_000, np.int32)), "has grey values from 70000 to 70000"),
        (Image.new("RGB", (0, 4)), "image is empty: 0x4 pixels"),
    ],
)
def test_what_is_no_picture_is_one_sentence(value, sentence):
    with pytest.raises(RequestError, match=re.escape(sentence)):
        open_picture(value)


def test_transparent_parts_show_the_background_whatever_colour_they_hide(tmp_path):
    layers = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert open_picture(layers).getpixel((0, 0)) == (255, 255, 255)
    assert open_picture(layers, background="black").getpixel((0, 0)) == (0, 0, 0)
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 51))
    assert grey_of(half) == 204
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([255, 0, 0])
    palette.save(tmp_path / "a.png", transparency=0)
    assert grey_of(tmp_path / "a.png") == 255


def test_a_photo_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(1, (20, 10)).save(tmp_path / "turned.jpg", exif=exif)
    assert open_picture(tmp_path / "turned.jpg").size == (10, 20)
    with Image.open(tmp_path / "turned.jpg") as picture:
        assert open_picture(picture).size == (10, 20)


def test_the_first_frame_of_a_phone_photo_is_the_picture(tmp_path):
    noise(0).save(tmp_path / "photo.mpo", save_all=True, append_images=[noise(1)])
    photo = (tmp_path / "photo.mpo").rename(tmp_path / "photo.jpg")
    noise(0).save(tmp_path / "alone.jpg")
    assert open_picture(photo).tobytes() == open_picture(tmp_path / "alone.jpg").tobytes()


def test_a_picture_of_50000_pixels_a_side_is_not_decoded(tmp_path):
    with pytest.raises(
        RequestError, match=r"huge.png has 2,500,000,000 pixels; at most 134,217,728 are opened"
    ):
        open_picture(huge_png(tmp_path / "huge.png", 50_000))
    with pytest.raises(RequestError, match="large.png, 12000x12000, has 144,000,000 pixels"):
        open_picture(huge_png(tmp_path / "large.png", 12_000))


def test_a_photo_of_108_megapixels_is_not_too_large(tmp_path):
    with pytest.raises(
        RequestError, match="photo.png is broken"
    ):  # It holds nothing; its size was no reason.
        open_picture(huge_png(tmp_path / "photo.png", 10_400))


@pytest.mark.parametrize(
    ("suffix", "sentence"),
    [("gif", "is animated (3 frames)"), ("png", "is animated (3 frames)"), ("tif", "has 3 pages")],
)
def test_several_pictures_in_one_file_are_refused(suffix, sentence, tmp_path):
    path = tmp_path / f"several.{suffix}"
    noise(0).save(path, save_all=True, append_images=[noise(1), noise(2)])
    with pytest.raises(RequestError, match=re.escape(f"{sentence}; give one still picture")):
        open_picture(path)
    with Image.open(path) as picture, pytest.raises(RequestError, match=re.escape(sentence)):
        open_picture(picture)


def test_a_broken_file_and_one_of_another_kind_are_named(tmp_path):
    noise(0).save(tmp_path / "whole.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "whole.png").read_bytes()[:900])
    (tmp_path / "text.png").write_text("no picture")
    for name, fault in [
        ("broken.png", "is broken"),
        ("text.png", "is not a picture that Pillow knows"),
        ("none.png", "is missing; give a picture file"),
        (".", "is a folder; give a picture file"),
    ]:
        with pytest.raises(RequestError, match=f"the mask .*{fault}"):
            open_picture(tmp_path / name, "the mask")


def test_a_picture_in_memory_whose_file_is_gone_is_said(tmp_path):
    noise(0).save(tmp_path / "whole.png")
    with Image.open(tmp_path / "whole.png") as closed:
        pass
    with pytest.raises(RequestError, match="image is broken or its file is closed"):
        open_picture(closed)


def test_options_take_files_pictures_and_arrays():
    picture, array = noise(0), np.zeros((4, 4))
    shows = Shows(one=picture, maybe=array, each=["a.png", picture], several="a.png", maybe_several=["b.png"])
    assert shows.one is picture
    assert shows.maybe is array
    assert shows.each == [Path("a.png"), picture]
    assert (shows.several, shows.maybe_several) == ((Path("a.png"),), (Path("b.png"),))
    assert Shows().maybe is None


@pytest.mark.parametrize("option", ["one", "maybe", "each", "several", "maybe_several"])
@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (3, "give a file, a PIL image or an array of pixels, not int"),
        (
            {"in memory": "PIL.PngImagePlugin.PngImageFile"},
            "the picture was handed over in memory, so the recipe",
        ),
    ],
)
def test_an_option_that_is_no_picture_is_one_sentence(option, value, sentence):
    with pytest.raises(RequestError, match=re.escape(f"shows: option '{option}': {sentence}")):
        Shows(**{option: value})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"one": ["a.png", "b.png"]}, "option 'one': give one picture, not 2"),
        ({"each": []}, "option 'each': give at least one picture, not an empty list"),
        ({"several": []}, "option 'several': give at least one picture, not an empty list"),
    ],
)
def test_how_many_pictures_an_option_takes_is_said(options, sentence):
    with pytest.raises(RequestError, match=re.escape(sentence)):
        Shows(**options)
