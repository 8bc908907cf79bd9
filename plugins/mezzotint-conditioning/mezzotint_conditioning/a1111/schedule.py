"""Which words with which weights a prompt has at a step."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .tree import Alternating, Edited, Node, Text, Weighted

_BREAK = re.compile(r"\s*\bBREAK\b\s*")


@dataclass(frozen=True)
class Fragment:
    """Text of one weight."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class Break:
    """The rest begins a chunk of its own."""


def changes(nodes: Iterable[Node]) -> bool:
    """Whether the prompt is not the same at every step."""
    return any(
        isinstance(node, Edited | Alternating) or (isinstance(node, Weighted) and changes(node.nodes))
        for node in nodes
    )


def at_step(nodes: Iterable[Node], step: int, count: int) -> tuple[Fragment | Break, ...]:
    """The prompt at a step, from 1, of `count`: `[a:b:3]` is `a` for the first three steps.

    Neighbours of one weight are one fragment, as in the web UI, so that words are split into tokens as they are
    written.
    """
    merged: list[Fragment | Break] = []
    for piece in _flatten(nodes, step, count):
        last = merged[-1] if merged else None
        if isinstance(piece, Fragment) and isinstance(last, Fragment) and last.weight == piece.weight:
            merged[-1] = Fragment(last.text + piece.text, piece.weight)
        else:
            merged.append(piece)
    return tuple(merged) or (Fragment(""),)


def _flatten(nodes: Iterable[Node], step: int, count: int) -> list[Fragment | Break]:
    pieces: list[Fragment | Break] = []
    for node in nodes:
        if isinstance(node, Text):
            first, *rest = _BREAK.split(node.text)
            pieces.append(Fragment(first))
            for part in rest:
                pieces += [Break(), Fragment(part)]
        elif isinstance(node, Weighted):
            pieces += [
                Fragment(piece.text, piece.weight * node.weight) if isinstance(piece, Fragment) else piece
                for piece in _flatten(node.nodes, step, count)
            ]
        elif isinstance(node, Edited):
            chosen = node.before if step <= node.when.steps(count) else node.after
            pieces += _flatten(chosen, step, count)
        else:
            pieces += _flatten(node.options[(step - 1) % len(node.options)], step, count)
    return pieces
