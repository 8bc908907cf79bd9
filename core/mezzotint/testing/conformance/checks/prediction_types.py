"""One perfect model, told in several ways, gives one trajectory."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..draws import Draws
from ..drive import Model, frame_of, run
from ..finding import Finding, judge, not_applicable
from ..problems import MIXTURE, fixed_noise, largest_error
from ..subject import Subject

STEPS = 8
DOUBLE = 1e-7
"""Timesteps between two training timesteps reach the model in float32, so that its σ is off by 1e-8."""
SINGLE = 2e-3
"""For schedulers that keep α and σ in float32: σ/α is up to 15 and x0 = (x - σ ε)/α loses as many digits."""


def prediction_types(subject: Subject) -> Finding:
    """Trajectories of all prediction types are equal; a type that the constructor or step refuses is left out."""
    if not subject.takes("prediction_type"):
        return not_applicable("takes no prediction_type")
    ends: dict[str, Tensor] = {}
    refused: list[str] = []
    for kind in _types(subject):
        try:
            scheduler = subject.make(prediction_type=kind)
            end = _end(subject, scheduler, kind)
        except (ValueError, NotImplementedError):
            refused.append(kind)
            continue
        if end is None:
            return not_applicable("does not tell what its model was trained on: no alphas_cumprod, no flow")
        ends[kind] = end
    if len(ends) < 2:
        return not_applicable(f"takes one prediction type only: {', '.join(ends)}")
    (first, reference), *others = ends.items()
    tolerance = DOUBLE if subject.kind == "solver" else SINGLE
    errors = {kind: largest_error(end, reference) for kind, end in others}
    worst = max(errors, key=lambda kind: errors[kind])
    return judge(
        errors[worst] <= tolerance,
        f"{', '.join(ends)} agree within {errors[worst]:.1e} ({worst} against {first})"
        + (f"; refused: {', '.join(refused)}" if refused else ""),
        grid=f"n = {STEPS}",
        advice=f"Turn the output into the denoised sample first, once, for every type; {worst} is off.",
    )


def _types(subject: Subject) -> tuple[str, ...]:
    if subject.kind == "solver":
        return "epsilon", "v_prediction", "sample", "flow_prediction"
    frame = frame_of(subject.make())
    # diffusers' flow_prediction belongs to α = 1 - σ and is nothing else's name.
    return ("flow_prediction",) if frame is not None and frame.flow else ("epsilon", "v_prediction", "sample")


def _end(subject: Subject, scheduler: Any, kind: str) -> Tensor | None:
    frame = frame_of(scheduler)
    if frame is None:
        return None
    with Draws(lambda number, shape: fixed_noise(shape, number + 1)):
        ran = run(subject, Model(MIXTURE, frame, kind), fixed_noise((2, 1, 4, 4)), STEPS, scheduler=scheduler)
    return ran[-1].after
