"""What a trace keeps, and its forms: a table, comma-separated values, a Chrome trace."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .change import Change

COLUMNS = ("extension", "hook_point", "place", "step", "seconds", "relative_change", "largest_change", "note")


@dataclass(frozen=True)
class Entry:
    """One call of one hook."""

    label: str
    point: str
    place: str
    step: int | None
    """From 0; `None` before and after the loop."""
    started: float
    seconds: float
    change: Change


@dataclass(frozen=True)
class Span:
    """A part of the run that is no hook: a step, or a block of the U-Net."""

    name: str
    lane: str
    started: float
    seconds: float


@dataclass(eq=False)
class Ledger:
    """Entries and spans of one run, in the order in which they ended."""

    entries: list[Entry] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    def totals(self) -> list[dict[str, Any]]:
        """One row for each extension and hook point: calls, seconds, mean relative and largest change, notes."""
        groups: dict[tuple[str, str], list[Entry]] = {}
        for entry in self.entries:
            groups.setdefault((entry.label, entry.point), []).append(entry)
        return [_total(label, point, entries) for (label, point), entries in groups.items()]

    def table(self) -> str:
        """The totals as text."""
        from rich.console import Console
        from rich.table import Table

        table = Table(
            "extension",
            "hook point",
            "calls",
            "ms",
            "relative change",
            "largest",
            "",
            box=None,
            pad_edge=False,
        )
        for row in self.totals():
            table.add_row(
                row["extension"],
                row["hook_point"],
                str(row["calls"]),
                f"{1000 * row['seconds']:.2f}",
                _number(row["relative_change"]),
                _number(row["largest_change"]),
                row["note"],
            )
        text = io.StringIO()
        Console(file=text, width=160, color_system=None).print(table)
        return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())

    def comma_separated(self) -> str:
        """Every call, one line each."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for entry in self.entries:
            of, numbers = entry.change, (entry.seconds, entry.change.relative, entry.change.largest)
            shown = ["" if number is None else f"{number:.6g}" for number in numbers]
            step = "" if entry.step is None else entry.step
            writer.writerow([entry.label, entry.point, entry.place, step, *shown, of.note])
        return text.getvalue()

    def chrome(self) -> str:
        """For chrome://tracing and ui.perfetto.dev: one lane for steps, one for blocks, one for each extension.

        Complete events of the Trace Event Format; times in microseconds since the first event.
        """
        began = min((one.started for one in (*self.entries, *self.spans)), default=0.0)
        lanes = list(
            dict.fromkeys(lane for lane in (*(s.lane for s in self.spans), *(e.label for e in self.entries)))
        )

        def event(
            name: str, lane: str, started: float, seconds: float, args: dict[str, Any]
        ) -> dict[str, Any]:
            return {
                "name": name,
                "cat": lane,
                "ph": "X",
                "ts": round(1e6 * (started - began), 3),
                "dur": round(1e6 * seconds, 3),
                "pid": 1,
                "tid": lanes.index(lane) + 1,
                "args": args,
            }

        names = [
            {"name": "thread_name", "ph": "M", "pid": 1, "tid": number, "args": {"name": lane}}
            for number, lane in enumerate(lanes, 1)
        ]
        spans = [event(span.name, span.lane, span.started, span.seconds, {}) for span in self.spans]
        calls = [
            event(f"{e.point} {e.place}".strip(), e.label, e.started, e.seconds, _arguments(e))
            for e in self.entries
        ]
        events = sorted((*spans, *calls), key=lambda one: (one["ts"], -one["dur"]))
        return json.dumps({"traceEvents": [*names, *events], "displayTimeUnit": "ms"})


def _total(label: str, point: str, entries: Sequence[Entry]) -> dict[str, Any]:
    relative = _present(entry.change.relative for entry in entries)
    largest = _present(entry.change.largest for entry in entries)
    notes = dict.fromkeys(entry.change.note for entry in entries if entry.change.note)
    idle = len(relative) == len(entries) and not any(relative)
    return {
        "extension": label,
        "hook_point": point,
        "calls": len(entries),
        "seconds": sum(entry.seconds for entry in entries),
        "relative_change": sum(relative) / len(relative) if relative else None,
        "largest_change": max(largest, default=None),
        "note": "changed nothing" if idle else "; ".join(notes),
    }


def _present(numbers: Iterable[float | None]) -> list[float]:
    return [number for number in numbers if number is not None]


def _arguments(entry: Entry) -> dict[str, Any]:
    change = entry.change
    facts = {
        "step": entry.step,
        "relative change": _in_json(change.relative),
        "largest change": _in_json(change.largest),
    }
    return {key: value for key, value in (*facts.items(), ("note", change.note)) if value not in (None, "")}


def _in_json(number: float | None) -> float | str | None:
    """JSON has no number for infinity, and none for what is none."""
    return number if number is None or math.isfinite(number) else str(number)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
