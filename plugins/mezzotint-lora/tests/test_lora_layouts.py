"""Files of every layout, of every shape of layer, with every way to give alpha, against W + up · down · α / r."""

import pytest
import torch
from lora_oracle import ALPHAS, LAYOUTS, OTHERS, PLACES, changed, predict, random_lows, unchanged, write_kohya
from mezzotint_lora import LoRA

# Attention processors had linear layers only.
CASES = [
    (layout, shape)
    for layout in LAYOUTS
    for shape in PLACES
    if layout != "diffusers-old" or shape == "linear"
]


@pytest.mark.parametrize("alphas", ALPHAS)
@pytest.mark.parametrize(("layout", "shape"), CASES)
def test_a_file_adds_up_down_alpha_over_rank(pipe, tmp_path, layout, shape, alphas):
    lows = random_lows(pipe.unet, [PLACES[shape], *OTHERS[shape]], ALPHAS[alphas])
    path = LAYOUTS[layout](tmp_path / "a.safetensors", lows)
    expected = changed(pipe.unet, {module: low.change for module, low in lows.items()})
    assert not torch.allclose(predict(pipe.unet), expected, atol=1e-2)
    with unchanged(pipe):
        for fuse in (False, True):
            with pipe.using(LoRA(path, fuse=fuse)):
                assert (predict(pipe.unet) - expected).abs().max() < 1e-5, "fused" if fuse else "beside"


def test_a_text_encoder_is_changed_too(pipe, tmp_path):
    layer = pipe.text_encoder.get_submodule("encoder.layers.1.mlp.fc2")
    down, up = torch.randn(3, layer.in_features), torch.randn(layer.out_features, 3)
    tensors = {
        "lora_te_text_model_encoder_layers_1_mlp_fc2.lora_down.weight": down,
        "lora_te_text_model_encoder_layers_1_mlp_fc2.lora_up.weight": up,
        "lora_te_text_model_encoder_layers_1_mlp_fc2.alpha": torch.tensor(6.0),
    }
    from safetensors.torch import save_file

    save_file(tensors, tmp_path / "te.safetensors")
    x = torch.randn(2, layer.in_features)
    expected = layer(x) + x @ (up @ down * 2).T
    with unchanged(pipe), pipe.using(LoRA(tmp_path / "te.safetensors")), torch.no_grad():
        assert torch.allclose(layer(x), expected, atol=1e-4)


def test_a_matrix_of_a_linear_layer_goes_on_a_pointwise_convolution_and_back(pipe, tmp_path):
    """Models with `use_linear_projection` have one where others have the other."""
    lows = random_lows(pipe.unet, [PLACES["1x1"]], [2.0])
    (low,) = lows.values()
    flat = {PLACES["1x1"]: type(low)(low.down.flatten(1), low.up.flatten(1), low.alpha)}
    path = write_kohya(tmp_path / "flat.safetensors", flat)
    expected = changed(pipe.unet, {PLACES["1x1"]: low.change})
    with pipe.using(LoRA(path)):
        assert torch.allclose(predict(pipe.unet), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_factors_of_half_the_width_are_multiplied_in_full(pipe, tmp_path, dtype):
    lows = random_lows(pipe.unet, [PLACES["linear"], PLACES["3x3"]], [1.0, 3.0], dtype=dtype)
    path = write_kohya(tmp_path / "half.safetensors", lows)
    full = {m: type(low)(low.down.float(), low.up.float(), low.alpha).change for m, low in lows.items()}
    expected = changed(pipe.unet, full)
    with pipe.using(LoRA(path)):
        assert (predict(pipe.unet) - expected).abs().max() < 1e-5
