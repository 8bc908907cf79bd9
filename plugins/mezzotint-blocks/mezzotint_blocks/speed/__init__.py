"""The same numbers sooner: memory format, fused projections, compilation, `fast`, and `bench`."""

from mezzotint import CommandSpec, Extension

from .bf16 import BFloat16
from .channels_last import ChannelsLast
from .compile import Compile
from .fast import Fast
from .fused_qkv import FusedQKV
from .memory import AttentionSlicing, VaeTiling
from .packed_weights import PackedWeights
from .recorded_unet import RecordedUNet

EXTENSIONS: tuple[type[Extension], ...] = (
    Fast,
    PackedWeights,
    ChannelsLast,
    FusedQKV,
    RecordedUNet,
    Compile,
    BFloat16,
    AttentionSlicing,
    VaeTiling,
)
COMMANDS: tuple[CommandSpec, ...] = (
    CommandSpec(
        "bench",
        "mezzotint_blocks.speed.bench_command:command",
        "Measure what makes pictures faster on this machine.",
    ),
)
