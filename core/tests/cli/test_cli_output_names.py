"""Names of files, and that none is ever overwritten."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mezzotint.cli.output_names import MAX_SLUG, OutputNames, save_under_free_name, slug
from PIL import Image


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3D render of a Ghost!", "3d-render-of-a-ghost"),
        ("../../etc/passwd", "etc-passwd"),
        ("ein schöner Käse", "ein-schöner-käse"),
        ("絵文字", "絵文字"),
        ("", "image"),
        ("…", "image"),
        ("snake_case\nand lines", "snake-case-and-lines"),
        ("x" * 200, "x" * MAX_SLUG),
        (f"{'long ' * 40}", "-".join(["long"] * 9)),
    ],
)
def test_slug(text, expected):
    assert slug(text) == expected


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (None, "a-ghost-7.png"),
        ("out/", "out/a-ghost-7.png"),
        ("out", "out/a-ghost-7.png"),
        ("out/x.png", "out/x.png"),
        ("out/X.PNG", "out/X.PNG"),
        ("{seed:04d}", "0007.png"),
        ("{model}/{number}-{prompt}.png", "tiny/2-a-ghost.png"),
    ],
)
def test_output_says_where(output, expected):
    names = OutputNames.parse(output)
    assert names.path(prompt="a ghost", seed=7, number=2, model="models/tiny") == Path(expected)


def test_writers_of_one_name_at_the_same_time_each_get_a_file():
    images = [Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in range(16)]
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda image: save_under_free_name(image, None, Path("x.png")), images))
    assert sorted(path.name for path in Path().iterdir()) == sorted({path.name for path in paths})
    for image, path in zip(images, paths, strict=True):
        assert Image.open(path).tobytes() == image.tobytes()


def test_a_link_that_leads_nowhere_is_not_written_through(tmp_path):
    (tmp_path / "x.png").symlink_to(tmp_path / "elsewhere.png")
    path = save_under_free_name(Image.new("RGB", (4, 4)), None, tmp_path / "x.png")
    assert path.name == "x-2.png"
    assert not (tmp_path / "elsewhere.png").exists()
