"""LoRAs of Stable Diffusion XL: U-Net and both text encoders, against W + up · down · α / r and diffusers' loader."""

import diffusers
import mezzotint_lora
import pytest
import torch
from lora_oracle import unchanged
from mezzotint.testing import save_tiny_model, save_tiny_xl_model, tiny_pipeline
from mezzotint_lora import LoRA
from mezzotint_lora.errors import LoRAError
from mezzotint_lora.merging_into import merge_into
from mezzotint_training import TrainingError, TrainingSettings, prepare
from safetensors.torch import save_file

RANK, ALPHA, SEED = 3, 6.0, 7
MODULES = {
    # As mezzotint and as diffusers name the component and module; as kohya does; the module in transformers 5.
    ("unet", "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k"): (
        "lora_unet_input_blocks_3_1_transformer_blocks_1_attn2_to_k",
        "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k",
    ),
    ("unet", "mid_block.attentions.0.proj_in"): (
        "lora_unet_middle_block_1_proj_in",
        "mid_block.attentions.0.proj_in",
    ),
    ("text_encoder", "text_model.encoder.layers.0.self_attn.q_proj"): (
        "lora_te1_text_model_encoder_layers_0_self_attn_q_proj",
        "encoder.layers.0.self_attn.q_proj",
    ),
    # diffusers' loader recognises kohya's text encoders by this one.
    ("text_encoder", "text_model.encoder.layers.0.self_attn.out_proj"): (
        "lora_te1_text_model_encoder_layers_0_self_attn_out_proj",
        "encoder.layers.0.self_attn.out_proj",
    ),
    ("text_encoder_2", "text_model.encoder.layers.1.mlp.fc1"): (
        "lora_te2_text_model_encoder_layers_1_mlp_fc1",
        "text_model.encoder.layers.1.mlp.fc1",
    ),
    ("text_encoder_2", "text_model.encoder.layers.2.self_attn.out_proj"): (
        "lora_te2_text_model_encoder_layers_2_self_attn_out_proj",
        "text_model.encoder.layers.2.self_attn.out_proj",
    ),
}
RUN = {"steps": 2, "guidance": 5.0, "seed": SEED}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_xl_model(tmp_path_factory.mktemp("models") / "xl")


@pytest.fixture(scope="module")
def pipe(folder):
    return tiny_pipeline(folder, plugins=[mezzotint_lora])


@pytest.fixture(scope="module")
def factors(pipe):
    """down and up of each module, by component and diffusers' name."""
    generator = torch.Generator().manual_seed(0)
    drawn = {}
    for (component, name), (_, path) in MODULES.items():
        weight = pipe.components.modules[component].get_submodule(path).weight
        drawn[component, name] = tuple(
            torch.randn(*shape, generator=generator) * 0.3
            for shape in ((RANK, weight.shape[1]), (weight.shape[0], RANK))
        )
    return drawn


@pytest.fixture(scope="module")
def kohya(factors, tmp_path_factory):
    tensors = {}
    for module, (down, up) in factors.items():
        stem = MODULES[module][0]
        tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
        tensors[f"{stem}.alpha"] = torch.tensor(ALPHA)
    path = tmp_path_factory.mktemp("loras") / "kohya.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def as_diffusers(factors, tmp_path_factory):
    """Without alphas, so the factor of up · down is 1."""
    tensors = {}
    for (component, name), (down, up) in factors.items():
        tensors |= {f"{component}.{name}.lora_A.weight": down, f"{component}.{name}.lora_B.weight": up}
    path = tmp_path_factory.mktemp("loras") / "diffusers.safetensors"
    save_file(tensors, path)
    return path


def changed_by_hand(folder, factors, factor):
    """A pipeline with the changes in its weights, component by component."""
    pipe = tiny_pipeline(folder)
    with torch.no_grad():
        for (component, name), (down, up) in factors.items():
            path = MODULES[component, name][1]
            pipe.components.modules[component].get_submodule(path).weight += up @ down * factor
    return pipe


