import json
from collections import Counter

from mezzotint_emoji import COUPLES
from mezzotint_emoji.recipe.couples import RELATIONS, draw_couples, write_couples
from mezzotint_emoji.recipe.data import Data


def test_the_package_has_prompts_of_every_relation_with_both_boxes_inside_the_picture():
    content = json.loads(COUPLES.read_text())
    assert Counter(couple["relation"] for couple in content["couples"]).keys() == set(RELATIONS)
    for couple in content["couples"]:
        assert all(thing["words"] in couple["prompt"] for thing in couple["things"])
        assert f" {couple['relation']} " in couple["prompt"]
        for thing in couple["things"]:
            left, top, right, bottom = thing["box"]
            assert 0 <= left < right <= 64
            assert 0 <= top < bottom <= 64


def test_couples_are_held_out_and_the_same_each_time(pictures, pixels, tmp_path, monkeypatch):
    held_out = {pictures[0].base, pictures[1].base}
    monkeypatch.setattr("mezzotint_emoji.recipe.couples.couple_is_held_out", lambda a, b: {a, b} == held_out)
    monkeypatch.setattr("mezzotint_emoji.recipe.manifest.split_of", lambda base, style: "train")
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file in files:
        couples, _ = draw_couples(Data(pictures, pixels), 5)
        write_couples(couples, file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert {couple.first.base for couple in couples} | {couple.second.base for couple in couples} == held_out
    assert couples[0].boxes == tuple(placed.box for placed in couples[0].placed)
