"""What a native solver's step costs beside diffusers' step of the same solver, at 4×64×64, paired in one process.

    python benchmarks/scheduler_step_overhead.py [--pairs 60] [--steps 20] [--batch 1]

A pair is one whole run of each (`scale_model_input` and `step` at every timestep, the model's answer made
beforehand), the order alternating. Prints microseconds of CPU time for a model evaluation, on one thread, and the
median of the per-pair ratios ours / diffusers with its 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import inspect
import statistics
import time
import warnings
from typing import Any

import diffusers
import mezzotint
import torch
from machine import describe_machine
from paired import in_turn, ratio

SD = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "trailing",
}
PAIRS: tuple[tuple[str, str, dict[str, Any], dict[str, Any]], ...] = (
    ("euler", "EulerDiscreteScheduler", {}, {}),
    ("ddim", "DDIMScheduler", {"clip_sample": False}, {}),
    ("ddpm", "DDPMScheduler", {"clip_sample": False}, {}),
    ("heun", "HeunDiscreteScheduler", {}, {}),
    ("dpm2", "KDPM2DiscreteScheduler", {}, {}),
    ("lms", "LMSDiscreteScheduler", {}, {}),
    ("euler-ancestral", "EulerAncestralDiscreteScheduler", {}, {}),
    ("dpmpp-2m", "DPMSolverMultistepScheduler", {}, {}),
    ("dpmpp-2m-sde", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, {}),
    ("unipc", "UniPCMultistepScheduler", {}, {}),
    ("unipc", "UniPCMultistepScheduler", {"solver_order": 3}, {"order": 3}),
    ("deis", "DEISMultistepScheduler", {"solver_order": 3}, {}),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(describe_machine())
    print(f"{'solver':18}{'ours µs':>9}{'diffusers µs':>14}{'ratio':>8}   95 % interval")
    for name, class_name, config, solver_options in PAIRS:
        theirs = getattr(diffusers, class_name)(**SD, **config)
        ours = mezzotint.scheduler(name, like=theirs, **solver_options)
        label = " ".join([name, *(f"{key}={value}" for key, value in solver_options.items())])
        print(row(label, ours, theirs, options.pairs, options.steps, options.batch), flush=True)


def row(label: str, ours: Any, theirs: Any, pairs: int, steps: int, batch: int) -> str:
    """One line of the table."""
    ways = {"ours": lambda: run(ours, steps, batch), "theirs": lambda: run(theirs, steps, batch)}
    times = in_turn(ways, pairs, warm_up=3)
    found = ratio(times["ours"], times["theirs"])
    micro = {name: statistics.median(seconds) * 1e6 for name, seconds in times.items()}
    return (
        f"{label:18}{micro['ours']:9.0f}{micro['theirs']:14.0f}{found.value:8.2f}   "
        f"{found.low:.2f} to {found.high:.2f}"
    )


def run(scheduler: Any, steps: int, batch: int) -> float:
    """Seconds for one model evaluation of a run, without the model."""
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 4, 64, 64, generator=generator) * scheduler.init_noise_sigma
    answer = torch.randn(batch, 4, 64, 64, generator=generator)
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    # As the pipelines of diffusers do: one generator for a single picture.
    extra = {"generator": torch.Generator().manual_seed(1)} if takes_generator else {}
    timesteps = scheduler.timesteps
    began = time.process_time()
    for t in timesteps:
        scheduler.scale_model_input(x, t)
        x = scheduler.step(answer, t, x, **extra, return_dict=False)[0]
    return (time.process_time() - began) / len(timesteps)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.no_grad():
        main()
