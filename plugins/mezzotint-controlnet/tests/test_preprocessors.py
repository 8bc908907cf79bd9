"""Preprocessors against plain formulas, in a run and on the command line."""

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from mezzotint import PreprocessorSpec, hookimpl
from mezzotint.errors import HookReturnError
from mezzotint.testing import tiny_pipeline
from mezzotint_controlnet import PREPROCESSORS, ControlNet
from mezzotint_controlnet.preprocess import parse_preprocessor
from mezzotint_controlnet.preprocess_command import command
from mezzotint_controlnet.preprocessors import blur, canny, invert, none, scribble, shuffle, tile
from PIL import Image, ImageDraw
from tiny_networks import noise_picture


@pytest.fixture
def drawing():
    image = Image.new("RGB", (64, 48), "white")
    ImageDraw.Draw(image).ellipse((12, 8, 50, 40), fill=(200, 40, 40), outline="black", width=2)
    return image


def test_canny_is_opencvs(drawing):
    assert (
        np.asarray(canny(drawing, low=50, high=120))[..., 1] == cv2.Canny(np.asarray(drawing), 50, 120)
    ).all()
    assert np.asarray(canny(drawing)).any()


def test_invert_twice_is_nothing(drawing):
    assert invert(invert(drawing)).tobytes() == drawing.tobytes()
    assert (np.asarray(invert(drawing)) == 255 - np.asarray(drawing)).all()


def test_none_is_the_very_picture(drawing):
    assert none(drawing) is drawing


def test_blur_is_a_gaussian_of_that_deviation():
    point = np.zeros((65, 65, 3), np.uint8)
    point[32, 32] = 255
    spread = np.asarray(blur(Image.fromarray(255 * (point > 0).astype(np.uint8)), sigma=2))[..., 0]
    assert abs(int(spread[32, 32]) - 255 / (2 * np.pi * 4)) <= 1


def test_tile_averages_blocks(drawing):
    coarse = np.asarray(tile(drawing, down=4))
    assert coarse.shape == (48, 64, 3)
    blocks = np.asarray(drawing, float).reshape(12, 4, 16, 4, 3).mean(axis=(1, 3))
    assert abs(coarse[2::4, 2::4].astype(float) - blocks).mean() < 6
    assert tile(drawing, down=1).tobytes() == drawing.tobytes()


def test_scribble_is_the_difference_of_two_gaussians(drawing):
    pixels = np.asarray(drawing).astype(np.float32)
    difference = cv2.GaussianBlur(pixels, (0, 0), 5) - cv2.GaussianBlur(pixels, (0, 0), 0.5)
    strokes = np.asarray(scribble(drawing))[..., 0] > 0
    darker = np.min(difference, axis=2)
    assert strokes.any()
    assert (strokes == (2 * np.ceil(darker) > 32)).mean() > 0.99


def test_shuffle_keeps_colours_and_depends_on_its_seed_alone():
    picture = noise_picture(1, (64, 64))
    once, again, other = shuffle(picture), shuffle(picture), shuffle(picture, seed=1)
    assert once.tobytes() == again.tobytes() != other.tobytes()
    plain = Image.new("RGB", (64, 64), (10, 200, 30))
    assert shuffle(plain).tobytes() == plain.tobytes()


@pytest.mark.parametrize("spec", PREPROCESSORS, ids=lambda spec: spec.name)
def test_every_preprocessor_keeps_the_size_and_the_picture(spec, drawing):
    before = drawing.tobytes()
    made = spec.function(drawing)
    assert made.size == drawing.size
    assert made.mode == "RGB"
    assert drawing.tobytes() == before
    assert spec.description
    assert spec.function(Image.new("RGB", (1, 1))).size == (1, 1)


def test_a_call_is_parsed():
    assert parse_preprocessor("canny") == ("canny", {})
    assert parse_preprocessor(" canny ( low=50, high = 120 ) ") == ("canny", {"low": 50, "high": 120})
    assert parse_preprocessor("find-edges(kind='x,y', on=True)") == (
        "find-edges",
        {"kind": "x,y", "on": True},
    )


def test_the_map_is_shown_beside_the_result(pipe, edges, drawing):
    result = pipe("a cat", steps=1, seed=1, use=[ControlNet(edges, drawing, preprocess="canny(low=50)")])
    (shown,) = result.outputs["controlnet"]["maps"]
    assert shown.size == (32, 32)
    assert {0, 255} == set(np.unique(np.asarray(shown)))


