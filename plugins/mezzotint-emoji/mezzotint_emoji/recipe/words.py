"""What MiniLM knows about words, for the first state of the token embeddings.

Words that no caption has then start near those that mean the same: `puppy` near `dog`.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer, BertModel, CLIPTokenizer

FILE = "word_vectors.safetensors"


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
    """What `write_word_vectors` wrote, (vocabulary, width)."""
    return load_file(work / FILE)["words"]
