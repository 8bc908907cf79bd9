"""`Calls` for runs in which an extension implements `hook_called`: the same answers, each of them reported.

Other runs use `Calls` itself, so that watching costs nothing where nobody watches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from ..hooks.blocks import Block, BlockOutput
from ..hooks.conditioning import Pass
from ..hooks.hook_call import HookCall
from .calls import Calls
from .plan import Entry, Plan
from .returns import check_nothing, writes_to, written_into

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from ..hooks.guidance import Guidance
    from ..pipeline.pipeline import Pipeline
    from ..pipeline.run import Run
    from ..unet.attention import AttentionProcessor

Value = TypeVar("Value")


def calls_of(plan: Plan) -> Calls:
    """The calls of a plan, watched if an extension in it watches."""
    return WatchedCalls(plan) if "hook_called" in plan.points else Calls(plan)


class WatchedCalls(Calls):
    """Every call of an implementation is timed and shown to the extensions that watch."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._before_the_run: list[HookCall] = []

    def patches(
        self, point: str, name: str, model: Module, pipe: Pipeline
    ) -> list[tuple[Entry, Callable[[], AbstractContextManager[Any] | None]]]:
        """As `Calls.patches`; entering is timed, and reported once there is a run."""
        return [
            (entry, partial(self._timed, entry, make))
            for entry, make in super().patches(point, name, model, pipe)
        ]

    def guidance(self, run: Run) -> Guidance | None:
        """As `Calls.guidance`; each combination is reported."""
        guidance = super().guidance(run)
        if guidance is None:
            return None
        return _WatchedGuidance(self, self._entries["guidance"][0], guidance)

    def attention_processor(self, layer: Block, run: Run) -> AttentionProcessor | None:
        """As `Calls.attention_processor`; each call of the processor is reported."""
        processor = super().attention_processor(layer, run)
        if processor is None:
            return None
        entry = self._at["attention_processor", layer.name][0]

        def watched(attn: Module, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            started = perf_counter()
            answer: Tensor = processor(attn, hidden_states, *args, **kwargs)
            self.report(entry, None, answer, started, perf_counter() - started, run, layer.name)
            return answer

        return watched

    def _ask(
        self, entry: Entry, values: Mapping[str, Any], run: Run, check: Callable[[Entry, Any], Value]
    ) -> Value | None:
        inside = _Inside(values["forward"]) if entry.point == "unet_block" else None
        started = perf_counter()
        answer = super()._ask(entry, values if inside is None else {**values, "forward": inside}, run, check)
        seconds = perf_counter() - started
        before = _before(entry.point, values) if inside is None else inside.gave
        if inside is not None:
            seconds -= inside.seconds
        place = values.get("block") or values.get("layer")
        after = before if answer is None else answer
        self.report(entry, before, after, started, seconds, run, "" if place is None else place.name)
        return answer

    def _chain(
        self,
        point: str,
        name: str,
        values: dict[str, Any],
        run: Run,
        check: Callable[[Entry, Any, Any], Any],
    ) -> Any:
        for entry in self._entries.get(point, ()):
            before, writes = values[name], writes_to(values[name])
            started = perf_counter()
            answer = super()._ask(entry, values, run, _against(before, check))
            seconds = perf_counter() - started
            if writes_to(before) != writes:
                raise written_into([entry], name)
            if answer is not None:
                values[name] = answer
            self.report(entry, before, values[name], started, seconds, run)
        return values[name]

    def report(
        self,
        entry: Entry,
        before: Any,
        after: Any,
        started: float,
        seconds: float,
        run: Run,
        place: str = "",
    ) -> None:
        """Show one call to every extension that watches, after what was waiting for a run."""
        waiting, self._before_the_run = self._before_the_run, []
        for call in (*waiting, HookCall(entry.point, entry.label, place, before, after, started, seconds)):
            values = {"call": call, "run": run}
            for watcher in self._entries["hook_called"]:
                super()._ask(watcher, values, run, check_nothing)

    @contextmanager
    def _timed(self, entry: Entry, make: Callable[[], AbstractContextManager[Any] | None]) -> Iterator[None]:
        started = perf_counter()
        context = make()
        if context is None:
            yield
            return
        with context:
            seconds = perf_counter() - started
            self._before_the_run.append(HookCall(entry.point, entry.label, "", None, None, started, seconds))
            yield


class _Inside:
    """A block's own forward: how long it took and what it gave."""

    def __init__(self, forward: Callable[[Tensor], BlockOutput]) -> None:
        self._forward = forward
        self.seconds = 0.0
        self.gave: BlockOutput | None = None

    def __call__(self, hidden_states: Tensor) -> BlockOutput:
        started = perf_counter()
        self.gave = self._forward(hidden_states)
        self.seconds += perf_counter() - started
        return self.gave


class _WatchedGuidance:
    """An extension's guidance, each combination reported."""

    def __init__(self, calls: WatchedCalls, entry: Entry, guidance: Guidance) -> None:
        self._calls = calls
        self._entry = entry
        self._guidance = guidance

    def passes(self, run: Run) -> tuple[Pass, ...]:
        return self._guidance.passes(run)

    def combine(self, predictions: Mapping[str, Tensor], run: Run) -> Tensor:
        started = perf_counter()
        answer = self._guidance.combine(predictions, run)
        seconds = perf_counter() - started
        self._calls.report(self._entry, predictions.get("positive"), answer, started, seconds, run)
        return answer


def _against(like: Any, check: Callable[[Entry, Any, Any], Any]) -> Callable[[Entry, Any], Any]:
    """A check of an answer against what it replaces."""
    return lambda entry, answer: check(entry, answer, like)


def _before(point: str, values: Mapping[str, Any]) -> Any:
    """What an implementation that is asked, rather than handed a chain's value, could change."""
    if point in ("unet_block_input", "unet_block_output"):
        return BlockOutput(values["hidden_states"], values["skips"])
    return values["noise"] if point == "initial_latents" else None
