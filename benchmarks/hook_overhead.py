"""What 20 extensions cost that do nothing, per denoising step.

    python benchmarks/hook_overhead.py [--extensions 20] [--steps 200]

Each implements the hook points that fire at every step (step_begin, conditioning, unet_residuals, unet_input,
unet_output, prediction, step_end). The U-Net is replaced by a function that returns its input, so that
what remains is the loop; the same loop without extensions is subtracted. CPU time of the thread is measured,
not wall time, so that another process on the machine does not count.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from machine import describe_machine
from mezzotint import Extension, hookimpl
from mezzotint.testing import tiny_pipeline
from paired import in_turn


def no_op(number: int) -> type[Extension]:
    """An extension class that looks at every step and changes nothing."""

    class NoOp(Extension, name=f"no-op-{number}"):
        @hookimpl
        def step_begin(self, latents, run): ...
        @hookimpl
        def conditioning(self, conditioning, pass_, run): ...
        @hookimpl
        def unet_residuals(self, sample, timestep, run): ...
        @hookimpl
        def unet_input(self, sample, timestep, run): ...
        @hookimpl
        def unet_output(self, prediction, timestep, run): ...
        @hookimpl
        def prediction(self, prediction, run): ...
        @hookimpl
        def step_end(self, latents, run): ...

    return NoOp


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--extensions", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        pipe = tiny_pipeline(Path(folder))
    pipe.unet.forward = lambda sample, *args, **kwargs: (sample,)
    extensions = [no_op(number)() for number in range(options.extensions)]

    def seconds_a_step(use: list[Extension]) -> float:
        marks: list[float] = []
        pipe(
            "a cat",
            steps=options.steps,
            seed=1,
            use=use,
            on_step=lambda progress: marks.append(time.thread_time()),
        )
        return (marks[-1] - marks[0]) / (len(marks) - 1)

    torch.set_num_threads(1)
    seconds = in_turn(
        {"with": lambda: seconds_a_step(extensions), "without": lambda: seconds_a_step([])}, options.repeats
    )
    differences = [more - less for more, less in zip(seconds["with"], seconds["without"], strict=True)]
    median = statistics.median(differences) * 1e6
    print(
        f"{options.extensions} no-op extensions on 7 hook points: {median:.1f} µs a step "
        f"(median of {options.repeats}; {min(differences) * 1e6:.1f} to {max(differences) * 1e6:.1f})"
    )


if __name__ == "__main__":
    main()
