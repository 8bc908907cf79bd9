"""How long the commands take that people wait for: help and listings, as whole processes.

    python benchmarks/startup.py [--repeats 10]

A bare interpreter is measured beside them in the same run. CPU time (user and system) is printed too: on an
idle machine it is what one waits for.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from functools import partial

from machine import describe_machine
from paired import in_turn

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "mezzotint --help": ["-m", "mezzotint", "--help"],
    "mezzotint generate --help": ["-m", "mezzotint", "generate", "--help"],
    "mezzotint plugins list": ["-m", "mezzotint", "plugins", "list"],
    "mezzotint models": ["-m", "mezzotint", "models"],
    "mezzotint schedulers list": ["-m", "mezzotint", "schedulers", "list"],
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    print(describe_machine())
    times = in_turn({name: partial(run, arguments) for name, arguments in COMMANDS.items()}, repeats)
    for name, found in times.items():
        seconds, cpu = zip(*found, strict=True)
        print(
            f"{name:28} {min(seconds):.2f} s minimum, {statistics.median(seconds):.2f} s median of {repeats}; "
            f"CPU {statistics.median(cpu):.2f} s"
        )


def run(arguments: list[str]) -> tuple[float, float]:
    """Seconds of one process: on the clock, and of the CPU."""
    start, used = time.perf_counter(), children_seconds()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start, children_seconds() - used


def children_seconds() -> float:
    """CPU time of the processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
