"""See inside the U-Net, reshape what its blocks compute, guide it, and run it faster.

Each folder is one of these aims and lists its extensions in `EXTENSIONS`:

    seeing     what goes on inside: attention maps, norms, features, the ledger of a run
    reshaping  blocks that compute something else: FreeU, skip scaling
    guidance   which passes the U-Net runs and how their predictions become one
    caches     computing less: text keys and values, DeepCache, token merging
    speed      the same numbers sooner: memory format, compilation, engines, `bench`
"""

from collections.abc import Sequence

from mezzotint import CommandSpec, Extension, hookimpl

from . import caches, guidance, reshaping, seeing, speed
from .caches import DeepCache, EasyCache, FirstBlockCache, TextKV, TGate, TokenMerging
from .guidance import APG, PAG, SAG, CFGInterval, CFGRescale, CFGZero, DynamicThresholding
from .reshaping import FreeU, SkipScale
from .seeing import AttentionMaps, BlockNorms, FeatureMaps, Trace
from .speed import (
    AttentionSlicing,
    BFloat16,
    ChannelsLast,
    Compile,
    Fast,
    FusedQKV,
    PackedWeights,
    RecordedUNet,
    VaeTiling,
)

__all__ = [
    "APG",
    "PAG",
    "SAG",
    "AttentionMaps",
    "AttentionSlicing",
    "BFloat16",
    "BlockNorms",
    "CFGInterval",
    "CFGRescale",
    "CFGZero",
    "ChannelsLast",
    "Compile",
    "DeepCache",
    "DynamicThresholding",
    "EasyCache",
    "Fast",
    "FeatureMaps",
    "FirstBlockCache",
    "FreeU",
    "FusedQKV",
    "PackedWeights",
    "RecordedUNet",
    "SkipScale",
    "TGate",
    "TextKV",
    "TokenMerging",
    "Trace",
    "VaeTiling",
]

_PARTS = (seeing, reshaping, guidance, caches, speed)


@hookimpl
def extensions() -> Sequence[type[Extension]]:
    """The extensions of every part."""
    return [extension for part in _PARTS for extension in part.EXTENSIONS]


@hookimpl
def commands() -> Sequence[CommandSpec]:
    """The commands of every part."""
    return [command for part in _PARTS for command in getattr(part, "COMMANDS", ())]
