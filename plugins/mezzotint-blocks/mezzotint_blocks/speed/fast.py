"""`--fast`: what the machine at hand does fast, chosen and said."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mezzotint import Extension, Field, hookimpl

from ..between_runs import KeepsBetweenRuns
from ..caches.text_kv import TextKV
from .bf16 import BFloat16
from .channels_last import ChannelsLast
from .compile import Compile
from .fused_qkv import FusedQKV
from .packed_weights import PackedWeights
from .recorded_unet import RecordedUNet

if TYPE_CHECKING:
    from mezzotint import Pipeline, Run

    from .machine import Machine

logger = logging.getLogger("mezzotint")

PARTS = ("bf16", "channels-last", "compile", "fused-qkv", "packed-weights", "text-kv", "recorded-unet")
"""Extensions that `fast` brings itself."""
SMALL = 50_000_000
"""Parameters of a U-Net below which Python between its operations costs more than the layout of its weights."""


@dataclass(frozen=True)
class Choice:
    """What to switch on, and why."""

    parts: tuple[Extension, ...]
    reasons: tuple[str, ...]
    """One for each part."""

    def __str__(self) -> str:
        chosen = (
            f"{part.extension_name} ({why})" for part, why in zip(self.parts, self.reasons, strict=True)
        )
        return ", ".join(chosen)


class Fast(Extension, name="fast", conflicts=(*PARTS, "openvino")):
    """Run as fast as this machine can, and say how: memory format, weights, text cache; bfloat16 where it is native.

    Exact to rounding on a machine without native bfloat16, or with `exact`. Does not leave anything out;
    add deepcache or token-merging for that.
    """

    exact: bool = Field(False, description="no bfloat16, even where it is fast")
    compile: bool = Field(False, description="also compile: up to a minute the first time, then faster")

    @hookimpl(after=["lora"])
    @contextmanager
    def patch_unet(self, unet: Any, pipe: Pipeline) -> Iterator[None]:
        """Enter what is chosen."""
        choice = self.choose(pipe)
        logger.info("fast: %s", choice)
        with ExitStack() as stack:
            for part in choice.parts:
                stack.enter_context(_patch(part, unet, pipe))
            yield

    def choose(self, pipe: Pipeline) -> Choice:
        """What is fast for a pipeline, here."""
        from .machine import this_machine

        small = sum(weight.numel() for weight in pipe.unet.parameters()) < SMALL
        return choose(this_machine(pipe.device), exact=self.exact, compile_blocks=self.compile, small=small)

    @hookimpl
    def timesteps(self, run: Run) -> None:
        """What the parts do at the start of a run."""
        for part in self.choose(run.pipe).parts:
            if isinstance(part, KeepsBetweenRuns):
                part.begin_run(run.pipe)

    @hookimpl
    def latents(self, run: Run) -> None:
        """Say what was chosen."""
        choice = self.choose(run.pipe)
        names = [part.extension_name for part in choice.parts]
        run.publish(self, chosen=dict(zip(names, choice.reasons, strict=True)))


def choose(machine: Machine, *, exact: bool, compile_blocks: bool, small: bool) -> Choice:
    """What to switch on for a machine. A function of its arguments alone."""
    chosen: dict[Extension, str] = {}
    if machine.fast_bf16 and not exact:
        chosen[BFloat16()] = "native here"
    packs = machine.device == "cpu" and machine.onednn and not (small or compile_blocks or chosen)
    if packs:
        chosen[PackedWeights()] = "oneDNN on a CPU"
    elif machine.device == "cuda" or chosen:
        chosen[ChannelsLast()] = "what convolutions read fastest here"
    if compile_blocks:
        chosen[Compile()] = "asked for"
    elif small:
        chosen[RecordedUNet()] = "a small model"
    else:
        chosen[FusedQKV()] = "one multiplication for three"
        chosen[TextKV()] = "once for a prompt"
    return Choice(tuple(chosen), tuple(chosen.values()))


def _patch(part: Any, unet: Any, pipe: Pipeline) -> Any:
    import inspect

    accepted = inspect.signature(part.patch_unet).parameters
    values = {"unet": unet, "pipe": pipe}
    return part.patch_unet(**{name: values[name] for name in accepted})
