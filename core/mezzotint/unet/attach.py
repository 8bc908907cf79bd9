"""Where hooks enter a `UNet2DConditionModel`: instance forwards of the blocks in use, nothing elsewhere.

One mechanism for all block hooks: the block's `forward` is shadowed on the instance for the length of a
run, around whatever forward it had, and the shadow is taken away again. Modules, parameters and torch's
own hooks are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import PlanError
from ..hooks.blocks import ATTENTION_POINTS, Block, BlockOutput
from .attention import ComposableAttention

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from ..pipeline.run import Run
    from ..planning.calls import Calls

BLOCK_POINTS = ("unet_block_input", "unet_block", "unet_block_output")


@contextmanager
def attached(unet: Module, calls: Calls, run: Run) -> Iterator[None]:
    """Let the hooks of a run into the U-Net; everything is undone on leaving, whatever happens."""
    with ExitStack() as stack:
        channels = skip_channels(unet)
        for name in calls.places(*BLOCK_POINTS):
            block = run.plan.blocks[name]
            module = unet.get_submodule(block.path)
            stack.enter_context(
                shadowed(module, _block_forward(block, module, channels.get(name), calls, run))
            )
        if calls.acts("time_embedding"):
            stack.enter_context(
                shadowed(unet.time_embedding, _time_embedding(unet.time_embedding, calls, run))
            )
        for name in calls.places(*ATTENTION_POINTS):
            layer = run.plan.blocks[name]
            stack.enter_context(_processor(unet.get_submodule(layer.path), layer, calls, run))
        yield


@contextmanager
def shadowed(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Give one module instance another `forward` for a while."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


def skip_channels(unet: Any) -> dict[str, int]:
    """Channels of the skip connection at the end of each decoder resnet's input, by block name."""
    channels = {}
    incoming = (unet.mid_block or unet.down_blocks[-1]).resnets[-1].out_channels
    for i, block in enumerate(unet.up_blocks):
        for j, resnet in enumerate(block.resnets):
            channels[f"up.{i}.resnets.{j}"] = resnet.in_channels - incoming
            incoming = resnet.out_channels
    return channels


def residual_shapes(unet: Any, sample: Tensor) -> Mapping[str, list[tuple[int, ...]]]:
    """Shapes (c, h, w) of the residuals that this U-Net takes for a sample (p * n, c, h, w).

    `down`: one for `conv_in`, each resnet and each downsampler; `mid`: one; `adapter`: one a down block.
    """
    height, width = sample.shape[-2:]
    down: list[tuple[int, ...]] = [(unet.conv_in.out_channels, height, width)]
    adapter: list[tuple[int, ...]] = []
    for block in unet.down_blocks:
        channels = block.resnets[-1].out_channels
        inside: tuple[int, ...] = (channels, height, width)
        down += [(resnet.out_channels, height, width) for resnet in block.resnets]
        if block.downsamplers:
            height, width = (height + 1) // 2, (width + 1) // 2
            down.append((channels, height, width))
        # Blocks with attention take the adapter's residual before their downsampler, plain ones after it.
        adapter.append(inside if getattr(block, "has_cross_attention", False) else (channels, height, width))
    mid: list[tuple[int, ...]] = (
        [] if unet.mid_block is None else [(unet.mid_block.resnets[-1].out_channels, height, width)]
    )
    return {"down": down, "mid": mid, "adapter": adapter}


def _block_forward(
    block: Block, module: Any, skip_channels: int | None, calls: Calls, run: Run
) -> Callable[..., Any]:
    """The block's forward with the hooks before, around and after it."""
    original = module.forward
    is_transformer = hasattr(module, "transformer_blocks")
    hands_on = block.kind == "block" and block.stage == "down"
    skip_count = len(module.resnets) + len(module.downsamplers or ()) if hands_on else 0

    def forward(*args: Any, **kwargs: Any) -> Any:
        arrived = _read(args, kwargs, skip_channels)
        entering = calls.unet_block_input(block, arrived, run)

        computed: list[BlockOutput] = []

        def inner(hidden_states: Tensor) -> BlockOutput:
            state = BlockOutput(hidden_states, entering.skips)
            changed_args, changed_kwargs = _write(args, kwargs, arrived, state, skip_channels)
            computed[:] = [_parse(original(*changed_args, **changed_kwargs))]
            return computed[0]

        leaving = calls.unet_block(block, inner, entering, computed, skip_count, run)
        if leaving is None:
            leaving = inner(entering.hidden_states)
        leaving = calls.unet_block_output(block, leaving, run)
        if hands_on:
            return tuple(leaving)
        if is_transformer:
            return _transformer_output(leaving.hidden_states, kwargs.get("return_dict", True))
        return leaving.hidden_states

    return forward


def _read(args: tuple[Any, ...], kwargs: dict[str, Any], skip_channels: int | None) -> BlockOutput:
    """What a block is called with: its input, apart from the skip connections that come with it."""
    hidden_states = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
    if skip_channels is not None:
        split = hidden_states.shape[1] - skip_channels
        return BlockOutput(hidden_states[:, :split], (hidden_states[:, split:],))
    return BlockOutput(hidden_states, tuple(kwargs.get("res_hidden_states_tuple", ())))


def _write(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    arrived: BlockOutput,
    state: BlockOutput,
    skip_channels: int | None,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The call's arguments with another input; those that arrived, where nothing was changed."""
    if state.hidden_states is arrived.hidden_states and state.skips is arrived.skips:
        return args, kwargs
    hidden_states = state.hidden_states
    if skip_channels is not None:
        hidden_states = _join(state)
    elif "res_hidden_states_tuple" in kwargs:
        kwargs = {**kwargs, "res_hidden_states_tuple": state.skips}
    if "hidden_states" in kwargs:
        return args, {**kwargs, "hidden_states": hidden_states}
    return (hidden_states, *args[1:]), kwargs


def _join(state: BlockOutput) -> Tensor:
    import torch

    return torch.cat([state.hidden_states, *state.skips], dim=1)


def _parse(result: Any) -> BlockOutput:
    """What a block returned, whatever its kind: a tensor, (tensor, skips), (tensor,) or an output object."""
    if hasattr(result, "sample"):
        return BlockOutput(result.sample)
    if isinstance(result, tuple):
        return BlockOutput(result[0], tuple(result[1]) if len(result) > 1 else ())
    return BlockOutput(result)


def _transformer_output(hidden_states: Tensor, return_dict: bool) -> Any:
    if not return_dict:
        return (hidden_states,)
    from diffusers.models.modeling_outputs import Transformer2DModelOutput

    return Transformer2DModelOutput(sample=hidden_states)


def _time_embedding(module: Any, calls: Calls, run: Run) -> Callable[..., Any]:
    original = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        timestep = None if run.step is None else run.step.timestep
        return calls.time_embedding(original(*args, **kwargs), timestep, run)  # type: ignore[arg-type]

    return forward


@contextmanager
def _processor(layer: Any, block: Block, calls: Calls, run: Run) -> Iterator[None]:
    """Another attention processor on one layer for a while."""
    from diffusers.models.attention_processor import AttnProcessor2_0

    original = layer.processor
    processor = calls.attention_processor(block, run)
    if processor is None:
        if type(original) is not AttnProcessor2_0:
            raise PlanError(
                f"layer {block} has {type(original).__name__}, which mezzotint cannot open up for "
                "cross_attention_tokens or attention_probe; restore diffusers' default (AttnProcessor2_0) first"
            )
        processor = ComposableAttention(block, calls, run)
    layer.set_processor(processor)
    try:
        yield
    finally:
        layer.set_processor(original)
