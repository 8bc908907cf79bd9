"""One module with the adapters that are on it: beside it as low-rank factors, or in its weight as a sum.

Beside: `forward` is shadowed on the instance by base(x) + up(down(x)), where the factors of all adapters stand in
one `down` and one `up`, so that ten cost two products as one does. In: the parameter's data is another tensor, the
base plus all changes; the base's own storage is put aside, never written, and put back. Either way removal computes
nothing, so it is exact in every dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.autograd.graph import increment_version
from torch.nn.functional import conv2d, linear, pad

from .adapter import Delta
from .deltas import delta_bias, delta_weight, is_low_rank, low_rank

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(eq=False)
class Part:
    """One adapter's share in one module."""

    order: str
    """The sum is made in this order, not in that of arrival, so that it has the same bits."""
    delta: Delta
    weight: float
    fuse: bool
    factor: float = 1.0
    """Of the schedule, at this step."""
    _factors: tuple[Tensor, Tensor] | None = field(default=None, repr=False)
    _weighted: tuple[float, Tensor, Tensor] | None = field(default=None, repr=False)

    @property
    def multiplier(self) -> float:
        """What ΔW is multiplied by at the moment."""
        return self.weight * self.factor

    @cached_property
    def is_low_rank(self) -> bool:
        """Whether it is a product of two factors and nothing else, so that it can stand beside the weight."""
        return is_low_rank(self.delta)

    @property
    def is_beside(self) -> bool:
        """Whether it stands beside the weight and not in it."""
        return self.is_low_rank and not self.fuse

    def factors(self, weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(r, in, …) and (r, out), the multiplier in the second, rounded once; made anew only where it changed."""
        if self._factors is None:
            self._factors = low_rank(self.delta, weight)
        if self._weighted is None or self._weighted[0] != self.multiplier:
            down, up = self._factors
            self._weighted = self.multiplier, down.to(dtype), (up.T.contiguous() * self.multiplier).to(dtype)
        return self._weighted[1:]


class Beside:
    """A layer's `forward` with low-rank changes beside it."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.base: Callable[..., Tensor] = module.forward
        # Kept, so that a compiled model sees the same function again, and compiles nothing, when it comes back.
        self.forward = self._conv if isinstance(module, nn.Conv2d) else self._linear
        self.down: Tensor
        """(R, in) or (R, in, kh, kw): the factors of all adapters, one below the other."""
        self.up: Tensor
        """(R, out) or (out, R, 1, 1), multiplied by weights and α / r."""
        self._converted: tuple[Tensor, Tensor] | None = None

    def set_factors(self, down: Tensor, up: Tensor) -> None:
        """From now on these: (R, in, …) and (R, out)."""
        is_conv = isinstance(self.module, nn.Conv2d)
        self.down, self.up = down, up.T.contiguous()[..., None, None] if is_conv else up
        self._converted = None

    def release(self) -> None:
        """Keep no tensor; the layer is left."""
        del self.down, self.up
        self._converted = None

    def _factors(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """In the layer's number type of the moment: another extension may have converted the model since."""
        if self.down.dtype == dtype:
            return self.down, self.up
        if self._converted is None or self._converted[0].dtype != dtype:
            self._converted = self.down.to(dtype), self.up.to(dtype)
        return self._converted

    def _linear(self, input: Tensor) -> Tensor:
        output = self.base(input)
        down, up = self._factors(input.dtype)
        inner = linear(input, down)
        # One kernel for the second product and the sum: a pass less over the output.
        rows = torch.addmm(output.reshape(-1, output.shape[-1]), inner.reshape(-1, inner.shape[-1]), up)
        return rows.view(output.shape)

    def _conv(self, input: Tensor) -> Tensor:
        module: Any = self.module
        down, up = self._factors(input.dtype)
        # The layer's own way, with its padding mode: models that draw tiles have another than zeros.
        inner = module._conv_forward(input, down, None)
        return self.base(input) + conv2d(inner, up)


class AdaptedLayer:
    """A module and the parts that are on it. `settle` makes the module what the parts say."""

    def __init__(self, module: nn.Module) -> None:
        self.module: Any = module
        self.parts: list[Part] = []
        self.rank = 0
        """Room for ranks in a compiled model; smaller ones are filled up with zeros."""
        self._beside: Beside | None = None
        self._shadowed: Callable[..., Any] | None = None
        """The `forward` on the instance that ours hides, if there was one."""
        self._is_shadowing = False
        self._base: dict[str, Tensor] = {}
        """The base's own storage of each parameter that is changed."""
        self._merged: dict[str, Tensor] = {}
        """What stands in its place."""

    @torch.no_grad()
    def settle(self) -> None:
        """Put the parts on the module, or leave it as it was found where there is none.

        An error leaves the base weights in place.
        """
        self._put_base_back()
        beside, inside = self._sorted()
        for name, change in self._changes(inside).items():
            parameter = getattr(self.module, name)
            self._base[name] = parameter.data
            # empty_like keeps the memory format; the sum is rounded once.
            self._merged[name] = torch.empty_like(parameter.data).copy_(parameter.data.float() + change)
            _exchange(parameter, self._merged[name])
        if beside or self.rank:
            self._stand_beside(beside)
        else:
            self._step_aside()

    @torch.no_grad()
    def follow(self) -> None:
        """Let the parts count as their multipliers now say, whatever others have done to the module since."""
        beside, inside = self._sorted()
        changes = self._changes(inside)
        for name, base in self._base.items():
            new = base.float() + changes[name] if name in changes else base
            merged, parameter = self._merged[name], getattr(self.module, name)
            if parameter.data_ptr() != merged.data_ptr():
                # Another extension has put a copy there, in another number type or memory format.
                merged.copy_(new)
            # The parameter, not its data: only that counts a version, by which others see that it changed.
            parameter.copy_(new)
        if self._is_shadowing and self._beside is not None:
            self._beside.set_factors(*self._factors(beside, self._beside.down.dtype))
            # Its bits are the same, but who keeps what the layer computed must see that it computes something else.
            increment_version(self.module.weight)

    def _sorted(self) -> tuple[list[Part], list[Part]]:
        """Those beside the weight and those in it."""
        parts = sorted(self.parts, key=lambda part: (part.order, part.multiplier))
        return [part for part in parts if part.is_beside], [part for part in parts if not part.is_beside]

    def restore(self) -> None:
        """The module as it was found; nothing is computed."""
        self.parts.clear()
        self.rank = 0
        self._step_aside()
        self._put_base_back()

    # Beside the weight.

    def _stand_beside(self, parts: Sequence[Part]) -> None:
        if self._beside is None:
            self._beside = Beside(self.module)
        self._beside.set_factors(*self._factors(parts, self.base_weight.dtype))
        if not self._is_shadowing:
            self._shadowed = vars(self.module).get("forward")
            base = self.module.forward
            if self._beside.base != base:
                self._beside.base = base
            self.module.forward = self._beside.forward
            self._is_shadowing = True

    def _factors(self, parts: Sequence[Part], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        down, up = self._side_by_side(parts, self.base_weight, dtype)
        room = self.rank - down.shape[0]
        if room <= 0:
            return down, up
        return pad(down, [0, 0] * (down.ndim - 1) + [0, room]), pad(up, [0, 0, 0, room])

    def _side_by_side(
        self, parts: Sequence[Part], weight: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """(R, in, …) and (R, out) of all parts, as rows below one another: one product is the sum of theirs."""
        pairs = [part.factors(weight, dtype) for part in parts]
        if len(pairs) == 1:
            return pairs[0]
        if not pairs:
            empty = weight.new_zeros(0, *weight.shape[1:], dtype=dtype)
            return empty, weight.new_zeros(0, len(weight), dtype=dtype)
        downs, ups = zip(*pairs, strict=True)
        return torch.cat(downs), torch.cat(ups)

    def _step_aside(self) -> None:
        if not self._is_shadowing:
            return
        if self._shadowed is None:
            del self.module.forward
        else:
            self.module.forward = self._shadowed
        self._shadowed, self._is_shadowing = None, False
        if self._beside is not None:
            self._beside.release()

    # In the weight.

    @property
    def base_weight(self) -> Tensor:
        """The weight without any change."""
        base: Tensor = self._base.get("weight", self.module.weight.data)
        return base

    def _changes(self, parts: Sequence[Part]) -> dict[str, Tensor]:
        """What to add to the base's weight and bias, where there is anything."""
        found = {"weight": self._sum(parts), "bias": self._sum_of_biases(parts)}
        return {name: change for name, change in found.items() if change is not None}

    def _put_base_back(self) -> None:
        for name, base in self._base.items():
            _exchange(getattr(self.module, name), base)
        self._base.clear()
        self._merged.clear()

    def _sum(self, parts: Sequence[Part]) -> Tensor | None:
        weight = self.base_weight
        total = None
        plain = [part for part in parts if part.is_low_rank]
        if plain:
            down, up = self._side_by_side(plain, weight, torch.float32)
            total = (up.T @ down.flatten(1)).view(weight.shape)
        for part in parts:
            if part.is_low_rank or not part.multiplier:
                continue
            change = delta_weight(part.delta, weight)
            if change is not None:
                change = change * part.multiplier
                total = change if total is None else total + change
        return total

    def _sum_of_biases(self, parts: Sequence[Part]) -> Tensor | None:
        total = None
        for part in parts:
            change = delta_bias(part.delta, getattr(self.module, "bias", None))
            if change is not None and part.multiplier:
                change = change * part.multiplier
                total = change if total is None else total + change
        return total


def _exchange(parameter: Tensor, data: Tensor) -> None:
    """Other data for a parameter, and let it count as written: new storage may lie where freed one lay."""
    parameter.data = data
    increment_version(parameter)
