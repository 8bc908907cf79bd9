"""The extension that keeps the ledger of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from mezzotint import Block, Extension, Field, HookCall, Run, TextFile, hookimpl

from ...several import Several
from .change import change
from .ledger import Entry, Ledger, Span

if TYPE_CHECKING:
    from torch import Tensor

STEPS, BLOCKS, MEASURING = "steps", "U-Net blocks", "trace itself"


class Trace(Extension, name="trace"):
    """Which extension changed what, by how much and in how much time, for each hook point and step.

    Publishes `ledger` (in Python), `table` (.txt, totals), `calls` (.csv, every call) and `chrome` (.json,
    for chrome://tracing or ui.perfetto.dev). Changes no bit of the picture. Comparing values takes time, which has a
    lane of its own; on a GPU times are those of launching work, not of the work.
    """

    blocks: Several = Field(
        ("down.*", "mid", "up.*"), description="U-Net blocks whose time is shown in the Chrome trace"
    )

    @hookimpl
    def hook_called(self, call: HookCall, run: Run) -> None:
        """One line of the ledger."""
        records = run.state(self, Records)
        if call.label == records.label_of(self, run):
            return
        started = perf_counter()
        step = None if run.step is None else run.step.index
        records.ledger.entries.append(
            Entry(
                call.label,
                call.point,
                call.place,
                step,
                call.started,
                call.seconds,
                change(call.before, call.after),
            )
        )
        records.ledger.spans.append(Span("compare", MEASURING, started, perf_counter() - started))
        if records.after_the_loop:
            # What comes after this extension's own last hook is to be in it as well.
            records.publish(self, run)

    @hookimpl
    def step_begin(self, run: Run) -> None:
        """A step begins."""
        run.state(self, Records).begin(STEPS)

    @hookimpl
    def step_end(self, run: Run) -> None:
        """A step ends."""
        run.state(self, Records).end(STEPS, f"step {run.step.index}")  # type: ignore[union-attr]

    @hookimpl(at=lambda self: self.blocks)
    def unet_block_input(self, block: Block, run: Run) -> None:
        """A block begins."""
        run.state(self, Records).begin(block.name)

    @hookimpl(at=lambda self: self.blocks)
    def unet_block_output(self, block: Block, run: Run) -> None:
        """A block ends."""
        run.state(self, Records).end(block.name, block.name, BLOCKS)

    @hookimpl
    def latents(self, latents: Tensor, run: Run) -> None:
        """The loop is over."""
        run.state(self, Records).after_the_loop = True

    @hookimpl
    def images(self, run: Run) -> None:
        """Publish all forms."""
        run.state(self, Records).publish(self, run)


@dataclass(eq=False)
class Records:
    """What one run has so far."""

    ledger: Ledger = field(default_factory=Ledger)
    after_the_loop: bool = False
    _begun: dict[str, float] = field(default_factory=dict)
    _label: str = ""

    def label_of(self, trace: Trace, run: Run) -> str:
        """Under which name the run knows this extension."""
        if not self._label:
            self._label = next(use.label for use in run.plan.uses if use.extension is trace)
        return self._label

    def begin(self, name: str) -> None:
        """A span of that name begins."""
        self._begun[name] = perf_counter()

    def end(self, name: str, shown: str, lane: str = "") -> None:
        """It ends."""
        started = self._begun.pop(name)
        self.ledger.spans.append(Span(shown, lane or name, started, perf_counter() - started))

    def publish(self, trace: Trace, run: Run) -> None:
        """The ledger and its forms."""
        ledger = self.ledger
        run.publish(
            trace,
            ledger=ledger,
            table=TextFile(".txt", ledger.table()),
            calls=TextFile(".csv", ledger.comma_separated()),
            chrome=TextFile(".json", ledger.chrome()),
        )
