from collections import Counter

import numpy as np
import pytest
from mezzotint_emoji.recipe.captions import draw_caption, full_caption
from mezzotint_emoji.recipe.manifest import Picture, code_points


def picture(label: str = "ghost", style: str = "3d", tags: tuple[str, ...] = ("face", "fantasy")) -> Picture:
    return Picture(style, "MIT", "1f47b", "1f47b", label, tags, "smileys-emotion", False, "package", "ghost")


@pytest.mark.parametrize(
    ("label", "style", "caption"),
    [
        ("ghost", "3d", "3d render of ghost"),
        ("waving hand: dark skin tone", "flat", "flat icon of waving hand with dark skin tone"),
        ("Tokyo tower", "noto", "cartoon emoji of tokyo tower"),
    ],
)
def test_full_caption_is_style_phrase_and_label(label, style, caption):
    assert full_caption(picture(label, style)) == caption


def test_a_tenth_of_the_captions_is_empty_for_guidance():
    random = np.random.default_rng(0)
    drawn = Counter(draw_caption(picture(), random) for _ in range(4000))
    assert 0.08 < drawn[""] / 4000 < 0.12
    assert all("ghost" in caption for caption in drawn if caption)


def test_captions_are_the_same_for_the_same_seed():
    first, second = (
        [draw_caption(picture(), np.random.default_rng([7, k])) for k in range(50)] for _ in "ab"
    )
    assert first == second


def test_code_points_ignore_joiners_and_variation_selectors():
    assert code_points("1F468-200D-1F33E") == code_points("1f468_1f33e") == "1f468-1f33e"
    assert code_points("2764-FE0F") == "2764"
