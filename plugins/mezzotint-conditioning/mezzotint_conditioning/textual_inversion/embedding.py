"""Token embeddings with a few rows more, without a copy of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, Parameter


class ExtendedEmbedding(Module):
    """An embedding that answers for further ids; all others go to the one that was there.

    Args:
        base: the embedding that was there.
        ids: the new ids.
        vectors: (len(ids), dim), what they are.
        trainable: whether they are a float32 parameter.
    """

    ids: Tensor
    vectors: Tensor

    def __init__(self, base: Any, ids: Sequence[int], vectors: Tensor, *, trainable: bool = False) -> None:
        super().__init__()
        self.base = base
        self.register_buffer("ids", torch.tensor(ids, device=base.weight.device), persistent=False)
        if trainable:
            self.vectors = Parameter(vectors.to(base.weight.device, torch.float32, copy=True))
        else:
            self.register_buffer("vectors", vectors.to(base.weight), persistent=False)

    @property
    def weight(self) -> Tensor:
        """Of the embedding that was there; others read its dtype and width."""
        return self.base.weight

    @property
    def num_embeddings(self) -> int:
        """Rows, the new ones too."""
        return int(self.base.num_embeddings) + len(self.ids)

    @property
    def embedding_dim(self) -> int:
        """Width of a row."""
        return int(self.base.embedding_dim)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Embeddings (…, dim) of ids (…)."""
        matches = input_ids[..., None] == self.ids
        is_new = matches.any(dim=-1)
        if not bool(is_new.any()):
            return self.base(input_ids)
        old = self.base(input_ids.masked_fill(is_new, 0))
        new = self.vectors[matches.int().argmax(dim=-1)].to(old.dtype)
        return torch.where(is_new[..., None], new, old)
