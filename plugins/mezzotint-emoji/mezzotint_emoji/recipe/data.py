"""The training set as arrays: fetched, drawn once, and cached in the working folder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .manifest import Picture, build_manifest, load_manifest, save_manifest
from .sources import CLIP_BPE, SOURCES, fetch
from .tokenizer import clip_merges, prune, save_tokenizer

GROUPS = ("smileys-emotion", "animals-nature", "food-drink", "travel-places", "activities", "objects")
STYLES = ("3d", "flat", "noto")


@dataclass(frozen=True)
class Data:
    """Pictures and their pixels, uint8 (n, 64, 64, 4), in the same order."""

    pictures: list[Picture]
    pixels: np.ndarray

    def split(self, *names: str) -> "Data":
        """The part of these splits."""
        chosen = [i for i, picture in enumerate(self.pictures) if picture.split in names]
        return Data([self.pictures[i] for i in chosen], self.pixels[chosen])


def prepare(work: Path) -> Data:
    """Fetch the packages, write manifest and tokenizer, draw the pictures of `GROUPS` and `STYLES`."""
    from .captions import caption_corpus
    from .render import render

    folders = {source: fetch(source, work / "packages") for source in SOURCES}
    manifest = build_manifest(folders)
    save_manifest(manifest, work / "manifest.jsonl")
    merges = clip_merges(folders[CLIP_BPE] / "open_clip" / "bpe_simple_vocab_16e6.txt.gz")
    save_tokenizer(prune(merges, caption_corpus(manifest)), work / "tokenizer")
    seen: set[bytes] = set()
    pictures, pixels = [], []
    for picture in manifest:
        if picture.skin or picture.group not in GROUPS or picture.style not in STYLES:
            continue
        drawn = render(picture, work / "packages" / "unpacked")
        if drawn.tobytes() not in seen:
            seen.add(drawn.tobytes())
            pictures.append(picture)
            pixels.append(drawn)
    save_manifest(pictures, work / "pictures.jsonl")
    np.save(work / "pictures.npy", np.stack(pixels))
    return load(work)


def load(work: Path) -> Data:
    """Read what `prepare` cached."""
    return Data(load_manifest(work / "pictures.jsonl"), np.load(work / "pictures.npy"))
