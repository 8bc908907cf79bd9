"""Residuals that a side network adds to the U-Net, and their sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Residuals:
    """What one provider adds at one step; every tensor has p * n rows, or 1 to be broadcast."""

    down: tuple[Tensor, ...] = ()
    """One for each skip connection, in the U-Net's order (ControlNet), or none."""
    mid: Tensor | None = None
    """For the output of the middle block (ControlNet)."""
    adapter: tuple[Tensor, ...] = ()
    """One for each down block, added inside it, and maybe one for the middle block (T2I-Adapter), or none."""

    def unet_arguments(self, sample: Tensor, skip_count: int) -> dict[str, Any]:
        """The arguments of `UNet2DConditionModel.forward` that add these residuals."""
        arguments: dict[str, Any] = {}
        if self.down or self.mid is not None:
            # The U-Net adds neither unless it gets both: zeros stand for the absent one.
            zero = sample.new_zeros(())
            arguments["down_block_additional_residuals"] = self.down or (zero,) * skip_count
            arguments["mid_block_additional_residual"] = zero if self.mid is None else self.mid
        if self.adapter:
            # A list, because the U-Net takes them off it one by one; of all rows, because it drops the middle
            # block's without a word if its shape is not exactly the sample's.
            arguments["down_intrablock_additional_residuals"] = [
                tensor.expand(len(sample), -1, -1, -1) for tensor in self.adapter
            ]
        return arguments


def add(residuals: Sequence[Residuals]) -> Residuals:
    """The sum of all, computed without changing any of them; an adapter may have one more than another."""
    if len(residuals) == 1:
        return residuals[0]
    mids = [r.mid for r in residuals if r.mid is not None]
    return Residuals(
        _add_each([r.down for r in residuals if r.down]),
        _add_up(mids) if mids else None,
        _add_each([r.adapter for r in residuals if r.adapter]),
    )


def _add_each(stacks: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return tuple(
        _add_up([tensor for tensor in tensors if tensor is not None]) for tensors in zip_longest(*stacks)
    )


def _add_up(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total
