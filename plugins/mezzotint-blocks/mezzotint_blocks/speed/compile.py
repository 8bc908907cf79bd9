"""Compiled blocks: resnets and transformer blocks by torch's inductor, each distinct one once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from mezzotint import hookimpl, shadowed
from mezzotint.errors import PlanError

from ..between_runs import KeepsBetweenRuns

if TYPE_CHECKING:
    from mezzotint import Pipeline, Run

    from .regions import Regions


class Compile(
    KeepsBetweenRuns, name="compile", conflicts=("openvino", "packed-weights", "fused-qkv", "text-kv")
):
    """Compile the U-Net's repeated blocks with torch's inductor. Exact to rounding; needs a C++ compiler on a CPU.

    Takes seconds to a minute once for a model, size and batch, and is kept until `pipe.free()`; blocks of
    the same form share what is compiled. A block that another extension changes inside (token merging, an
    attention hook, LoRA that is not fused) runs uncompiled, and is counted as such. Weights are read at every
    call, so fused LoRA is seen.
    """

    @hookimpl(after=["lora", "bf16", "channels-last", "token-merging"])
    @contextmanager
    def patch_unet(self, unet: Any, pipe: Pipeline) -> Iterator[None]:
        """Let resnets and transformer blocks run compiled."""
        from mezzotint.models.compiler import MISSING, has_compiler

        from .regions import REGIONS, Region

        if not has_compiler(unet.device):
            raise PlanError(f"{MISSING}: packed-weights is faster than plain torch without one")
        regions = _regions(pipe)
        with ExitStack() as stack:
            for module in unet.modules():
                if type(module).__name__ in REGIONS:
                    stack.enter_context(shadowed(module, Region(module, regions)))
            yield

    def begin_run(self, pipe: Pipeline) -> None:
        """Count from here, whatever a run that was interrupted left."""
        _regions(pipe).start()

    @hookimpl
    def latents(self, run: Run) -> None:
        """Say how much was compiled, in this run and before."""
        run.publish(self, **_regions(run.pipe).outputs())


def _regions(pipe: Pipeline) -> Regions:
    from .regions import Regions

    return pipe.resource("compiled regions", Regions)
