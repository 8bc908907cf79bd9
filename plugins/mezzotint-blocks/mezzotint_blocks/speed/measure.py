"""Measuring accelerators on a pipeline: each beside the plain run, turn by turn."""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mezzotint import shadowed
from mezzotint.errors import MezzotintError

from .picture_distance import psnr, ssim

if TYPE_CHECKING:
    from mezzotint import Extension, Pipeline, Result

    from .candidates import Candidate

COUNTED = ("ResnetBlock2D", "Transformer2DModel", "Downsample2D", "Upsample2D")
"""The U-Net's blocks, by class, whose calls are counted."""


@dataclass(frozen=True)
class Measurement:
    """One candidate beside the plain run."""

    label: str
    exact: bool
    """Whether it promises the exact picture, to rounding."""
    seconds: float | None = None
    """Median of a run."""
    speedup: float | None = None
    """Median over rounds of plain seconds / seconds, each round measured side by side."""
    slowest: float | None = None
    fastest: float | None = None
    """Smallest and largest of these ratios."""
    first_seconds: float | None = None
    """The first run, with all that is prepared once."""
    calls_saved: float | None = None
    """Part of the plain run's block calls (one a row) that did not happen."""
    peak_mb: float | None = None
    """Most memory during a run: of the process on a CPU, of torch's allocations on a GPU."""
    psnr: float | None = None
    """dB to the plain run's pictures; infinite if equal."""
    ssim: float | None = None
    equal: bool | None = None
    """Whether the latents are equal bit for bit."""
    problem: str = ""
    """Why there are no numbers."""

    def plain(self) -> dict[str, Any]:
        """For JSON: an infinite ratio becomes the word."""
        values = asdict(self)
        return {**values, "psnr": "inf" if self.psnr == float("inf") else self.psnr}


def measure(
    pipe: Pipeline,
    candidate: Candidate,
    prompt: str,
    options: dict[str, Any],
    rounds: int,
    ran: Callable[[], None] = lambda: None,
) -> Measurement:
    """Run a candidate and the plain pipeline in turn, `rounds` times each, after one run of each that counts not.

    Args:
        options: of the call; with a seed.
        ran: called after each run.
    """
    if candidate.skipped:
        return Measurement(candidate.label, candidate.exact, problem=candidate.skipped)
    plain = _Runner(pipe, prompt, options, (), ran)
    fast = _Runner(pipe, prompt, options, candidate.extensions, ran)
    try:
        exact, calls = plain.counted()
        # Apart, as what is counted is neither recorded, compiled nor converted.
        _, own_calls = fast.counted()
        began = time.perf_counter()
        result = fast.result()
        first = time.perf_counter() - began
        times = [
            (plain.seconds(), fast.seconds()) if turn % 2 else _swapped(fast.seconds(), plain.seconds())
            for turn in range(rounds)
        ]
        with peak_memory(pipe.device) as peak:
            fast.seconds()
    except MezzotintError as error:
        return Measurement(candidate.label, candidate.exact, problem=str(error))
    except Exception as error:
        # One that fails must not end the measuring of the others.
        return Measurement(candidate.label, candidate.exact, problem=f"{type(error).__name__}: {error}")
    ratios = [a / b for a, b in times]
    saved = 1 - own_calls / calls
    return Measurement(
        candidate.label,
        candidate.exact,
        seconds=statistics.median(b for _, b in times),
        speedup=statistics.median(ratios),
        slowest=min(ratios),
        fastest=max(ratios),
        first_seconds=first,
        calls_saved=saved,
        peak_mb=peak(),
        psnr=psnr(result.images, exact.images),
        ssim=ssim(result.images, exact.images),
        equal=bool(torch.equal(result.latents, exact.latents)),
    )


def _swapped(first: float, second: float) -> tuple[float, float]:
    return second, first


@dataclass(frozen=True)
class _Runner:
    pipe: Pipeline
    prompt: str
    options: dict[str, Any]
    use: Sequence[Extension]
    ran: Callable[[], None]

    def seconds(self) -> float:
        """Of one run; extensions are attached beforehand, as a command that makes several pictures does."""
        with self.pipe.using(*self.use) if self.use else nullcontext():
            began = time.perf_counter()
            self.pipe(self.prompt, **self.options)
            seconds = time.perf_counter() - began
        self.ran()
        return seconds

    def result(self) -> Result:
        """Of one run."""
        result = self.pipe(self.prompt, use=list(self.use), **self.options)
        self.ran()
        return result

    def counted(self) -> tuple[Result, int]:
        """The result of one run, and how many rows went through the U-Net's blocks."""
        with counted_calls(self.pipe.unet) as calls, _silent():
            return self.result(), calls()


@contextmanager
def _silent() -> Iterator[None]:
    """Engines say that they leave the U-Net to torch where its blocks are counted."""
    logger = logging.getLogger("mezzotint")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def counted_calls(unet: Any) -> Iterator[Callable[[], int]]:
    """Rows that went through resnets, transformers and samplers, counted below whatever is put around them."""
    rows: list[int] = []

    def counting(forward: Callable[..., Any]) -> Callable[..., Any]:
        def block_forward(hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
            rows.append(hidden_states.shape[0])
            return forward(hidden_states, *args, **kwargs)

        return block_forward

    with ExitStack() as stack:
        for module in unet.modules():
            if type(module).__name__ in COUNTED:
                stack.enter_context(shadowed(module, counting(module.forward)))
        yield lambda: sum(rows)


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Callable[[], float | None]]:
    """Most memory in MB while inside; asked for afterwards. `None` where it cannot be read."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: torch.cuda.max_memory_allocated(device) / 2**20
        return
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield lambda: None
        return
    seen: list[int] = [0]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.002):
            seen[0] = max(seen[0], int(statm.read_text().split()[1]))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: seen[0] * _page_size() / 2**20
    finally:
        stop.set()
        thread.join()


def _page_size() -> int:
    import resource

    return resource.getpagesize()
