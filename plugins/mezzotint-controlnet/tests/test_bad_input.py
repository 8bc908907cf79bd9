"""Every bad picture or option is one sentence before step 0."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from mezzotint.errors import RequestError
from mezzotint.testing import fingerprint
from mezzotint_controlnet import ControlNet, ControlNetUnion, T2IAdapter
from PIL import Image
from tiny_networks import noise_picture


@pytest.fixture
def refused(pipe, edges):
    """The sentence of a run with a picture, which ends before the first step and leaves nothing."""

    def run(picture, **options):
        before, seen = fingerprint(pipe), []
        with pytest.raises(RequestError) as caught:
            pipe("a cat", steps=2, use=[ControlNet(edges, picture, **options)], on_step=seen.append)
        assert not seen
        assert fingerprint(pipe) == before
        return str(caught.value)

    return run


def huge_png(path, side):
    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    return path


def test_a_picture_of_50000_pixels_a_side_is_not_decoded(refused, tmp_path):
    sentence = refused(huge_png(tmp_path / "huge.png", 50_000))
    assert "huge.png has 2,500,000,000 pixels; at most 134,217,728 are opened" in sentence


def test_a_picture_just_too_large_is_said_with_its_size(refused, tmp_path):
    assert "large.png, 12000x12000, has 144,000,000 pixels" in refused(
        huge_png(tmp_path / "large.png", 12_000)
    )


def test_an_animation_is_refused(refused, tmp_path):
    frames = [noise_picture(k) for k in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert "is animated (3 frames); give one still picture" in refused(tmp_path / "moving.gif")


def test_a_broken_picture_is_refused(refused, tmp_path):
    noise_picture().save(tmp_path / "whole.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "whole.png").read_bytes()[:900])
    assert "broken.png is broken" in refused(tmp_path / "broken.png")
    (tmp_path / "text.png").write_text("no picture")
    assert "text.png is not a picture that Pillow knows" in refused(tmp_path / "text.png")


def test_a_missing_picture_and_a_folder_are_told_apart(refused, tmp_path):
    assert "nowhere.png is missing" in refused(tmp_path / "nowhere.png")
    assert "is a folder" in refused(tmp_path)


def test_a_mask_is_checked_as_the_picture_is(refused, tmp_path, picture):
    assert "controlnet: mask" in refused(picture, mask=tmp_path / "nowhere.png")


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (np.zeros((8, 8, 2), np.uint8), "shape (8, 8, 2)"),
        (np.zeros((3, 8, 8), np.uint8), "shape (3, 8, 8)"),
        (np.full((8, 8, 3), 2.5), "from 2.5 to 2.5; expected uint8, uint16, bool, or floats"),
        (np.zeros((0, 8, 3), np.uint8), "shape (0, 8, 3)"),
    ],
)
def test_an_array_of_another_kind_is_said_with_its_shape(array, part, refused):
    assert part in refused(array)


def test_the_number_of_pictures_must_fit(pipe, edges):
    pictures = [noise_picture(k) for k in range(3)]
    with pytest.raises(RequestError, match="3 pictures for a run of 2 images; give 1 or 2"):
        pipe("a cat", n=2, steps=1, use=[ControlNet(edges, pictures)])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"start": 0.8, "end": 0.2}, "start must not be after end, got 0.8 and 0.2"),
        ({"scale": float("nan")}, "option 'scale'"),
        ({"end": 1.5}, "less than or equal to 1"),
        ({"mode": "strong"}, "option 'mode'"),
        ({"preprocess": "canny(50)"}, "is not of the form canny or canny(low=50, high=120)"),
        ({"mask": ["a.png", "b.png"]}, "option 'mask': give one picture, not 2"),
        ({"image": 3}, "give a file, a PIL image or an array of pixels, not int"),
        ({"image": torch.zeros(3, 8, 8)}, "not Tensor"),
    ],
)
def test_options_are_checked_as_they_are_written(options, sentence, edges, picture):
    with pytest.raises(RequestError) as caught:
        ControlNet(**{"model": edges, "image": picture, **options})
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ("edges.png", "give a picture for each kind of control"),
        ({"telepathy": "a.png"}, "no kind of control 'telepathy'"),
        ({"canny": "a.png", "lineart": "b.png"}, "two of canny, lineart are one kind"),
    ],
)
def test_union_needs_a_picture_for_each_kind(image, sentence, edges):
    with pytest.raises(RequestError) as caught:
        ControlNetUnion(edges, image)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"preprocess": "cany"}, "no preprocessor named 'cany'; did you mean canny?"),
        ({"preprocess": "canny(lo=3)"}, "preprocessor canny has no option 'lo'; did you mean low?"),
        ({"preprocess": "canny(low='x')"}, "option 'low' takes int, got 'x'"),
        ({"preprocess": "canny(low=300)"}, "low must lie between 0 and high"),
    ],
)
def test_preprocessors_are_checked_before_step_0(options, sentence, pipe, edges, picture):
    from mezzotint.errors import MezzotintError

    seen = []
    with pytest.raises(MezzotintError) as caught:
        pipe("a cat", steps=1, use=[ControlNet(edges, picture, **options)], on_step=seen.append)
    assert sentence in str(caught.value)
    assert not seen


def test_a_picture_in_memory_that_cannot_be_read_is_said(refused, picture, tmp_path):
    whole = tmp_path / "whole.png"
    picture.save(whole)
    (tmp_path / "half.png").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert "controlnet: image is broken or its file is closed" in refused(Image.open(tmp_path / "half.png"))
    with Image.open(whole) as closed:
        pass
    assert "controlnet: image is broken or its file is closed" in refused(closed)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_depth_map_with_holes_is_refused(refused, value):
    depth = Image.fromarray(np.full((32, 32), value, np.float32))
    assert "controlnet: image has pixels that are not finite numbers" in refused(depth)


@pytest.mark.parametrize("kind", [ControlNet, T2IAdapter])
@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_layer_weights_are_finite(kind, picture, weight):
    with pytest.raises(RequestError, match="finite number"):
        kind("edges", picture, layer_weights=[weight] * 5)


def test_an_empty_list_is_no_picture():
    with pytest.raises(RequestError, match="give at least one picture"):
        ControlNet("edges", [])


def test_union_takes_its_pictures_as_text_from_the_command_line():
    union = ControlNetUnion("union", "{'canny': 'edges.png', 'depth': 'depth.png'}")
    assert union.image == {"canny": Path("edges.png"), "depth": Path("depth.png")}
    with pytest.raises(RequestError, match="give a picture for each kind of control"):
        ControlNetUnion("union", "edges.png")


@pytest.mark.parametrize(
    "text", ["none(low=1)", "canny(low=1, low=2)", "shuffle(seed=-1)", "shuffle(scale=0)"]
)
def test_options_of_preprocessors_are_checked(pipe, edges, picture, text):
    with pytest.raises(RequestError, match=text.partition("(")[0]):
        pipe("a cat", steps=1, use=[ControlNet(edges, picture, preprocess=text)])
