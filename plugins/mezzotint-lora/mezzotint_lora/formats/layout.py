"""A layout of LoRA files as a table: which prefix means which model, which suffix means which tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from ..adapter import Delta, Target
from ..deltas import ShapeError, check_whole
from ..deltas.kinds import ANY, KINDS

if TYPE_CHECKING:
    from torch import Tensor


class Part(NamedTuple):
    """What a suffix means."""

    kind: str
    """Of the delta; `ANY` goes with every kind."""
    tensor: str
    """Its name there."""


class Found(NamedTuple):
    """A key taken apart."""

    target: Target
    part: Part


def as_it_is(module: str) -> str:
    """The module's name is the one in the key."""
    return module


def unchanged(part: Part, tensor: Tensor) -> Tensor:
    """The tensor has the shape of `Delta`."""
    return tensor


@dataclass(frozen=True)
class Layout:
    """How one family of programs names and shapes the tensors of a LoRA."""

    name: str
    description: str
    prefixes: Mapping[str, str]
    """Beginning of a key → component."""
    suffixes: Mapping[str, Part]
    """End of a key, after the dot → part of a delta."""
    module: Callable[[str], str] = as_it_is
    """What stands between → the module's name."""
    canonical: Callable[[Part, Tensor], Tensor] = unchanged
    """A tensor → its shape in `Delta`."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """End of a key → what it is, where it is known and cannot be applied."""

    def find(self, key: str) -> Found | None:
        """The key taken apart, or `None` if this layout has no such key."""
        prefix = self._prefix(key)
        if prefix is None:
            return None
        rest = key[len(prefix) :]
        # A suffix has one to four parts, and the longest counts: `lora.down.weight` before `down.weight`.
        for position in _dots(rest, 4):
            part = self.suffixes.get(rest[position + 1 :])
            if part is not None:
                return Found(Target(self.prefixes[prefix], self.module(rest[:position])), part)
        return None

    def _prefix(self, key: str) -> str | None:
        return next((prefix for prefix in self._prefixes if key.startswith(prefix)), None)

    @cached_property
    def _prefixes(self) -> tuple[str, ...]:
        return tuple(sorted(self.prefixes, key=len, reverse=True))

    def reads(self, keys: Iterable[str]) -> int:
        """How many of the keys it understands."""
        return sum(self.find(key) is not None for key in keys)

    def parse(self, tensors: Mapping[str, Tensor]) -> tuple[dict[Target, Delta], dict[str, str]]:
        """Deltas by target, and the keys that are in the way, with what is wrong about each."""
        groups: dict[Target, dict[Part, str]] = {}
        unread: dict[str, str] = {}
        for key in sorted(tensors):
            found = self.find(key)
            if found is None:
                unread[key] = self._why_not(key)
                continue
            parts = groups.setdefault(found.target, {})
            if found.part in parts:
                unread[key] = f"is there twice: {parts[found.part]} means the same tensor"
                continue
            parts[found.part] = key
        deltas = {}
        for target, parts in groups.items():
            try:
                deltas[target] = self._delta(parts, tensors)
            except _Incomplete as error:
                unread.update(dict.fromkeys(parts.values(), str(error)))
        return deltas, unread

    def _delta(self, parts: Mapping[Part, str], tensors: Mapping[str, Tensor]) -> Delta:
        kinds = {part.kind for part in parts if part.kind != ANY}
        if len(kinds) > 1:
            raise _Incomplete(f"belongs to a module with tensors of {' and '.join(sorted(kinds))} at once")
        names = {part.tensor for part in parts}
        kind = kinds.pop() if kinds else "full" if "bias" in names else None
        if kind is None:
            raise _Incomplete("has no weights beside it")
        missing = KINDS[kind].missing(names)
        if missing:
            raise _Incomplete(f"stands without {missing}, so the {kind} of this module is incomplete")
        alpha = None
        found = {}
        for part, key in parts.items():
            if part.tensor == "alpha":
                if tensors[key].numel() != 1:
                    raise _Incomplete(f"alpha must be one number, not {tuple(tensors[key].shape)}")
                alpha = float(tensors[key].item())
            else:
                found[part.tensor] = self.canonical(part, tensors[key])
        delta = Delta(kind, found, alpha, tuple(parts.values()))
        try:
            check_whole(delta)
        except ShapeError as error:
            raise _Incomplete(f"belongs to a {kind} that is damaged: {error}") from None
        return delta

    def refuses(self, key: str) -> str | None:
        """What a tensor belongs to that is known and not supported."""
        found = (self.refused.get(key[position + 1 :]) for position in _dots(key, 2))
        return next(filter(None, found), None)

    def _why_not(self, key: str) -> str:
        known = self.refuses(key)
        if known is not None:
            return f"is {known}, which is not supported"
        if self._prefix(key) is None:
            return f"begins with none of {', '.join(self.prefixes)}"
        return "ends with none of the suffixes of LoRA tensors"


class _Incomplete(Exception):
    """The tensors of a module do not make a delta."""


def _dots(text: str, count: int) -> list[int]:
    """Positions of the last dots, from the left; none at the beginning."""
    found: list[int] = []
    position = len(text)
    while len(found) < count and (position := text.rfind(".", 1, position)) > 0:
        found.append(position)
    return found[::-1]
