"""Buckets are kohya's."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from mezzotint_training import Buckets, Dataset, Item


def kohya_resolutions(max_reso, min_size=256, max_size=1024, divisible=64):
    """sd-scripts `library/model_util.py::make_bucket_resolutions`, line by line."""
    max_width, max_height = max_reso
    max_area = max_width * max_height
    resos = set()
    width = int(math.sqrt(max_area) // divisible) * divisible
    resos.add((width, width))
    width = min_size
    while width <= max_size:
        height = min(max_size, int((max_area // width) // divisible) * divisible)
        if height >= min_size:
            resos.add((width, height))
            resos.add((height, width))
        width += divisible
    return sorted(resos)


def kohya_bucket(size, resos):
    """`BucketManager.select_bucket` with upscaling."""
    if size in resos:
        return size
    errors = np.array([w / h for w, h in resos]) - size[0] / size[1]
    return resos[np.abs(errors).argmin()]


@pytest.mark.parametrize("resolution", [(512, 512), (768, 768), (1024, 1024), (512, 768)])
def test_the_list_equals_kohyas(resolution):
    assert Buckets(resolution).sizes() == kohya_resolutions(resolution)


def test_the_list_for_512_is_the_published_one():
    assert len(Buckets((512, 512)).sizes()) == 17
    assert (512, 512) in Buckets((512, 512)).sizes()
    assert (256, 1024) in Buckets((512, 512)).sizes()


@pytest.mark.parametrize("resolution", [(512, 512), (1024, 1024)])
def test_pictures_go_where_kohya_puts_them(resolution):
    random = np.random.default_rng(0)
    sizes = [tuple(int(side) for side in random.integers(64, 3000, 2)) for _ in range(300)]
    for size in [*sizes, (512, 512), (640, 384), (1000, 1)]:
        assert Buckets(resolution).place(size).bucket == kohya_bucket(size, kohya_resolutions(resolution))


def test_a_picture_is_resized_to_cover_its_bucket_and_no_more():
    random = np.random.default_rng(1)
    for _ in range(300):
        size = tuple(int(side) for side in random.integers(64, 3000, 2))
        place = Buckets((512, 512)).place(size)
        (width, height), (wide, high) = place.bucket, place.resized
        assert wide >= width
        assert high >= height
        assert wide == width or high == height
        assert abs(wide / high - size[0] / size[1]) / (size[0] / size[1]) < 0.01 + 2 / min(wide, high)


def test_without_upscaling_a_small_picture_keeps_its_pixels():
    place = Buckets((512, 512), no_upscale=True).place((300, 200))
    assert place.resized == (300, 200)
    assert place.bucket == (256, 192)


def test_without_upscaling_a_large_picture_keeps_within_the_area():
    for size in [(3000, 2000), (2000, 2000), (1000, 4000)]:
        width, height = Buckets((512, 512), no_upscale=True).place(size).bucket
        assert width * height <= 512 * 512 * 1.1
        assert width % 64 == height % 64 == 0


def items(*sizes, **changes):
    return [Item(Path(f"{n}.png"), ("a",), size=size, **changes) for n, size in enumerate(sizes)]


def test_no_batch_mixes_sizes_and_every_picture_comes_once_an_epoch():
    sizes = [(512, 512)] * 7 + [(512, 1024)] * 5 + [(1024, 512)] * 3
    dataset = Dataset.placed(items(*sizes), Buckets((512, 512)))
    order = dataset.order(batch_size=4, seed=3)
    for epoch in range(3):
        batches = [order.batch(epoch * order.batches_per_epoch + n) for n in range(order.batches_per_epoch)]
        for batch in batches:
            assert len({dataset.placements[draw.index].bucket for draw in batch}) == 1
        assert sorted(draw.index for batch in batches for draw in batch) == list(range(15))


def test_epochs_differ_and_seeds_repeat():
    dataset = Dataset.placed(items(*[(512, 512)] * 9), Buckets((512, 512)))

    def epoch(seed, number):
        order = dataset.order(batch_size=1, seed=seed)
        return [order.batch(number * 9 + n)[0].index for n in range(9)]

    assert epoch(0, 0) == epoch(0, 0)
    assert epoch(0, 0) != epoch(0, 1)
    assert epoch(0, 0) != epoch(1, 0)


def test_repeats_and_prior_pictures_make_up_an_epoch_as_in_dreambooth():
    subjects = items((512, 512), (512, 512), repeats=3)
    prior = items(*[(512, 512)] * 10, is_prior=True)
    dataset = Dataset.placed([*subjects, *prior], Buckets((512, 512)))
    order = dataset.order(batch_size=1)
    indices = [order.batch(n)[0].index for n in range(order.batches_per_epoch)]
    assert sum(index < 2 for index in indices) == 10
    assert sorted(index for index in indices if index >= 2) == list(range(2, 12))
