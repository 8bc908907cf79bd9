"""A change of a weight as a LoRA of low rank, by singular values; and how many of them to keep.

The rules are those of kohya's `resize_lora.py`: a number, a ratio to the largest singular value, a share of the
Frobenius norm or of their sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .adapter import Delta
from .errors import LoRAError

if TYPE_CHECKING:
    from torch import Tensor


RULES = ("rank", "ratio", "fro", "cumulative")


@dataclass(frozen=True)
class Keep:
    """Which singular values to keep: at most `rank`, and of these as many as the rule asks for.

    What is rounding, by the measure of `torch.linalg.matrix_rank`, is never kept, so a rank is never raised.
    """

    rank: int | None
    """`None` leaves it to the rule, among as many as there are: of a LoRA, its own rank."""
    rule: str = "rank"
    """`rank` (all of them), `ratio`, `fro` or `cumulative`."""
    target: float = 0.0
    """`ratio`: largest to smallest kept, above 1. `fro`, `cumulative`: the share kept, 0 to 1."""

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise LoRAError(
                f"there is no rule {self.rule!r} for singular values; there are {', '.join(RULES)}"
            )
        if self.rank is None and self.rule == "rank":
            raise LoRAError("give a rank, or a rule that says how many singular values are kept")
        if self.rank is not None and self.rank < 1:
            raise LoRAError(f"the rank must be at least 1, not {self.rank}")
        if self.rule == "ratio" and not 1 < self.target < math.inf:
            raise LoRAError(f"the ratio of singular values must be above 1 and finite, not {self.target:g}")
        if self.rule in ("fro", "cumulative") and not 0 < self.target <= 1:
            raise LoRAError(f"the share to keep must be above 0 and at most 1, not {self.target:g}")

    def count(self, values: Tensor) -> int:
        """How many of the falling singular values are kept, at least one."""
        import torch

        highest = len(values) if self.rank is None else min(self.rank, len(values))
        if self.rule == "ratio":
            wanted = int((values > values[0] / self.target).sum())
        elif self.rule in ("fro", "cumulative"):
            power = values**2 if self.rule == "fro" else values
            share = self.target**2 if self.rule == "fro" else self.target
            whole = power.sum()
            reached = power.cumsum(0) / whole if whole > 0 else torch.ones_like(power)
            # Rounding must not ask for one more than there are.
            wanted = int((reached < share - 1e-6).sum()) + 1
        else:
            wanted = highest
        return max(1, min(wanted, highest))


def decompose(change: Tensor, keep: Keep, highest: int | None = None) -> Delta:
    """The nearest LoRA to ΔW (out, in, …), with alpha equal to its rank.

    Args:
        highest: the rank that ΔW can have as it was made; default: that of any matrix of its size.
    """
    import torch

    u, s, v = torch.linalg.svd(change.flatten(1).double(), full_matrices=False)
    return _delta(u, s[:highest], v, keep, tuple(change.shape))


def decompose_factors(down: Tensor, up: Tensor, keep: Keep) -> Delta:
    """As `decompose` of up · down, by way of matrices of the size of the rank.

    Args:
        down: (r, in, …). up: (out, r), with α / r in it.
    """
    import torch

    q_up, r_up = torch.linalg.qr(up.double())
    q_down, r_down = torch.linalg.qr(down.flatten(1).double().T)
    u, s, v = torch.linalg.svd(r_up @ r_down.T, full_matrices=False)
    return _delta(q_up @ u, s, v @ q_down.T, keep, (up.shape[0], *down.shape[1:]))


def _delta(u: Tensor, s: Tensor, v: Tensor, keep: Keep, shape: tuple[int, ...]) -> Delta:
    rank = keep.count(s[: max(1, _numerical_rank(s, max(u.shape[0], v.shape[1])))])
    root = s[:rank].sqrt()
    ones = [1] * (len(shape) - 2)
    tensors = {
        "down": (root[:, None] * v[:rank]).float().reshape(rank, *shape[1:]).contiguous(),
        "up": (u[:, :rank] * root).float().reshape(shape[0], rank, *ones).contiguous(),
    }
    return Delta("lora", tensors, float(rank))


def _numerical_rank(s: Tensor, longest: int) -> int:
    """How many singular values are more than rounding of a matrix whose longer side is this."""
    import torch

    return int((s > s[0] * longest * torch.finfo(s.dtype).eps).sum())


Progress = Callable[[int, int], None]
"""Called with how many modules are done, of how many."""


def silent(done: int, total: int) -> None:
    """No progress to show."""
