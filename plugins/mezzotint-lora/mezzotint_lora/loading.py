"""What a `LoRA` needs to be put on a pipeline: the file, read and fitted once for its content, and weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .blocks import weights_by_module
from .errors import LoRAError, no_such_file
from .files import read_adapter
from .fitting import Fit, Report, demand, fit
from .names import Names
from .stack import Stack, Use

if TYPE_CHECKING:
    from mezzotint import Pipeline

    from .extension import LoRA


@dataclass(frozen=True, eq=False)
class Loaded:
    """A LoRA that fits a pipeline."""

    order: str
    fit: Fit
    weights: dict[tuple[str, str], float]
    """(component, module path) → multiplier."""
    report: Report


def loaded(lora: LoRA, pipe: Pipeline, demanding: bool = True) -> Loaded:
    """The LoRA's file on this pipeline's models.

    Args:
        demanding: refuse a file that does not fit, as the LoRA says.

    Raises:
        LoRAError: it cannot be read, is for another family or matches nothing at all; or a key does not fit and
            `strict` is set.
    """
    order = lora.files().get("path", "")
    if not order:
        raise no_such_file(lora.path)
    fitted = pipe.resource(("mezzotint-lora file", order), lambda: _fit(lora.path, pipe))
    if demanding:
        demand(fitted, lora.path, lora.strict)
    modules = [(component, path) for component, deltas in fitted.deltas.items() for path in deltas]
    factors = weights_by_module(lora.blocks, modules)
    text = lora.weight if lora.text_encoder_weight is None else lora.text_encoder_weight
    weights = {
        (component, path): (lora.weight if component == "unet" else text) * factor
        for (component, path), factor in factors.items()
    }
    return Loaded(order, fitted, weights, _with_skipped(fitted, weights, lora))


def use_of(ready: Loaded, component: str, fuse: bool, rank: int) -> Use:
    """What goes on one model.

    Raises:
        LoRAError: there is no room for its rank.
    """
    from .deltas import rank_of

    deltas = ready.fit.deltas.get(component, {})
    weights = {path: ready.weights[component, path] for path in deltas}
    highest = max((rank_of(delta) for delta in deltas.values() if delta.kind == "lora"), default=0)
    if rank and highest > rank:
        raise LoRAError(
            f"swap_rank={rank} leaves no room for this LoRA's rank of {highest}; make it {highest} or more"
        )
    return Use(ready.order, deltas, weights, fuse, rank)


def models_of(pipe: Pipeline) -> dict[str, Any]:
    """The models of a pipeline that a LoRA may change, by component."""
    return {"unet": pipe.unet, **{name: encoder.model for name, encoder in pipe.text_encoders.items()}}


def stack_of(component: str, model: Any, pipe: Pipeline) -> Stack:
    """All adapters on one model of the pipeline; it outlives a run, so that layers are found again."""
    stack: Stack = pipe.resource(("mezzotint-lora stack", component), lambda: Stack(model))
    return stack


def _fit(path: Path, pipe: Pipeline) -> Fit:
    models = models_of(pipe)
    names = {
        component: pipe.resource(("mezzotint-lora names", component), lambda model=model: Names.of(model))
        for component, model in models.items()
    }
    return fit(read_adapter(path), models, names)


def _with_skipped(fitted: Fit, weights: dict[tuple[str, str], float], lora: LoRA) -> Report:
    """The report, with what has a weight of 0 among the skipped."""
    skipped = {}
    for (component, path), weight in weights.items():
        if weight == 0:
            for key in fitted.deltas[component][path].keys:
                skipped[key] = f"its weight is 0 in {lora}"
    report = fitted.report
    applied = {key: module for key, module in report.applied.items() if key not in skipped}
    return Report(applied, {**report.skipped, **skipped}, report.unknown, report.problem)
