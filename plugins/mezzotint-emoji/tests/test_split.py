from collections import Counter

from mezzotint_emoji.recipe.split import couple_is_held_out, split_of


def test_the_split_is_the_published_one():
    assert [split_of(base, "3d") for base in ("1f47b", "1f68c", "1f355")] == ["train", "train", "train"]
    assert Counter(split_of(f"{code:x}", "3d") for code in range(0x1F300, 0x1F700)) == {
        "train": 920,
        "pair": 58,
        "concept": 46,
    }


def test_a_held_out_concept_is_held_out_in_every_style():
    codes = [f"{code:x}" for code in range(0x1F300, 0x1F700)]
    concepts = {
        style: {c for c in codes if split_of(c, style) == "concept"} for style in ("3d", "flat", "noto")
    }
    assert concepts["3d"] == concepts["flat"] == concepts["noto"] != set()


def test_a_held_out_pair_is_trained_in_another_style():
    codes = [f"{code:x}" for code in range(0x1F300, 0x1F700)]
    pairs = [c for c in codes if split_of(c, "3d") == "pair"]
    seen = [c for c in pairs if "train" in {split_of(c, style) for style in ("flat", "noto")}]
    assert pairs
    assert len(seen) >= 0.95 * len(pairs)


def test_a_couple_is_held_out_in_either_order():
    codes = [f"{code:x}" for code in range(0x1F300, 0x1F340)]
    couples = [(a, b) for a in codes for b in codes if a < b]
    held_out = [couple for couple in couples if couple_is_held_out(*couple)]
    assert 0.07 < len(held_out) / len(couples) < 0.13
    assert all(couple_is_held_out(b, a) for a, b in held_out)
