"""Token merging as functions of tensors (Bolya & Hoffman 2023, section 4; Bolya et al. 2023, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Merging:
    """Which tokens of an image are merged into which; made by `match_tokens`."""

    kept: Tensor
    """Indices of tokens that stay alone, (rows, k, 1)."""
    merged: Tensor
    """Indices of tokens that are merged, (rows, r, 1)."""
    into: Tensor
    """For each merged token, which destination takes it: positions in `destinations`, (rows, r, 1)."""
    destinations: Tensor
    """Indices of destinations, (1, d, 1)."""

    def merge(self, x: Tensor) -> Tensor:
        """(rows, tokens, dim) → (rows, tokens - r, dim): kept tokens, then destinations averaged with their own."""
        alone = _take(x, self.kept)
        into = _take(x, self.destinations).scatter_reduce(
            1, _wide(self.into, x), _take(x, self.merged), reduce="mean"
        )
        return torch.cat([alone, into], dim=1)

    def unmerge(self, x: Tensor) -> Tensor:
        """(rows, tokens - r, dim) → (rows, tokens, dim): every merged token gets its destination's value."""
        alone, into = x.split([self.kept.shape[1], self.destinations.shape[1]], dim=1)
        tokens = x.shape[1] + self.merged.shape[1]
        whole = x.new_empty(x.shape[0], tokens, x.shape[2])
        for indices, values in (
            (self.destinations, into),
            (self.kept, alone),
            (self.merged, _take(into, self.into)),
        ):
            whole.scatter_(1, _wide(indices, values), values)
        return whole


def match_tokens(
    metric: Tensor, height: int, width: int, stride: int, count: int, generator: torch.Generator | None
) -> Merging:
    """Pair `count` tokens with their most similar destinations.

    In each cell of `stride` × `stride` tokens one is a destination: a random one, or the first without a
    generator. Of the others those are merged that are most similar (cosine) to any destination.

    Args:
        metric: (rows, height * width, dim), what similarity is measured on.
    """
    rows = metric.shape[0]
    cells = destination_cells(height, width, stride, generator)
    order = cells.to(metric.device).reshape(1, -1, 1).argsort(dim=1)
    destinations, sources = order.split([n := int((cells < 0).sum()), height * width - n], dim=1)
    unit = metric / metric.norm(dim=-1, keepdim=True)
    similarity = _take(unit, sources) @ _take(unit, destinations).transpose(1, 2)
    best, into = similarity.max(dim=-1)
    ranked = best.argsort(dim=-1, descending=True)[..., None]
    count = min(count, sources.shape[1])
    merged, kept = ranked[:, :count], ranked[:, count:]
    sources = sources.expand(rows, -1, 1)
    return Merging(
        sources.gather(1, kept), sources.gather(1, merged), into[..., None].gather(1, merged), destinations
    )


def destination_cells(height: int, width: int, stride: int, generator: torch.Generator | None) -> Tensor:
    """(height, width): -1 at destinations, 0 elsewhere; what no whole cell covers is never a destination."""
    down, across = height // stride, width // stride
    if generator is None:
        chosen = torch.zeros(down, across, 1, dtype=torch.int64)
    else:
        chosen = torch.randint(stride * stride, (down, across, 1), generator=generator)
    cells = torch.zeros(down, across, stride * stride, dtype=torch.int64)
    cells.scatter_(2, chosen, -1)
    whole = torch.zeros(height, width, dtype=torch.int64)
    whole[: down * stride, : across * stride] = (
        cells.view(down, across, stride, stride).transpose(1, 2).reshape(down * stride, across * stride)
    )
    return whole


def _take(x: Tensor, indices: Tensor) -> Tensor:
    """Tokens of x (rows, tokens, dim) at indices (rows or 1, k, 1)."""
    return x.gather(1, _wide(indices, x))


def _wide(indices: Tensor, like: Tensor) -> Tensor:
    return indices.expand(like.shape[0], -1, like.shape[2])
