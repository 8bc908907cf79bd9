"""CLIP's byte-pair encoding, pruned to the merges that our captions use.

Every word of the captions is cut exactly as Stable Diffusion's tokenizer cuts it: each merge that the full
vocabulary chooses is kept, so it is still the lowest-ranked one. Other words fall back to shorter pieces, at
worst single bytes. Only ids differ from those of CLIP.
"""

import gzip
import json
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

MAX_LENGTH = 32
START, END = "<|startoftext|>", "<|endoftext|>"
WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|[^\s\w]+|_+", re.IGNORECASE)

Merge = tuple[str, str]


def clip_merges(vocabulary: Path) -> list[Merge]:
    """The 48,894 merges of CLIP, best first, from OpenAI's `bpe_simple_vocab_16e6.txt.gz`."""
    lines = gzip.decompress(vocabulary.read_bytes()).decode().split("\n")
    return [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]


def byte_symbols() -> list[str]:
    """The 256 printable characters that stand for bytes, in the order of CLIP's ids (GPT-2's mapping)."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def segment(word: str, ranks: dict[Merge, int]) -> tuple[list[str], list[Merge]]:
    """Cut one lower-case word into pieces; also return the merges that led there, in the order used."""
    symbol_of = dict(zip(_byte_order(), byte_symbols(), strict=True))
    pieces = [symbol_of[byte] for byte in word.encode()]
    pieces[-1] += "</w>"
    used: list[Merge] = []
    while len(pieces) > 1:
        best = min(pairwise(pieces), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        used.append(best)
        merged, i = [], 0
        while i < len(pieces):
            if tuple(pieces[i : i + 2]) == best:
                merged.append("".join(best))
                i += 2
            else:
                merged.append(pieces[i])
                i += 1
        pieces = merged
    return pieces, used


def prune(merges: list[Merge], texts: Iterable[str]) -> list[Merge]:
    """The merges that full CLIP applies to the words of `texts`, in CLIP's order."""
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    words = {word for text in texts for word in WORD.findall(text.lower())}
    used = {merge for word in words for merge in segment(word, ranks)[1]}
    return sorted(used, key=ranks.__getitem__)


def save_tokenizer(merges: list[Merge], folder: Path) -> None:
    """Write a tokenizer folder that `CLIPTokenizer.from_pretrained` opens.

    Ids follow CLIP: bytes, bytes at a word's end, merges, start, end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    symbols = byte_symbols()
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), *map("".join, merges), START, END]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens):
        raise ValueError("two merges give the same token")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MAX_LENGTH,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
        "do_lower_case": True,
        "errors": "replace",
    }
    special = {key: value for key, value in config.items() if key.endswith("_token")}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")


def _byte_order() -> list[int]:
    """The bytes in the order of `byte_symbols`: the printable ones stand for themselves and come first."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    return printable + [byte for byte in range(256) if byte not in printable]