def test_kohyas_file_changes_the_unet_and_both_text_encoders(folder, pipe, factors, kohya):
    expected = changed_by_hand(folder, factors, ALPHA / RANK)("a cat", **RUN).latents
    plain = pipe("a cat", **RUN).latents
    with unchanged(pipe):
        for fuse in (False, True):
            result = pipe("a cat", **RUN, use=[LoRA(kohya, fuse=fuse)])
            torch.testing.assert_close(result.latents, expected, rtol=1e-3, atol=1e-4)
    assert (expected - plain).abs().max() > 0.05
    applied = set(result.outputs["lora"]["report"].applied.values())
    assert applied == {f"{component}.{path}" for (component, _), (_, path) in MODULES.items()}


@pytest.mark.parametrize("component", ["unet", "text_encoder", "text_encoder_2"])
def test_each_component_matters_by_itself(folder, pipe, factors, tmp_path, component):
    own = {module: factor for module, factor in factors.items() if module[0] == component}
    tensors = {}
    for module, (down, up) in own.items():
        stem = MODULES[module][0]
        tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
    save_file(tensors, tmp_path / "part.safetensors")
    expected = changed_by_hand(folder, own, 1.0)("a cat", **RUN).latents
    result = pipe("a cat", **RUN, use=[LoRA(tmp_path / "part.safetensors")]).latents
    torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-4)
    assert (result - pipe("a cat", **RUN).latents).abs().max() > 1e-3


@pytest.mark.parametrize("layout", ["kohya", "as_diffusers"])
def test_the_latents_are_those_of_diffusers_with_the_same_file(folder, pipe, layout, request):
    path = request.getfixturevalue(layout)
    stock = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    stock.set_progress_bar_config(disable=True)
    stock.load_lora_weights(path.parent, weight_name=path.name)
    expected = stock(
        "a cat",
        num_inference_steps=RUN["steps"],
        guidance_scale=RUN["guidance"],
        generator=torch.Generator("cpu").manual_seed(SEED),
        output_type="latent",
    ).images
    result = pipe("a cat", **RUN, use=[LoRA(path)])
    torch.testing.assert_close(result.latents, expected, rtol=1e-3, atol=1e-4)


def test_weights_by_place_tell_the_text_encoders_apart(folder, pipe, factors, kohya):
    only = {module: factor for module, factor in factors.items() if module[0] == "text_encoder_2"}
    expected = changed_by_hand(folder, only, ALPHA / RANK)("a cat", **RUN).latents
    blocks = {"down.*": 0, "mid": 0, "text": 0, "text2": 1}
    result = pipe("a cat", **RUN, use=[LoRA(kohya, blocks=blocks)])
    torch.testing.assert_close(result.latents, expected, rtol=1e-3, atol=1e-4)


def test_merging_writes_both_text_encoders(folder, kohya, pipe, tmp_path):
    merge_into(folder, [(kohya, 1.0)], tmp_path / "merged")
    merged = tiny_pipeline(tmp_path / "merged")("a cat", **RUN).latents
    with_lora = pipe("a cat", **RUN, use=[LoRA(kohya)]).latents
    torch.testing.assert_close(merged, with_lora, rtol=1e-3, atol=1e-4)


def test_a_lora_of_sd1_on_sdxl_and_the_other_way_round_is_refused(pipe, kohya, tmp_path):
    sd1 = tmp_path / "sd1.safetensors"
    stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    save_file(
        {f"{stem}.lora_down.weight": torch.randn(4, 768), f"{stem}.lora_up.weight": torch.randn(320, 4)}, sd1
    )
    with unchanged(pipe), pytest.raises(LoRAError, match="is a LoRA for Stable Diffusion 1.x"):
        pipe("a cat", steps=1, use=[LoRA(sd1)])
    small = tiny_pipeline(save_tiny_model(tmp_path / "small"), plugins=[mezzotint_lora])
    with pytest.raises(
        LoRAError, match="is a LoRA for Stable Diffusion XL .it changes a second text encoder"
    ):
        small("a cat", steps=1, use=[LoRA(kohya)])


def test_training_is_refused_in_one_sentence(pipe, tmp_path):
    with pytest.raises(
        TrainingError, match=r"has 2 text encoders \(Stable Diffusion XL\); training is for models"
    ):
        prepare(tmp_path, TrainingSettings(), pipe)
