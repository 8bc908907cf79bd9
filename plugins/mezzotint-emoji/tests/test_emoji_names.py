"""An emoji in a prompt is what its name says; without the extension, a run says that one could be read."""

import mezzotint
import pytest
import torch
from mezzotint_emoji.names import EMOJI, EmojiNames, spell_out


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("🍕", "pizza"),
        ("flat icon of 🍕, light blue background", "flat icon of pizza, light blue background"),
        ("🐶 left of 🐱", "dog face left of cat face"),
        ("🐶🐱", "dog face and cat face"),
        ("🐶 🐱", "dog face and cat face"),
        ("a🐶b", "a dog face b"),
        ("(🍕:1.3)", "(pizza:1.3)"),
        ("👋🏽", "waving hand"),
        ("👩‍🚒", "woman firefighter"),
        ("👩🏿‍🚒", "woman firefighter"),
        ("❤️", "red heart"),
        ("❤", "red heart"),
        ("pizza: 5 of 7, 16:9", "pizza: 5 of 7, 16:9"),
    ],
)
def test_names_stand_for_emoji(text: str, spelled: str) -> None:
    assert spell_out(text) == spelled


def test_every_emoji_that_is_one_by_itself_has_the_mark() -> None:
    """Others, such as ©, are text unless a variation selector follows."""
    from emoji import EMOJI_DATA, STATUS

    assert [
        each
        for each, data in EMOJI_DATA.items()
        if data["status"] == STATUS["fully_qualified"] and "\ufe0f" not in each and not EMOJI.find([each])
    ] == []


def test_no_ordinary_text_has_the_mark() -> None:
    assert not EMOJI.find(["a cat (tabby), 50 % grey; naïve façade, 日本語, “quoted” – ½ × 3 → 5 © ™"])


@pytest.fixture(scope="module")
def pipe() -> mezzotint.Pipeline:
    return mezzotint.load("emoji", dtype="float32")


def test_a_run_draws_what_the_name_says_and_records_the_name(pipe: mezzotint.Pipeline) -> None:
    named = pipe("flat icon of pizza", negative="cat face", steps=2, seed=3)
    spelled = pipe("flat icon of 🍕", negative="🐱", steps=2, seed=3, use=[EmojiNames()])
    assert torch.equal(named.latents, spelled.latents)
    assert spelled.recipe["prompt"] == ["flat icon of pizza"]


def test_a_run_without_it_says_who_reads_emoji(
    pipe: mezzotint.Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    pipe("flat icon of 🍕", steps=1, seed=3)
    assert "'🍕' (an emoji): plain words unless emoji-names (--emoji-names" in caplog.text
