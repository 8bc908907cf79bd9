"""How long the commands take that people wait for: help and listings, as whole processes.

    python benchmarks/startup.py [--repeats 10]

A bare interpreter is measured beside them in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from machine import describe_machine

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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    print(describe_machine())
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - start)
    for name, seconds in times.items():
        print(f"{name:28} {min(seconds):.2f} s minimum, {statistics.median(seconds):.2f} s median of {repeats}")


if __name__ == "__main__":
    main()
