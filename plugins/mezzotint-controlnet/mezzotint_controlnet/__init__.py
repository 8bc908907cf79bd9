"""ControlNet, ControlNet-XS, ControlNet-Union, T2I-Adapter and preprocessors."""

from collections.abc import Sequence

from mezzotint import CommandSpec, Extension, PreprocessorSpec, hookimpl

from .controlnet import ControlNet
from .controlnet_union import ControlNetUnion
from .controlnet_xs import ControlNetXS
from .preprocessors import PREPROCESSORS
from .t2i_adapter import T2IAdapter

__all__ = ["PREPROCESSORS", "ControlNet", "ControlNetUnion", "ControlNetXS", "T2IAdapter"]


@hookimpl
def extensions() -> Sequence[type[Extension]]:
    """Every kind of network that takes a control picture."""
    return [ControlNet, ControlNetUnion, ControlNetXS, T2IAdapter]


@hookimpl
def preprocessors() -> Sequence[PreprocessorSpec]:
    """Those that need no model."""
    return list(PREPROCESSORS)


@hookimpl
def commands() -> Sequence[CommandSpec]:
    """`mezzotint preprocess` and `mezzotint controlnet train`."""
    return [
        CommandSpec(
            "preprocess",
            "mezzotint_controlnet.preprocess_command:command",
            "Make a control map of a picture: canny, scribble, blur, …",
        ),
        CommandSpec(
            "controlnet train",
            "mezzotint_controlnet.training.command:command",
            "Train a ControlNet on a folder of pictures.",
        ),
    ]
