"""Captions vary as kohya's do."""

from __future__ import annotations

from collections import Counter

import numpy as np
from mezzotint_training import Captioning
from mezzotint_training.data.captions import possible, tag_frequency, vary


def many(how: Captioning, captions=("a, b, c, d",), count=4000):
    return [vary(captions, how, np.random.default_rng(seed)) for seed in range(count)]


def test_nothing_asked_for_changes_nothing():
    assert set(many(Captioning(), count=20)) == {"a, b, c, d"}


def test_prefix_and_suffix_are_there():
    assert set(many(Captioning(prefix="sks", suffix="photo"), ("cat",), 20)) == {"sks cat photo"}


def test_the_share_of_empty_captions_is_the_dropout():
    share = many(Captioning(dropout=0.25)).count("") / 4000
    assert abs(share - 0.25) < 3 * (0.25 * 0.75 / 4000) ** 0.5


def test_kept_parts_stay_in_front_while_the_others_are_shuffled_evenly():
    drawn = many(Captioning(shuffle=True, keep_tokens=1))
    counts = Counter(drawn)
    assert len(counts) == 6
    assert all(caption.startswith("a, ") for caption in counts)
    assert max(counts.values()) < 1.25 * min(counts.values())


def test_each_loose_part_is_dropped_with_its_chance():
    drawn = many(Captioning(tag_dropout=0.5, keep_tokens=1))
    assert all(caption.startswith("a") for caption in drawn)
    for part in "bcd":
        share = sum(part in caption for caption in drawn) / 4000
        assert abs(share - 0.5) < 0.03


def test_one_option_does_not_change_what_another_draws():
    plain = many(Captioning(shuffle=True), count=200)
    dropping = many(Captioning(shuffle=True, dropout=0.3), count=200)
    assert all(a == b or b == "" for a, b in zip(plain, dropping, strict=True))


def test_one_of_several_captions_is_drawn():
    assert set(many(Captioning(), ("one", "two"), 50)) == {"one", "two"}


def test_possible_captions_are_listed_where_they_are_few():
    assert possible(("a", "b"), Captioning(dropout=0.1, prefix="x")) == ("x a", "x b", "")
    assert possible(("a, b",), Captioning(shuffle=True)) is None


def test_tag_frequency_counts_parts():
    assert tag_frequency(["a, b", "b"], ",") == {"a": 1, "b": 2}
