"""Where the U-Net of a pipeline runs: in OpenVINO, or in torch where something needs its inside."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mezzotint.errors import PlanError
from torch import Tensor
from torch.utils._pytree import tree_flatten

from .content import content, weights_touched
from .conversion import Converted, Flat, convert

if TYPE_CHECKING:
    from mezzotint import Extension, Run

logger = logging.getLogger("mezzotint")

INSIDE = (
    "time_embedding",
    "unet_block_input",
    "unet_block",
    "unet_block_output",
    "attention_probe",
    "attention_processor",
    "cross_attention_tokens",
)
"""Hook points inside of the U-Net."""


def require_openvino() -> None:
    """Say what to do where OpenVINO is absent.

    Raises:
        PlanError: it is not installed.
    """
    try:
        import openvino  # noqa: F401
    except ImportError as error:
        raise PlanError(f"openvino cannot be imported ({error}); install it: pip install openvino") from None


@dataclass(eq=False)
class Engine:
    """What one pipeline has converted, and what the run that is under way does."""

    converted: dict[Hashable, Converted] = field(default_factory=dict)
    """By content of the weights, shapes, types and precision."""
    digest: tuple[Hashable, str] | None = None
    """The weights' state when their content was last read, and the content."""
    run: Callable[[], Run | None] = lambda: None
    """The run that is under way. A weak reference: one that was interrupted is not kept alive."""
    because: str = ""
    """Why this run's U-Net is in torch; empty where it is in OpenVINO."""
    of_run: str = ""
    """Content of the weights at the first step."""
    calls: int = 0
    torch_calls: int = 0
    conversions: int = 0

    def begin(self, run: Run, extension: Extension) -> None:
        """A step begins; at the first one of a run, see who needs the inside of the U-Net."""
        if run is self.run():
            return
        self.run, self.of_run = weakref.ref(run), ""
        self.calls = self.torch_calls = self.conversions = 0
        self.because = _needed_inside(run, extension)
        if run.pipe.device.type != "cpu":
            self.because = f"the model is on {run.pipe.device}; load it with device='cpu'"
        if self.because:
            logger.warning("openvino: the U-Net runs in torch, because %s", self.because)

    def forward(self, unet: Any, precision: str) -> Callable[..., tuple[Tensor]]:
        """The forward that stands in for the U-Net's own."""
        original = unet.forward

        def unet_forward(*args: Any, **kwargs: Any) -> tuple[Tensor]:
            key = None if self.because else self._weights(unet)
            if key is None:
                self.torch_calls += 1
                answer: tuple[Tensor] = original(*args, **kwargs)
                return answer
            values, spec = tree_flatten((args, kwargs))
            held = [each for each in values if isinstance(each, Tensor)]
            form = tuple((tuple(t.shape), t.dtype) for t in held)
            constants = tuple(repr(each) for each in values if not isinstance(each, Tensor))
            key = (key, str(spec), constants, form, precision)
            if key not in self.converted:
                self.conversions += 1
                self.converted[key] = convert(Flat(unet, original, values, spec), held, precision)
            self.calls += 1
            return (self.converted[key](held),)

        return unet_forward

    def _weights(self, unet: Any) -> str | None:
        """The weights' content, or `None` if it has changed since the run began."""
        touched = weights_touched(unet)
        if self.digest is None or self.digest[0] != touched:
            self.digest = (touched, content(unet))
        if self.of_run and self.of_run != self.digest[1]:
            self.because = "an extension changes the weights during the run"
            logger.warning("openvino: the U-Net goes on in torch, because %s", self.because)
            return None
        self.of_run = self.digest[1]
        return self.of_run

    def outputs(self) -> dict[str, Any]:
        """What the extension publishes."""
        return {
            "calls": self.calls,
            "torch_calls": self.torch_calls,
            "conversions": self.conversions,
            "because": self.because,
        }


def _needed_inside(run: Run, extension: Extension) -> str:
    """Which extensions of the run need the blocks, as a clause; empty if none does."""
    needs: dict[str, list[str]] = {}
    for point in INSIDE:
        for entry in run.plan.points.get(point, ()):
            needs.setdefault(entry.label, []).append(point)
    if _changed_inside(run.pipe.unet):
        for entry in run.plan.points.get("patch_unet", ()):
            if entry.use.extension is not extension and entry.label not in needs:
                needs[entry.label] = ["patch_unet"]
    clauses = [f"{label} needs its inside ({', '.join(points)})" for label, points in needs.items()]
    return " and ".join(clauses)


def _changed_inside(unet: Any) -> bool:
    """Whether a module inside of the U-Net has another forward or a hook, which a conversion would freeze."""
    return any(
        "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks
        for module in unet.modules()
        if module is not unet
    )
