"""Order at one hook point: `before` and `after` decide, ties go by name, never by installation."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from ..errors import PlanError

Node = TypeVar("Node", bound=Hashable)


def topological(
    nodes: Sequence[Node], edges: Iterable[tuple[Node, Node]], key: Mapping[Node, tuple[str, int]]
) -> list[Node]:
    """Nodes in an order that has every edge `(first, second)` pointing forward, the smallest key first.

    Raises:
        PlanError: the edges form a cycle; it is printed.
    """
    followers: dict[Node, list[Node]] = {node: [] for node in nodes}
    waiting = dict.fromkeys(nodes, 0)
    for first, second in set(edges):
        followers[first].append(second)
        waiting[second] += 1
    rank = {node: position for position, node in enumerate(nodes)}
    ready = [(key[node], rank[node]) for node in nodes if not waiting[node]]
    heapq.heapify(ready)
    ordered = []
    while ready:
        node = nodes[heapq.heappop(ready)[1]]
        ordered.append(node)
        for follower in followers[node]:
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, (key[follower], rank[follower]))
    if len(ordered) < len(nodes):
        remaining = [node for node in nodes if waiting[node]]
        cycle = " → ".join(_label(key[node]) for node in _cycle(remaining, followers))
        raise PlanError(f"before= and after= form a cycle: {cycle}")
    return ordered


def _label(key: tuple[str, int]) -> str:
    name, number = key
    return name if number == 1 else f"{name}#{number}"


def _cycle(nodes: Sequence[Node], followers: Mapping[Node, Sequence[Node]]) -> list[Node]:
    """One cycle among nodes that all wait for each other, first node repeated at the end."""
    members = set(nodes)
    # Every remaining node has a predecessor among the remaining ones: walk backwards until one repeats.
    leader = {second: first for first in nodes for second in followers[first] if second in members}
    path = [nodes[0]]
    while leader[path[-1]] not in path:
        path.append(leader[path[-1]])
    start = path.index(leader[path[-1]])
    return [*reversed([*path[start:], path[start]])]
