"""What a run passes through: its sample and the picture that it predicts, at every model evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mezzotint import Extension, Run, hookimpl


@dataclass(frozen=True, eq=False)
class Moment:
    """One model evaluation."""

    timestep: float
    frame: Any
    """`sample` (n, c, h, w), α x0 + σ ε as the model sees it, with α and σ."""
    predicted: Any
    """(n, c, h, w), the clean latents x0 that the guided prediction means."""


class Recorder(Extension, name="schedulers-compare-recorder"):
    """Write down every evaluation; changes nothing."""

    @hookimpl
    def prediction(self, prediction: Any, run: Run) -> None:
        """Keep the frame's sample and the predicted x0."""
        assert run.step is not None
        frame = run.frame()
        moment = Moment(float(run.step.timestep), frame, frame.denoised(prediction))
        moments = run.state(self, list)
        moments.append(moment)
        run.publish(self, moments=moments)


def moments(result: Any) -> list[Moment]:
    """What was written down in a run that used `Recorder`."""
    found: list[Moment] = result.outputs[Recorder.extension_name]["moments"]
    return found
