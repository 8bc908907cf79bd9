"""Align Your Steps: noise levels optimised for Stable Diffusion models (Sabour et al. 2024).

Eleven levels are published for ten steps; other numbers interpolate log σ. Only for models with the noise
schedule of Stable Diffusion.
"""

import math
from collections.abc import Sequence

from mezzotint.scheduling import NoiseSchedule, spacing

SD1 = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
SDXL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)

PAPER = "Sabour et al. 2024 (Align Your Steps), appendix, table of schedules"


@spacing("ays-sd1@comfy", default=True, paper=PAPER)
def ays_sd1_comfy(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """n + 1 levels for Stable Diffusion 1, the last replaced by the end (ComfyUI, diffusers)."""
    return schedule.finish(_interpolated(SD1, n + 1)[:-1])


@spacing("ays-sd1@a1111", paper=PAPER)
def ays_sd1_a1111(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """n levels for Stable Diffusion 1 down to 0.029, then the end (A1111)."""
    return schedule.finish(_interpolated(SD1, n))


@spacing("ays-sdxl@comfy", default=True, paper=PAPER)
def ays_sdxl_comfy(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """n + 1 levels for Stable Diffusion XL, the last replaced by the end (ComfyUI, diffusers)."""
    return schedule.finish(_interpolated(SDXL, n + 1)[:-1])


@spacing("ays-sdxl@a1111", paper=PAPER)
def ays_sdxl_a1111(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """n levels for Stable Diffusion XL down to 0.029, then the end (A1111)."""
    return schedule.finish(_interpolated(SDXL, n))


def _interpolated(levels: Sequence[float], count: int) -> list[float]:
    """`count` levels from the first to the last, log σ interpolated over equal positions."""
    if count == 1:
        return [levels[0]]
    logs = [math.log(level) for level in levels]
    result = []
    for i in range(count):
        below, rest = divmod(i * (len(logs) - 1), count - 1)
        above = min(below + 1, len(logs) - 1)
        result.append(math.exp(logs[below] + (logs[above] - logs[below]) * rest / (count - 1)))
    return result
