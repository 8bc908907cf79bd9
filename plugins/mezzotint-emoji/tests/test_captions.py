import re

import numpy as np
import pytest
from mezzotint_emoji.recipe.captions import CaptionWriter, full_caption, synonyms, with_article
from mezzotint_emoji.recipe.manifest import code_points
from mezzotint_emoji.recipe.split import synonym_is_held_out


@pytest.mark.parametrize(
    ("label", "style", "caption"),
    [
        ("ghost", "3d", "3d render of ghost"),
        ("waving hand: dark skin tone", "flat", "flat icon of waving hand with dark skin tone"),
        ("Tokyo tower", "noto", "cartoon emoji of tokyo tower"),
    ],
)
def test_full_caption_is_style_phrase_and_label(label, style, caption, picture):
    assert full_caption(picture(label, style)) == caption


@pytest.mark.parametrize(
    ("noun", "named"),
    [
        ("owl", "an owl"),
        ("cat", "a cat"),
        ("unicorn", "a unicorn"),
        ("grapes", "grapes"),
        ("octopus", "an octopus"),
        ("hourglass done", "an hourglass done"),
    ],
)
def test_articles(noun, named):
    assert with_article(noun) == named


def test_a_synonym_belongs_to_few_concepts_and_is_no_label(picture):
    many = [picture(f"animal {k}", tags=("animal",)) for k in range(3)]
    apple, cat = picture("red apple", tags=("red", "fruit")), picture("cat", tags=("fruit", "kitten"))
    kitten = picture("kitten", tags=())
    names = synonyms([*many, apple, cat, kitten])
    assert names[apple.base] == ("apple", "fruit")
    assert names[cat.base] == ("fruit",)
    assert names[many[0].base] == ("0",)


def test_held_out_synonyms_are_in_no_caption(picture):
    held_out = next(word for k in range(100) if synonym_is_held_out(word := f"word{k}"))
    ghost = picture("ghost", tags=(held_out,))
    writer, random = CaptionWriter([ghost]), np.random.default_rng(0)
    captions = [writer.one(ghost, random) for _ in range(500)]
    assert all("ghost" in caption and held_out not in caption for caption in captions)


def test_captions_are_the_same_for_the_same_seed(picture):
    writer = CaptionWriter([picture()])
    first, second = ([writer.one(picture(), np.random.default_rng([7, k])) for k in range(50)] for _ in "ab")
    assert first == second


def test_code_points_ignore_joiners_and_variation_selectors():
    assert code_points("1F468-200D-1F33E") == code_points("1f468_1f33e") == "1f468-1f33e"
    assert code_points("2764-FE0F") == "2764"


def test_names_and_tags_are_all_that_captions_say(pictures):
    writer = CaptionWriter(pictures)
    said = set(re.findall(r"\w+|[^\w\s]", " ".join([*writer.names(), *writer.tags()]).lower()))
    random = np.random.default_rng(0)
    for picture in pictures:
        for _ in range(40):
            captions = (
                writer.one(picture, random, "small", "light blue"),
                writer.two(picture, "left of", pictures[0], random),
            )
            assert set(re.findall(r"\w+|[^\w\s]", " ".join(captions).lower())) <= said