class Plugin:
    """A third party's preprocessors."""

    @hookimpl
    def preprocessors(self):
        return [
            PreprocessorSpec("red", lambda image, *, much=255: Image.new("RGB", image.size, (much, 0, 0))),
            PreprocessorSpec("smaller", lambda image: image.resize((3, 3))),
        ]


@pytest.fixture
def extended(tiny_folder):
    import mezzotint_controlnet

    return tiny_pipeline(tiny_folder, plugins=[mezzotint_controlnet, Plugin()])


def test_a_third_party_adds_more(extended, edges, picture):
    result = extended("a cat", steps=1, use=[ControlNet(edges, picture, preprocess="red(much=9)")])
    assert result.outputs["controlnet"]["maps"][0].getpixel((0, 0)) == (9, 0, 0)


def test_a_preprocessor_that_changes_the_size_is_refused_by_name(extended, edges, picture):
    with pytest.raises(HookReturnError, match="preprocessor smaller, .* returned \\(3, 3\\)"):
        extended("a cat", steps=1, use=[ControlNet(edges, picture, preprocess="smaller")])


@pytest.fixture
def mezzotint(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(command, arguments, catch_exceptions=True)


def test_the_command_writes_the_map(mezzotint, drawing, tmp_path):
    drawing.save("drawing.png")
    result = mezzotint("canny", "drawing.png", "--low", "50")
    assert result.output.strip() == "drawing-canny.png"
    made = Image.open(tmp_path / "drawing-canny.png")
    assert made.tobytes() == canny(drawing, low=50).tobytes()


def test_the_command_overwrites_nothing(mezzotint, drawing):
    drawing.save("drawing.png")
    drawing.save("drawing-invert.png")
    result = mezzotint("invert", "drawing.png")
    assert "drawing-invert.png exists" in str(result.exception)


def test_the_command_shows_picture_and_map_on_a_sheet(mezzotint, drawing, tmp_path):
    drawing.save("drawing.png")
    mezzotint("blur", "drawing.png", "-o", "sheet.png", "--sheet")
    assert Image.open(tmp_path / "sheet.png").size == (2 * 64 + 4, 48)


def test_a_sheet_has_a_name_of_its_own(mezzotint, drawing):
    drawing.save("drawing.png")
    assert mezzotint("blur", "drawing.png").output.strip() == "drawing-blur.png"
    assert mezzotint("blur", "drawing.png", "--sheet").output.strip() == "drawing-blur-sheet.png"


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("nowhere/map.png", "folder nowhere does not exist; make it first"),
        ("map.xyz", "map.xyz names no kind of picture; end it in .png"),
        ("map", "map names no kind of picture; end it in .png"),
    ],
)
def test_where_nothing_can_be_written_is_said(mezzotint, drawing, output, sentence):
    drawing.save("drawing.png")
    assert sentence in str(mezzotint("blur", "drawing.png", "-o", output).exception)


THIRD_PARTY = """
from mezzotint import PreprocessorSpec, hookimpl
from PIL import Image


def box(image, *, corners=(1, 2), level=None):
    assert (corners, level) in [((1, 2), None), ((3, 4), 5)], (corners, level)
    return image


@hookimpl
def preprocessors():
    return [PreprocessorSpec("box", box, "A box.")]
"""


def test_options_of_any_type_are_read_as_in_python(mezzotint, drawing, tmp_path):
    drawing.save("drawing.png")
    (tmp_path / "third_party.py").write_text(THIRD_PARTY)
    given = "--plugin", "third_party.py", "box", "drawing.png"
    assert mezzotint(*given).output.strip() == "drawing-box.png"
    result = mezzotint(*given, "--corners", "(3, 4)", "--level", "5", "-o", "other.png")
    assert result.output.strip() == "other.png"


def test_help_says_what_each_option_is(mezzotint):
    assert "gradients below" in mezzotint("canny", "--help").output
    assert "no preprocessor named 'cany'; did you mean canny?" in str(mezzotint("cany", "x.png").exception)


def test_the_command_makes_the_map_that_a_run_of_a_size_sees(mezzotint, drawing, tmp_path):
    drawing.save("drawing.png")
    mezzotint("canny", "drawing.png", "--size", "24x16", "-o", "map.png")
    assert Image.open(tmp_path / "map.png").size == (24, 16)
    assert "give width and height" in str(mezzotint("canny", "drawing.png", "--size", "24").exception)
