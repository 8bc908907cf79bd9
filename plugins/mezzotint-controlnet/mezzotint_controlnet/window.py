"""Which steps a control acts at: the two conventions in use, by name.

With N evaluations of the model, step i from 0:

* `diffusers` asks whether the whole step lies in the window: `start ≤ i/N` and `(i + 1)/N ≤ end`
  (`StableDiffusionControlNetPipeline`, section 7.2 of its call);
* `webui` asks whether the step begins in it: `start ≤ i/N ≤ end` (sd-webui-controlnet, `hook.py`).

They differ: at N = 4, the window (0, 0.5) has two steps for diffusers and three for the web UI.
"""

from __future__ import annotations

from typing import Literal

Window = Literal["diffusers", "webui"]


def is_active(index: int, count: int, start: float, end: float, window: Window = "diffusers") -> bool:
    """Whether step `index` of `count` is inside (`start`, `end`), both fractions of the run."""
    if window == "diffusers":
        return not (index / count < start or (index + 1) / count > end)
    return start <= index / count <= end


def active_steps(count: int, start: float, end: float, window: Window = "diffusers") -> list[int]:
    """The steps of a run of `count` inside the window; may be none."""
    return [index for index in range(count) if is_active(index, count, start, end, window)]
