"""Interpolation by what a map is."""

import time

import numpy as np
import pytest
from mezzotint_controlnet.resize import resize_map, thin
from PIL import Image
from tiny_networks import noise_picture


def labels(colours, size=(40, 40)):
    """A map of that many colours, each there."""
    count = size[0] * size[1]
    numbers = np.arange(count) % colours
    pixels = np.stack([numbers % 256, numbers // 256, 200 - numbers % 100], axis=-1).astype(np.uint8)
    return Image.fromarray(pixels.reshape(size[1], size[0], 3))


def colours(image):
    return {tuple(colour) for colour in np.asarray(image).reshape(-1, 3).tolist()}


@pytest.mark.parametrize("size", [(24, 24), (64, 64)])
def test_labels_keep_their_colours_and_shades_do_not(size):
    few, many = labels(199), labels(400)
    assert colours(resize_map(few, size, "just")) <= colours(few)
    assert not colours(resize_map(many, size, "just")) <= colours(many)


@pytest.mark.parametrize("mode", ["just", "crop", "fill"])
@pytest.mark.parametrize("size", [(16, 48), (90, 33)])
def test_black_and_white_stays_black_and_white(mode, size):
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[10:30, 12:28] = 255
    resized = resize_map(Image.fromarray(pixels), size, mode)
    assert resized.size == size
    assert colours(resized) == {(0, 0, 0), (255, 255, 255)}


def test_a_line_of_one_pixel_is_one_pixel_wide_after_enlarging():
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[20, 5:35] = 255
    enlarged = np.asarray(resize_map(Image.fromarray(pixels), (120, 120), "just"))[..., 0] > 0
    assert enlarged.sum(axis=0).max() == 1
    assert 80 <= enlarged.sum() <= 95


def test_thinning_leaves_no_block_of_two_by_two_and_no_gap():
    ring = np.zeros((40, 40), np.uint8)
    y, x = np.mgrid[:40, :40]
    ring[abs(np.hypot(y - 20, x - 20) - 12) < 3] = 255
    thinned = thin(ring) > 0
    assert (thinned[1:, 1:] & thinned[:-1, 1:] & thinned[1:, :-1] & thinned[:-1, :-1]).sum() <= 4
    neighbours = sum(np.roll(thinned, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) - 1
    assert neighbours[thinned].min() >= 2
    assert not (thinned & ~(ring > 0)).any()


def test_crop_covers_the_picture_and_fill_pads_with_the_border():
    pixels = np.full((20, 60, 3), 30, np.uint8)
    pixels[:, 20:40] = (200, 50, 60)
    cropped = np.asarray(resize_map(Image.fromarray(pixels), (32, 32), "crop"))
    assert (cropped[:, 4:28] == (200, 50, 60)).all()
    filled = np.asarray(resize_map(Image.fromarray(pixels), (60, 60), "fill"))
    assert (filled[:19] == 30).all()
    assert (filled[41:] == 30).all()
    assert (filled[20:40, 22:38] == (200, 50, 60)).all()


@pytest.mark.parametrize("mode", ["just", "crop", "fill"])
def test_a_map_of_the_right_size_is_not_touched(mode):
    control = noise_picture(1)
    assert resize_map(control, control.size, mode) is control


@pytest.mark.parametrize("mode", ["just", "crop", "fill"])
def test_extreme_shapes_have_the_size_that_was_asked(mode):
    assert resize_map(noise_picture(1, (400, 1)), (24, 24), mode).size == (24, 24)
    assert resize_map(noise_picture(1, (1, 400)), (24, 24), mode).size == (24, 24)


def test_a_large_photo_takes_no_time():
    began = time.process_time()
    resize_map(Image.new("RGB", (3000, 3000), "white"), (64, 64), "just")
    resize_map(noise_picture((2000, 2000)), (64, 64), "just")
    assert time.process_time() - began < 2


def test_thinning_is_that_of_the_paper():
    """Zhang & Suen's conditions as they are written, pixel by pixel."""
    random = np.random.default_rng(0)
    blobs = (random.random((24, 24)) < 0.6).astype(np.uint8)
    ink = np.pad(blobs, 1)
    clockwise = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
    changed = True
    while changed:
        changed = False
        for half in (0, 1):
            gone = []
            for y, x in zip(*np.nonzero(ink), strict=True):
                p = [int(ink[y + dy, x + dx]) for dy, dx in clockwise]
                rises = sum(p[k] == 0 and p[(k + 1) % 8] == 1 for k in range(8))
                n, e, s, w = p[0], p[2], p[4], p[6]
                is_open = (
                    (n * e * s == 0 and e * s * w == 0) if half == 0 else (n * e * w == 0 and n * s * w == 0)
                )
                if 2 <= sum(p) <= 6 and rises == 1 and is_open:
                    gone.append((y, x))
            for place in gone:
                ink[place] = 0
            changed |= bool(gone)
    assert np.array_equal(thin(blobs * 255) > 0, ink[1:-1, 1:-1] > 0)
