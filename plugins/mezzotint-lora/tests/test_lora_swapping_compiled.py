"""A compiled model: another LoRA in the place of one compiles nothing, in the U-Net and in the text encoder."""

import pytest
import torch
from lora_oracle import LINEAR, OTHERS, changed, predict, random_lows, write_kohya
from mezzotint_lora import LoRA, LoRAError
from safetensors.torch import load_file, save_file

ATTENTION = [LINEAR, *OTHERS["linear"]]


@pytest.fixture
def compiled(pipe):
    """U-Net and text encoder through dynamo, without the compiler behind it; uncompiled again afterwards."""
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    counter = CompileCounter()
    for model in (pipe.unet, pipe.text_encoder):
        model.compile(backend=counter, dynamic=False)
    yield counter
    for model in (pipe.unet, pipe.text_encoder):
        model._compiled_call_impl = None
    torch._dynamo.reset()


def with_text(pipe, path, rank, seed):
    layer = pipe.text_encoder.get_submodule("encoder.layers.0.mlp.fc1")
    stem = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    generator = torch.Generator().manual_seed(seed)
    save_file(
        {
            **load_file(path),
            f"{stem}.lora_down.weight": torch.randn(rank, layer.in_features, generator=generator),
            f"{stem}.lora_up.weight": torch.randn(layer.out_features, rank, generator=generator),
        },
        path,
    )
    return path


def encode(pipe):
    with torch.no_grad():
        return pipe.text_encoder(torch.ones(1, 5, dtype=torch.long))[0]


def test_another_lora_of_any_rank_that_has_room_compiles_nothing(pipe, tmp_path, compiled, monkeypatch):
    found, plain = [], encode(pipe)
    for seed, modules in enumerate((ATTENTION, ATTENTION[:1], ATTENTION[1:])):
        lows = random_lows(pipe.unet, modules, [1.0] * len(modules), seed)
        path = write_kohya(tmp_path / f"{seed}.safetensors", lows)
        with_text(pipe, path, 3 + seed, seed)
        found.append((path, changed(pipe.unet, {module: low.change for module, low in lows.items()})))
    compiled.clear()
    frames = []
    for path, expected in [*found, *found]:
        for weight in (1.0, 0.5):
            with pipe.using(LoRA(path, weight, swap_rank=8)):
                result, text = predict(pipe.unet), encode(pipe)
                frames.append(compiled.frame_count)
                if weight == 1.0:
                    assert (result - expected).abs().max() < 1e-5
                    assert not torch.allclose(text, plain, atol=1e-3)
    assert frames[0] > 0
    assert set(frames) == {frames[0]}, "a LoRA after the first was compiled anew"


def test_a_rank_above_the_room_is_refused(pipe, tmp_path):
    path = write_kohya(tmp_path / "a.safetensors", random_lows(pipe.unet, ATTENTION, [1.0] * 3))
    with (
        pytest.raises(
            LoRAError, match="swap_rank=2 leaves no room for this LoRA's rank of 4; make it 4 or more"
        ),
        pipe.using(LoRA(path, swap_rank=2)),
    ):
        pass
