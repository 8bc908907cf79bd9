"""Words and their tokens, with a tokenizer that joins letters as CLIP does."""

from __future__ import annotations

import pytest
from mezzotint.errors import RequestError
from mezzotint_blocks.seeing.words import refuse_missing, tokens_of_words


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    merges = [("c", "a"), ("ca", "t</w>"), ("b", "a"), ("ba", "l"), ("l", "o"), ("lo", "o"), ("loo", "n</w>")]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)}, merges=merges, model_max_length=24
    )


def spelled(tokenizer, prompt, positions):
    ids = tokenizer(prompt).input_ids
    return "".join(tokenizer.convert_ids_to_tokens([ids[position] for position in positions])).replace(
        "</w>", " "
    )


def test_parts_of_a_word_are_put_together(tokenizer):
    prompt = "a cat, a Balloon"
    found = tokens_of_words(tokenizer, prompt)
    assert list(found) == ["cat", "balloon"]
    assert spelled(tokenizer, prompt, found["cat"]) == "cat "
    assert spelled(tokenizer, prompt, found["balloon"]) == "balloon "
    assert len(found["cat"]) == 1
    assert len(found["balloon"]) == 2


def test_a_phrase_is_one_entry_and_case_does_not_matter(tokenizer):
    prompt = "hot-air balloon"
    found = tokens_of_words(tokenizer, prompt, ["Hot-Air balloon", "air"])
    assert spelled(tokenizer, prompt, found["Hot-Air balloon"]).replace(" ", "") == "hot-airballoon"
    assert spelled(tokenizer, prompt, found["air"]).replace(" ", "") == "air"


def test_a_word_in_two_places_has_the_tokens_of_both(tokenizer):
    assert len(tokens_of_words(tokenizer, "cat on cat")["cat"]) == 2


def test_a_word_inside_another_is_not_found(tokenizer):
    assert tokens_of_words(tokenizer, "cats", ["cat"]) == {}
    with pytest.raises(RequestError, match="the prompt 'cats' has no word 'cat'; there are cats"):
        refuse_missing(["cat"], ["cats"])


def test_of_several_prompts_one_has_to_have_the_word():
    refuse_missing(["cat", "dog"], ["a cat", "a dog"])
    with pytest.raises(RequestError, match="the prompts have no word 'owl'; there are a, cat, dog"):
        refuse_missing(["cat", "owl"], ["a cat", "a dog"])


def test_unremarkable_words_count_where_there_is_nothing_else(tokenizer):
    assert list(tokens_of_words(tokenizer, "the a of")) == ["the", "a", "of"]
    assert list(tokens_of_words(tokenizer, "")) == []


def test_words_that_the_text_encoder_does_not_read_are_left_out_or_refused(tokenizer):
    prompt = "x " * 30 + "cat"
    assert list(tokens_of_words(tokenizer, prompt)) == ["x"]
    with pytest.raises(RequestError, match="'cat' comes after the 24 tokens"):
        tokens_of_words(tokenizer, prompt, ["cat"])
