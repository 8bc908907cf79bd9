"""The training set as arrays: fetched, drawn once, and cached in the working folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import CLIPTokenizer

from .captions import caption_corpus
from .errors import need
from .layouts import Composer, is_drawn_often
from .manifest import Picture, build_manifest, load_manifest, save_manifest
from .sources import CLIP_BPE, MINILM, MINILM_FILES, SOURCES, fetch
from .tokenizer import clip_merges, prune, save_tokenizer


def is_trained(picture: Picture) -> bool:
    """Whether the U-Net is trained on it."""
    return picture.split == "train" and is_drawn_often(picture)


@dataclass(frozen=True)
class Data:
    """Pictures and their pixels, uint8 (n, 64, 64, 4), in the same order."""

    pictures: list[Picture]
    pixels: np.ndarray

    def split(self, *names: str) -> "Data":
        """The part of these splits."""
        return self.where(lambda picture: picture.split in names)

    def drawn_often(self) -> "Data":
        """What the U-Net is trained on."""
        return self.where(is_trained)

    def where(self, wanted: Callable[[Picture], bool]) -> "Data":
        """The part whose pictures are wanted."""
        return self.take([i for i, picture in enumerate(self.pictures) if wanted(picture)])

    def take(self, indices: Sequence[int]) -> "Data":
        """The part at these places."""
        return Data([self.pictures[i] for i in indices], self.pixels[list(indices)])


def to_tensor(pixels: np.ndarray) -> Tensor:
    """uint8 (n, h, w, 3) to float32 (n, 3, h, w) in [-1, 1], channels last in memory."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def prepare(work: Path) -> Data:
    """Fetch the packages, write manifest and tokenizer, draw every picture without skin tone once.

    An encoder that is there is kept.
    """
    from .encoder import fit_encoder, save_encoder
    from .networks import TEXT_WIDTH
    from .render import render
    from .words import write_word_vectors

    folders = {source: fetch(source, work / "packages") for source in SOURCES}
    manifest = build_manifest(folders)
    save_manifest(manifest, work / "manifest.jsonl")
    merges = clip_merges(folders[CLIP_BPE] / "open_clip" / "bpe_simple_vocab_16e6.txt.gz")
    save_tokenizer(prune(merges, caption_corpus(manifest)), work / "tokenizer")
    seen: set[bytes] = set()
    pictures, pixels = [], []
    for picture in tqdm(manifest, "drawing", unit="picture", mininterval=1.0):
        if picture.skin:
            continue
        drawn = render(picture, work / "packages" / "unpacked")
        if drawn.tobytes() not in seen:
            seen.add(drawn.tobytes())
            pictures.append(picture)
            pixels.append(drawn)
    save_manifest(pictures, work / "pictures.jsonl")
    np.save(work / "pictures.npy", np.stack(pixels))
    write_word_vectors(folders[MINILM] / MINILM_FILES, work / "tokenizer", work, TEXT_WIDTH)
    data = load(work)
    # What has been trained was trained on the latents of the encoder that is there.
    encoder = work / "encoder.safetensors"
    if not encoder.exists():
        save_encoder(fit_encoder(_scenes(data.drawn_often())), encoder)
    return data


def _scenes(data: Data, count: int = 4000) -> Tensor:
    """Examples of the training mix, (count, 3, 64, 64)."""
    composer, random = Composer(data.pictures, data.pixels), np.random.default_rng(0)
    examples = (composer.draw(int(i), random) for i in random.integers(0, len(data.pictures), count))
    return to_tensor(np.stack([composer.pixels_of(example) for example in examples]))


def load_tokenizer(work: Path) -> CLIPTokenizer:
    """What `prepare` made of CLIP's.

    Raises:
        RecipeError: it has not run.
    """
    return CLIPTokenizer.from_pretrained(need(work / "tokenizer", "data"))


def load(work: Path) -> Data:
    """Read what `prepare` cached.

    Raises:
        RecipeError: it has not run.
    """
    need(work / "pictures.npy", "data")
    return Data(load_manifest(work / "pictures.jsonl"), np.load(work / "pictures.npy"))
