"""The card of a subject: what a person choosing a solver wants to know, out of the findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .finding import Finding
from .subject import Subject


@dataclass(frozen=True)
class Card:
    """Lines of name and value; `str` is for people, `as_dict` for programs."""

    name: str
    lines: Mapping[str, str]
    numbers: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """The measured numbers by check and quantity, as plain data."""
        return {"name": self.name, **self.numbers}

    def __str__(self) -> str:
        width = max((len(line) for line in self.lines), default=0)
        return "\n".join([self.name, *(f"  {line:<{width}}  {text}" for line, text in self.lines.items())])


def make_card(subject: Subject, findings: Sequence[Finding]) -> Card:
    """The card of what has been measured; lines of what has not are left out."""
    numbers = {
        f"{finding.check}: {quantity}": value
        for finding in findings
        for quantity, value in finding.numbers.items()
    }
    lines: dict[str, str] = {}
    for line, check, quantity in (
        ("order", "order", "order"),
        ("weak order", "weak-order", "weak order"),
    ):
        found = [numbers.get(f"{check}-{grid}: {quantity}") for grid in ("exponential", "alternating")]
        if None not in found:
            declared = "" if subject.accuracy_order is None else f" (declared {subject.accuracy_order})"
            lines[line] = f"{found[0]:.2f} on exponential, {found[1]:.2f} on alternating 1:3 grids{declared}"
    if "eta-zero: order" in numbers:
        lines["with eta = 0"] = f"order {numbers['eta-zero: order']:.2f} on alternating 1:3 grids"
    for check in ("order-exponential", "weak-order-exponential"):
        if f"{check}: error" in numbers:
            what = "variance" if check.startswith("weak") else "sample"
            lines["error"] = (
                f"{numbers[f'{check}: error']:.1e} in the {what} at n = {numbers[f'{check}: steps']:.0f}"
            )
    if "last-jump: last jump" in numbers:
        lines["last jump"] = f"errs by {numbers['last-jump: last jump']:.1e} from σ_min to 0"
    if "evaluations: evaluations" in numbers:
        lines["evaluations"] = f"{numbers['evaluations: evaluations']:.2f} a step"
    if "stability: bounded from" in numbers:
        lines["stable"] = (
            f"from {numbers['stability: bounded from']:.0f} steps on (steps of log σ up to "
            f"{numbers['stability: longest step']:.2f}); within 10 % from {numbers['stability: accurate from']:.0f} on"
        )
    if "strictly-decreasing: refused from" in numbers:
        lines["most steps"] = f"refuses some from {numbers['strictly-decreasing: refused from']:.0f} on"
    lines["checks"] = _count(findings)
    return Card(subject.name, lines, numbers)


def _count(findings: Sequence[Finding]) -> str:
    outcomes = [finding.outcome for finding in findings]
    failed = [finding.check for finding in findings if finding.outcome == "failed"]
    text = f"{outcomes.count('passed')} passed, {len(failed)} failed"
    if failed:
        text += f" ({', '.join(failed)})"
    return f"{text}, {outcomes.count('not applicable')} not applicable"
