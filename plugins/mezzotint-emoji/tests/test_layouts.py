from collections import Counter

import numpy as np
import pytest
from mezzotint_emoji.recipe.layouts import RELATIONS, SIZES, Composer, Example
from mezzotint_emoji.recipe.scenes import BACKGROUNDS, draw_scene, extent
from mezzotint_emoji.recipe.split import couple_is_held_out


@pytest.fixture(scope="module")
def composer(pictures, pixels) -> Composer:
    return Composer(pictures, pixels)


def examples(composer: Composer, count: int) -> list[Example]:
    return [composer.draw(k % 6, np.random.default_rng([3, k])) for k in range(count)]


def test_examples_are_the_same_for_the_same_seed(composer):
    assert examples(composer, 40) == examples(composer, 40)


def test_a_tenth_of_the_captions_is_empty_and_a_fifth_of_the_pictures_has_two_things(composer):
    drawn = examples(composer, 3000)
    assert 0.08 < Counter(example.caption for example in drawn)[""] / 3000 < 0.12
    two = sum(len(example.scene.objects) == 2 for example in drawn) / 3000
    assert 0.16 < two < 0.24


def test_captions_name_background_size_and_relation(composer):
    for example in examples(composer, 600):
        if not example.caption:
            continue
        named = [color for color in BACKGROUNDS if example.caption.endswith(f", {color} background")]
        assert example.scene.background == BACKGROUNDS[named[0] if named else "white"]
        assert not example.relation or f" {example.relation} " in example.caption
        if len(example.scene.objects) == 1:
            placed = example.scene.objects[0]
            box = composer.extents[placed.index]
            scale = (placed.box[2] - placed.box[0]) / (box[2] - box[0])
            size = next((size for size in ("small", "large") if f"{size} " in example.caption), "")
            assert SIZES[size][0] - 0.05 < scale < SIZES[size][1] + 0.05


@pytest.mark.parametrize("relation", RELATIONS)
def test_objects_are_where_the_relation_says(composer, relation):
    for seed in range(20):
        scene = composer.arrange(1, relation, 4, np.random.default_rng(seed))
        first, second = sorted(scene.objects, key=lambda placed: placed.index)
        x = [(placed.box[0] + placed.box[2]) / 2 for placed in (first, second)]
        y = [(placed.box[1] + placed.box[3]) / 2 for placed in (first, second)]
        match relation:
            case "left of":
                assert first.box[2] <= second.box[0] + 4
            case "right of":
                assert second.box[2] <= first.box[0] + 4
            case "above":
                assert first.box[3] <= second.box[1] + 4
            case "below":
                assert second.box[3] <= first.box[1] + 4
            case "on":
                assert y[0] < y[1]
                assert abs(x[0] - x[1]) < 10
                assert scene.objects[-1] is first
                assert second.box[1] < first.box[3] < second.box[3]
            case "in front of":
                assert scene.objects[-1] is first
            case "behind":
                assert scene.objects[-1] is second
            case _:
                assert abs(x[0] - x[1]) > 25


def test_masks_are_what_is_visible_of_each_object(composer, pixels):
    scene = composer.arrange(1, "on", 4, np.random.default_rng(0))
    drawn = draw_scene(scene, pixels)
    for placed, mask in zip(scene.objects, drawn.masks, strict=True):
        left, top, right, bottom = placed.box
        assert mask[top:bottom, left:right].sum() == mask.sum() > 0
    assert np.minimum(*drawn.masks).max() == 0
    assert extent(np.dstack([drawn.pixels, drawn.masks[1]])) == scene.objects[1].box


def test_a_drawing_as_it_is_stays_as_it_is(composer, pixels):
    example = composer.plain(2, np.random.default_rng(0))
    drawn = composer.pixels_of(example)
    alpha = pixels[2, ..., 3:] == 255
    assert np.array_equal(drawn, np.where(alpha, pixels[2, ..., :3], 255))


def test_sides_in_a_name_forbid_mirroring(composer):
    random = np.random.default_rng(0)
    assert not any(composer.may_mirror(3, random) for _ in range(50))
    assert any(composer.may_mirror(0, random) for _ in range(50))


def test_held_out_couples_are_never_composed(composer, pictures, monkeypatch):
    monkeypatch.setattr(
        "mezzotint_emoji.recipe.layouts.couple_is_held_out",
        lambda a, b: {a, b} == {pictures[0].base, pictures[1].base},
    )
    random = np.random.default_rng(0)
    assert {composer.partner(0, random) for _ in range(200)} == {2, 3, 4, 5}
    assert couple_is_held_out("a", "b") == couple_is_held_out("b", "a")
