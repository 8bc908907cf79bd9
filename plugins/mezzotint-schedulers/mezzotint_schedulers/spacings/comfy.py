"""Spacings over training timesteps as ComfyUI and A1111 name them."""

from collections.abc import Sequence

from mezzotint.errors import RequestError
from mezzotint.scheduling import NoiseSchedule, spacing

from ..option_range import checked


@spacing(
    "uniform",
    paper="k-diffusion DiscreteSchedule.get_sigmas; ComfyUI 'normal', A1111 'Uniform'",
    also=("normal",),
)
def uniform(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """n fractional timesteps from the last to 0, log σ interpolated, then the end."""
    last = schedule.num_train_timesteps - 1
    return schedule.finish(schedule.sigma_at(last - last * i / max(n - 1, 1)) for i in range(n))


@spacing("sgm-uniform", paper="Stability AI generative-models; ComfyUI sgm_uniform")
def sgm_uniform(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """The first n of n + 1 fractional timesteps from the last to 0, then the end."""
    last = schedule.num_train_timesteps - 1
    return schedule.finish(schedule.sigma_at(last - last * i / n) for i in range(n))


@spacing("simple", paper="ComfyUI simple_scheduler")
def simple(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """Every (T / n)th timestep down from the last, rounded up; `trailing` rounds to the nearest."""
    total = _at_most(n, schedule)
    return schedule.finish(float(schedule.sigmas[total - 1 - i * total // n]) for i in range(n))


@spacing("ddim-uniform", paper="CompVis make_ddim_timesteps; ComfyUI ddim_scheduler", also=("ddim",))
def ddim_uniform(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """Every (T // n)th timestep from 1; exactly n of them, where ComfyUI may give more."""
    stride = _at_most(n, schedule) // n
    last = schedule.num_train_timesteps - 1
    times = [1 + stride * i for i in reversed(range(n))]
    if times[0] > last:
        raise RequestError(
            f"{n} steps of spacing 'ddim-uniform' start at timestep {times[0]}, but the last is {last}"
        )
    return schedule.finish(map(schedule.sigma_at, times))


@spacing("lcm", paper="Luo et al. 2023 (LCM), section 4.3; diffusers LCMScheduler")
def lcm(n: int, schedule: NoiseSchedule, *, original_steps: int = 50) -> Sequence[float]:
    """n of the `original_steps` timesteps that a consistency model was distilled on, from the last."""
    total = schedule.num_train_timesteps
    checked("original_steps", original_steps, 1)
    if n > original_steps or original_steps > total:
        raise RequestError(f"spacing 'lcm' takes at most {min(original_steps, total)} steps, not {n}")
    stride = total // original_steps
    distilled = [stride * i - 1 for i in range(original_steps, 0, -1)]
    return schedule.finish(schedule.sigma_at(distilled[original_steps * i // n]) for i in range(n))


@spacing("linear-quadratic", paper="Genmo Mochi 1; ComfyUI linear_quadratic_schedule")
def linear_quadratic(n: int, schedule: NoiseSchedule, *, threshold: float = 0.025) -> Sequence[float]:
    """σ falls linearly by `threshold` over the first half, then quadratically; σ_model for flow models."""
    checked("threshold", threshold, 0.001, 0.999)
    linear = n // 2
    quadratic = n - linear
    # The parabola 1 - a k² - b k joins the line with the same slope and reaches 0 after the last step.
    slope = threshold / linear if linear else 0.0
    start = 1 - threshold if linear else 1.0
    bend = (start - slope * quadratic) / quadratic**2
    falling = [1 - slope * i for i in range(linear)]
    falling += [start - slope * k - bend * k**2 for k in range(quadratic)]
    if schedule.kind == "flow":
        top = schedule.sigma_max / (1 + schedule.sigma_max)
        return schedule.finish(top * level / (1 - top * level) for level in falling)
    return schedule.finish(schedule.sigma_max * level for level in falling)


def _at_most(n: int, schedule: NoiseSchedule) -> int:
    if n > schedule.num_train_timesteps:
        raise RequestError(f"{n} steps are too many for {schedule.num_train_timesteps} training timesteps")
    return schedule.num_train_timesteps
