"""Names and patterns of blocks, on a real U-Net."""

from __future__ import annotations

import pytest
from mezzotint.hooks.blocks import find_attention_layers, find_blocks, match
from mezzotint.unet.attach import residual_shapes, skip_channels

NAMES = [
    "down.0",
    "down.0.resnets.0",
    "down.0.attentions.0.transformer_blocks.0.attn2",
    "mid",
    "mid.resnets.1",
    "up.1",
]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("mid", ["mid"]),
        ("*.*", ["down.0", "up.1"]),
        ("**.attn2", ["down.0.attentions.0.transformer_blocks.0.attn2"]),
        ("**.resnets.*", ["down.0.resnets.0", "mid.resnets.1"]),
        ("down.**", ["down.0", "down.0.resnets.0", "down.0.attentions.0.transformer_blocks.0.attn2"]),
        ("**", NAMES),
        (("up.*", "mid"), ["mid", "up.1"]),
        ("d*.0", ["down.0"]),
        ("down", []),
    ],
)
def test_patterns(pattern, expected):
    assert match(pattern, NAMES) == expected


def test_names_on_a_real_unet_in_order_of_execution(pipe):
    assert list(find_blocks(pipe.unet)) == [
        "down.0",
        "down.0.resnets.0",
        "down.0.attentions.0",
        "down.0.downsamplers.0",
        "down.1",
        "down.1.resnets.0",
        "mid",
        "mid.resnets.0",
        "mid.attentions.0",
        "mid.resnets.1",
        "up.0",
        "up.0.resnets.0",
        "up.0.resnets.1",
        "up.0.upsamplers.0",
        "up.1",
        "up.1.resnets.0",
        "up.1.attentions.0",
        "up.1.resnets.1",
        "up.1.attentions.1",
    ]
    layers = find_attention_layers(pipe.unet)
    assert len(layers) == 8
    assert layers["mid.attentions.0.transformer_blocks.0.attn2"].kind == "attention_layer"


def test_skip_channels_and_residual_shapes_are_those_of_a_real_forward(pipe):
    """Against the tensors that the U-Net really concatenates and adds."""
    import torch

    unet, seen = pipe.unet, {}
    for i, block in enumerate(unet.up_blocks):
        block.register_forward_pre_hook(
            lambda module, args, kwargs, i=i: seen.update(
                {f"up.{i}": [skip.shape for skip in kwargs["res_hidden_states_tuple"]]}
            ),
            with_kwargs=True,
        )
    sample = torch.zeros(2, 4, 18, 14)
    unet(sample, torch.tensor(3), torch.zeros(2, 5, 32))
    real = [skip for i in range(len(unet.up_blocks)) for skip in reversed(seen[f"up.{i}"])]
    shapes = residual_shapes(unet, sample)
    assert [tuple(shape[1:]) for shape in reversed(real)] == shapes["down"]
    channels = skip_channels(unet)
    assert [channels[f"up.{i}.resnets.{j}"] for i in range(2) for j in range(2)] == [
        shape[1] for shape in real
    ]
