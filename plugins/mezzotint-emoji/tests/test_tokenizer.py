import os
from pathlib import Path

import pytest
from mezzotint_emoji.recipe.tokenizer import byte_symbols, clip_merges, prune, save_tokenizer, segment
from transformers import CLIPTokenizer

MERGES = [
    ("o", "s"),
    ("g", "h"),
    ("a", "n"),
    ("os", "t</w>"),
    ("gh", "ost</w>"),
    ("an", "t</w>"),
    ("t", "an"),
]
WORDS = ["ghost", "ant", "post"]


def test_pruning_keeps_the_segmentation_of_the_words():
    full = {merge: rank for rank, merge in enumerate(MERGES)}
    pruned = {merge: rank for rank, merge in enumerate(prune(MERGES, WORDS))}
    assert ("t", "an") not in pruned
    assert [segment(word, pruned)[0] for word in WORDS] == [segment(word, full)[0] for word in WORDS]


def test_saved_tokenizer_cuts_words_as_segment_does(tmp_path):
    save_tokenizer(prune(MERGES, WORDS), tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    ranks = {merge: rank for rank, merge in enumerate(MERGES)}
    for word in WORDS:
        assert tokenizer.tokenize(word) == segment(word, ranks)[0]
    ids = tokenizer("Ghost", padding="max_length").input_ids
    assert len(ids) == tokenizer.model_max_length == 32
    assert ids[0] == tokenizer.bos_token_id == len(tokenizer) - 2
    assert set(ids[2:]) == {tokenizer.eos_token_id}


def test_every_text_has_tokens_by_bytes(tmp_path):
    save_tokenizer([], tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    assert len(byte_symbols()) == len(set(byte_symbols())) == 256
    assert tokenizer.unk_token_id not in tokenizer("ünïcode 鬼 👻").input_ids[1:-1]


@pytest.mark.skipif("MEZZOTINT_EMOJI_WORK" not in os.environ, reason="needs the recipe's working folder")
def test_pruned_clip_cuts_all_captions_as_full_clip_does(tmp_path):
    from mezzotint_emoji.recipe.captions import caption_corpus
    from mezzotint_emoji.recipe.manifest import load_manifest
    from mezzotint_emoji.recipe.sources import CLIP_BPE

    work = Path(os.environ["MEZZOTINT_EMOJI_WORK"])
    vocabulary = (
        work / "packages" / "unpacked" / CLIP_BPE.folder / "open_clip" / "bpe_simple_vocab_16e6.txt.gz"
    )
    save_tokenizer(clip_merges(vocabulary), tmp_path)
    full, pruned = CLIPTokenizer.from_pretrained(tmp_path), CLIPTokenizer.from_pretrained(work / "tokenizer")
    assert len(full) == 49408
    for text in caption_corpus(load_manifest(work / "manifest.jsonl")):
        assert pruned.tokenize(text) == full.tokenize(text)
