"""What every measurement prints first: the CPU and its features, threads, versions."""

from __future__ import annotations

import platform
from pathlib import Path

FEATURES = (
    "avx2",
    "avx512f",
    "avx512_bf16",
    "avx512_vnni",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "bf16",
)


def describe_machine() -> str:
    """Two lines: processor and features; torch, diffusers and threads."""
    import diffusers
    import torch

    flags: set[str] = set()
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("flags", "Features"):
                flags |= set(value.split())
            elif key.strip() == "model name":
                name = value.strip()
    found = " ".join(feature for feature in FEATURES if feature in flags) or "none of those asked for"
    return (
        f"CPU {name}; features: {found}\n"
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; diffusers {diffusers.__version__}"
    )
