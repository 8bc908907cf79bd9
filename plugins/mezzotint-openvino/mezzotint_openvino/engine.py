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

from .content import Watched, content
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
KEPT = 3
"""Weights of which conversions are kept: the model's own, and a LoRA's or two."""


def require_openvino() -> None:
    """Say what to do where OpenVINO is absent.

    Raises:
        PlanError: it is not installed.
    """
    try:
        import openvino  # noqa: F401
    except ImportError as error:
        raise PlanError(f"openvino cannot be imported ({error}); install it: pip install openvino") from None


@dataclass(frozen=True)
class Read:
    """The weights' state and sample when their content was last read, and the content."""

    state: Hashable
    sample: Hashable
    content: str


@dataclass(eq=False)
class Engine:
    """What one pipeline has converted, and what the run that is under way does."""

    converted: dict[str, dict[Hashable, Converted]] = field(default_factory=dict)
    """By content of the weights, the one used last at the end; then by shapes, types and precision."""
    read: Read | None = None
    watched: Watched | None = None
    """The U-Net of the run."""
    wraps: bool = False
    """Whether the forward that it stands in for is another extension's, which a conversion would freeze."""
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
        self.watched = Watched(run.pipe.unet)
        if self.read is not None and self.read.sample != self.watched.sample():
            self.read = None
        self.because = _needed_inside(run, extension, self.wraps)
        if run.pipe.device.type != "cpu":
            self.because = f"the model is on {run.pipe.device}; load it with device='cpu'"
        if self.because:
            logger.warning("openvino: the U-Net runs in torch, because %s", self.because)

    def forward(self, unet: Any, precision: str) -> Callable[..., tuple[Tensor]]:
        """The forward that stands in for the U-Net's own."""
        original = unet.forward
        self.wraps = "forward" in vars(unet)

        def unet_forward(*args: Any, **kwargs: Any) -> tuple[Tensor]:
            weights = None if self.because else self._weights(unet)
            if weights is None:
                self.torch_calls += 1
                answer: tuple[Tensor] = original(*args, **kwargs)
                return answer
            values, spec = tree_flatten((args, kwargs))
            held = [each for each in values if isinstance(each, Tensor)]
            form = tuple((tuple(t.shape), t.dtype) for t in held)
            constants = tuple(repr(each) for each in values if not isinstance(each, Tensor))
            key = (str(spec), constants, form, precision)
            converted = self._of_weights(weights)
            if key not in converted:
                self.conversions += 1
                converted[key] = convert(Flat(unet, original, values, spec), held, precision)
            self.calls += 1
            return (converted[key](held),)

        return unet_forward

    def _of_weights(self, content: str) -> dict[Hashable, Converted]:
        """What is converted of these weights; what has been used least lately goes, as each is a whole model."""
        if content in self.converted:
            self.converted[content] = self.converted.pop(content)
        elif len(self.converted) == KEPT:
            del self.converted[next(iter(self.converted))]
        return self.converted.setdefault(content, {})

    def _weights(self, unet: Any) -> str | None:
        """The weights' content, or `None` if it has changed since the run began."""
        if self.watched is None or not self.watched.weights.are_in_place():
            self.watched = Watched(unet)
        touched = self.watched.touched()
        if self.read is None or self.read.state != touched:
            self.read = Read(touched, self.watched.sample(), content(unet))
        if self.of_run and self.of_run != self.read.content:
            self.because = "an extension changes the weights during the run"
            logger.warning("openvino: the U-Net goes on in torch, because %s", self.because)
            return None
        self.of_run = self.read.content
        return self.of_run

    def outputs(self) -> dict[str, Any]:
        """What the extension publishes."""
        return {
            "calls": self.calls,
            "torch_calls": self.torch_calls,
            "conversions": self.conversions,
            "because": self.because,
        }


def _needed_inside(run: Run, extension: Extension, wraps: bool) -> str:
    """Which extensions of the run need the U-Net in torch, as a clause; empty if none does.

    Args:
        wraps: whether one of them put another forward on the U-Net before.
    """
    needs: dict[str, list[str]] = {}
    for point in INSIDE:
        for entry in run.plan.points.get(point, ()):
            needs.setdefault(entry.label, []).append(point)
    changed = wraps or _changed_inside(run.pipe.unet)
    if changed:
        for entry in run.plan.points.get("patch_unet", ()):
            if entry.use.extension is not extension and entry.label not in needs:
                needs[entry.label] = ["patch_unet"]
    clauses = [f"{label} needs its inside ({', '.join(points)})" for label, points in needs.items()]
    if changed and not clauses:
        return "a forward or a hook in it is not its own"
    return " and ".join(clauses)


def _changed_inside(unet: Any) -> bool:
    """Whether a module inside of the U-Net has another forward or a hook, which a conversion would freeze."""
    return any(
        "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks
        for module in unet.modules()
        if module is not unet
    )
