"""What MiniLM knows about words: where token embeddings start, and what becomes of those that no caption has.

A word that is in no caption keeps the embedding that it started with, while all others move: after training it says nothing.
So the finished model has for it a mean of the trained embeddings, those of the nearest words above all: `pants` is
drawn as `trousers` are.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer, BertModel, CLIPTokenizer

from .errors import need

FILE = "word_vectors.safetensors"
SHARPNESS = 30.0
"""At a cosine lower by 0.1 than that of another word, a word counts a twentieth of it."""


@torch.no_grad()
def write_word_vectors(minilm: Path, tokenizer_folder: Path, work: Path, width: int) -> None:
    """Embed every token as a word of its own, (vocabulary, width): principal components, each of deviation 1."""
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    words = [tokenizer.decode([i]).strip() or " " for i in range(len(tokenizer))]
    model, cutter = BertModel.from_pretrained(minilm).eval(), AutoTokenizer.from_pretrained(minilm)
    vectors = []
    for first in range(0, len(words), 256):
        inputs = cutter(
            words[first : first + 256], padding=True, truncation=True, max_length=16, return_tensors="pt"
        )
        hidden, mask = model(**inputs).last_hidden_state, inputs.attention_mask[..., None]
        mean = (hidden * mask).sum(1) / mask.sum(1)  # MiniLM's sentence embedding
        vectors.append(torch.nn.functional.normalize(mean, dim=1))
    centred = torch.cat(vectors).double()
    centred = centred - centred.mean(0)
    components = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :width]
    projected = centred @ components
    save_file({"words": (projected / projected.std(0)).float().contiguous()}, work / FILE)


def load_word_vectors(work: Path) -> Tensor:
    """What `write_word_vectors` wrote, (vocabulary, width).

    Raises:
        RecipeError: nothing has been written.
    """
    return load_file(need(work / FILE, "data"))["words"]


@torch.no_grad()
def lend_embeddings(embeddings: Tensor, words: Tensor, lenders: set[int], known: set[int]) -> None:
    """Give the tokens that are not `known` the mean of the `lenders`, weighted by how near their words are; in place.

    Args:
        embeddings: (vocabulary, d), trained.
        words: (vocabulary, width), what MiniLM makes of each token.
        lenders: tokens that captions have in names and around them.
        known: tokens that keep their embedding.
    """
    borrowers = torch.tensor([token for token in range(len(words)) if token not in known], dtype=torch.long)
    sources = torch.tensor(sorted(lenders))
    unit = torch.nn.functional.normalize(words, dim=1)
    weights = (SHARPNESS * unit[borrowers] @ unit[sources].T).softmax(dim=1)
    embeddings[borrowers] = weights @ embeddings[sources]
