"""A LoRA file on a model: which key goes where, with every key accounted for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from .adapter import Adapter, Delta, Target
from .deltas import ShapeError, check_fits
from .errors import LoRAError
from .families import describe_model, guess_family, text_width
from .names import Names
from .printable import printable

if TYPE_CHECKING:
    from torch.nn import Module

SHOWN = 3
"""Reasons that an error shows of many."""


@dataclass(frozen=True)
class Report:
    """What became of each key of a file."""

    applied: Mapping[str, str]
    """Key → the module that it changes, such as `unet.mid_block.attentions.0.proj_in`."""
    skipped: Mapping[str, str]
    """Key → why it is left out though it is understood."""
    unknown: Mapping[str, str]
    """Key → what is wrong about it."""
    problem: str = ""
    """Why the file does not fit as a whole, or nothing."""

    @property
    def fits(self) -> bool:
        """Whether everything is applied or skipped for a reason."""
        return not self.problem and not self.unknown

    def __str__(self) -> str:
        lines = [
            f"{len(self.applied)} keys applied, {len(self.skipped)} skipped, {len(self.unknown)} unknown"
        ]
        lines += [f"skipped  {key}: {why}" for key, why in self.skipped.items()]
        lines += [f"unknown  {key}: {why}" for key, why in self.unknown.items()]
        return "\n".join(map(printable, [*([self.problem] if self.problem else []), *lines]))


@dataclass(frozen=True, eq=False)
class Fit:
    """The deltas of an adapter by component and module path, and the report."""

    deltas: Mapping[str, Mapping[str, Delta]]
    report: Report


def fit(adapter: Adapter, models: Mapping[str, Module], names: Mapping[str, Names] | None = None) -> Fit:
    """Find the module of each delta and check its shapes; nothing is computed, nothing is changed.

    Args:
        models: the models of a pipeline by component.
        names: `Names.of` each of them, if they are at hand.
    """
    names = names or {component: Names.of(model) for component, model in models.items()}
    fitted: dict[str, dict[str, Delta]] = {component: {} for component in models}
    applied: dict[str, str] = {}
    unknown: dict[str, str] = dict(adapter.unread)
    for target, delta in adapter.deltas.items():
        why = _misfit(target, delta, models, names, fitted)
        if why:
            unknown.update(dict.fromkeys(delta.keys or (str(target),), why))
            continue
        path = names[target.component].spellings[target.module]
        fitted[target.component][path] = delta
        applied.update(dict.fromkeys(delta.keys or (str(target),), f"{target.component}.{path}"))
    problem = _problem(adapter, models, applied)
    return Fit(fitted, Report(applied, {}, unknown, problem))


def demand(fitted: Fit, path: object, strict: bool) -> None:
    """Insist that the file is for this model.

    Args:
        strict: and that every key of it fits.

    Raises:
        LoRAError: the file is for another family, or matches nothing; or, with `strict`, a key is unknown, twice
            there or of another shape.
    """
    report = fitted.report
    if report.problem:
        raise LoRAError(f"{path} {report.problem}")
    if strict and report.unknown:
        total = len(report.unknown) + len(report.applied)
        reasons = list(by_reason(report.unknown))
        shown = "; ".join(reasons[:SHOWN])
        more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
        raise LoRAError(
            f"{path}: {len(report.unknown)} of {total} keys do not fit this model: {shown}{more}. "
            "With strict=False the others are used, and the report says which"
        )


def by_reason(keys: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each reason, with the first key that has it and how many more do."""
    grouped: dict[str, list[str]] = {}
    for key, why in keys.items():
        grouped.setdefault(why, []).append(key)
    for why, group in grouped.items():
        yield f"{group[0]} {f'(and {len(group) - 1} more like it) ' if len(group) > 1 else ''}{why}"


def _misfit(
    target: Target,
    delta: Delta,
    models: Mapping[str, Module],
    names: Mapping[str, Names],
    fitted: Mapping[str, Mapping[str, Delta]],
) -> str:
    if target.component not in models:
        return f"is for the {target.component}, which this model does not have"
    known = names[target.component]
    path = known.spellings.get(target.module)
    if path is None:
        close = get_close_matches(target.module, known.spellings, n=1, cutoff=0.8)
        hint = f"; the nearest is {known.spellings[close[0]]}" if close else ""
        return f"names {target.module}, which the {target.component} does not have{hint}"
    if path in fitted[target.component]:
        other = fitted[target.component][path].keys
        return f"is there twice: {other[0] if other else path} means the same module {path}"
    try:
        check_fits(delta, models[target.component].get_submodule(path))
    except ShapeError as error:
        return f"does not fit {target.component}.{path}: {error}"
    return ""


def _problem(adapter: Adapter, models: Mapping[str, Module], applied: Mapping[str, str]) -> str:
    """What is wrong with the file as a whole."""
    unet = models.get("unet")
    guess = guess_family(adapter)
    if unet is not None and guess:
        width = text_width(unet)
        other = guess.family is None or guess.family.cross_attention != width
        # A header may be wrong, and a small model is of no family: shapes have the last word.
        fits_in_part = applied and (
            guess.from_header or len(applied) == sum(len(delta.keys) for delta in adapter.deltas.values())
        )
        if other and not fits_in_part:
            return (
                f"is a LoRA for {guess.title} ({guess.because}); the model {describe_model(unet)}. "
                "Use a LoRA that was made for this model, or open the model that it was made for"
            )
    if not applied:
        return f"matches no module of the {' and '.join(models)}, so it would do nothing" + (
            f"; {_first(adapter)}" if adapter.deltas or adapter.unread else ""
        )
    return ""


def _first(adapter: Adapter) -> str:
    if adapter.unread:
        key, why = next(iter(adapter.unread.items()))
        return f"{key} {why}"
    target = next(iter(adapter.deltas))
    return f"its first module is {target.module} of the {target.component}"
