"""A single .safetensors file of Stable Diffusion XL against the folder with the same weights, and diffusers' reader."""

from __future__ import annotations

import shutil

import diffusers
import mezzotint
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from mezzotint.errors import ModelError
from mezzotint.testing import save_tiny_xl_model
from safetensors.torch import load_file, save_file
from test_single_file import squared, unet_name, vae_name
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

SEED = 3
FIRST, SECOND = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model with what a single file cannot say as in SDXL: 32 groups, heads of 64, the VAE's scale."""
    folder = save_tiny_xl_model(
        tmp_path_factory.mktemp("models") / "folder",
        block_out_channels=(32, 64),
        attention_head_dim=(1, 1),
        norm_num_groups=32,
        sample_size=128,
    )
    torch.manual_seed(1)
    AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        sample_size=1024,
        scaling_factor=0.13025,
    ).save_pretrained(folder / "vae")
    config = {"vocab_size": 514, "hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2}
    config |= {
        "num_attention_heads": 1,
        "max_position_embeddings": 16,
        "eos_token_id": 513,
        "bos_token_id": 512,
    }
    CLIPTextModel(CLIPTextConfig(**config)).save_pretrained(folder / "text_encoder")
    CLIPTextModelWithProjection(
        CLIPTextConfig(**{**config, "hidden_size": 40}, hidden_act="gelu", projection_dim=24)
    ).save_pretrained(folder / "text_encoder_2")
    return folder


@pytest.fixture(scope="module")
def tensors(folder):
    """The tensors of the folder under SDXL's names, written down independently of what reads them."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    layers = unet.config.layers_per_block
    renamed = {}
    for name, tensor in unet.state_dict().items():
        if name.startswith("add_embedding.linear_"):
            place = f"label_emb.0.{0 if 'linear_1' in name else 2}.{name.rpartition('.')[2]}"
        else:
            place = unet_name(name, layers)
            # Here the first block from below has attention, so its upsampler comes third.
            place = place.replace("output_blocks.1.1.conv", "output_blocks.1.2.conv")
        renamed["model.diffusion_model." + place] = tensor
    for name, tensor in load_file(folder / "vae" / "diffusion_pytorch_model.safetensors").items():
        renamed["first_stage_model." + vae_name(name)] = squared(name, tensor)
    for name, tensor in load_file(folder / "text_encoder" / "model.safetensors").items():
        renamed[f"{FIRST}text_model.{name.removeprefix('text_model.')}"] = tensor
    renamed |= {SECOND + name: tensor for name, tensor in open_clip(folder).items()}
    renamed[f"{SECOND}logit_scale"] = torch.tensor(4.6)
    renamed["denoiser.sigmas"] = torch.zeros(1000)
    return {name: tensor.clone().contiguous() for name, tensor in renamed.items()}


def open_clip(folder):
    """The second text encoder in OpenCLIP's names: queries, keys and values in one, the projection transposed."""
    stored = load_file(folder / "text_encoder_2" / "model.safetensors")
    own = {name.removeprefix("text_model."): tensor for name, tensor in stored.items()}
    made = {
        "token_embedding.weight": own.pop("embeddings.token_embedding.weight"),
        "positional_embedding": own.pop("embeddings.position_embedding.weight"),
        "ln_final.weight": own.pop("final_layer_norm.weight"),
        "ln_final.bias": own.pop("final_layer_norm.bias"),
        "text_projection": own.pop("text_projection.weight").T,
    }
    for name in [name for name in own if ".q_proj." in name]:
        parts = [own.pop(name.replace("q_proj", f"{letter}_proj")) for letter in "qkv"]
        layer, end = name.split(".")[2], name.rpartition(".")[2]
        made[f"transformer.resblocks.{layer}.attn.in_proj_{end}"] = torch.cat(parts)
    for name, tensor in own.items():
        _, _, layer, rest = name.split(".", 3)
        ours, _, end = rest.rpartition(".")
        made[f"transformer.resblocks.{layer}.{OPEN_CLIP[ours]}.{end}"] = tensor
    return made


@pytest.fixture
def single(folder, tensors, tmp_path):
    save_file(tensors, tmp_path / "model.safetensors")
    shutil.copytree(folder / "tokenizer", tmp_path / "tokenizer")
    return tmp_path / "model.safetensors"


def test_a_single_file_makes_the_same_latents_as_its_folder_and_as_diffusers_reads_it(folder, single, caplog):
    one, other = mezzotint.load(single), mezzotint.load(folder)
    for name, module in one.components.modules.items():
        ours, theirs = module.state_dict(), other.components.modules[name].state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
    assert "not used" in caplog.text
    assert "denoiser.sigmas" in caplog.text
    run = {"steps": 2, "seed": SEED, "guidance": 5.0, "size": (48, 32)}
    latents = one("a ghost", **run).latents
    torch.testing.assert_close(latents, other("a ghost", **run).latents, rtol=1e-4, atol=1e-4)
    stock = diffusers.StableDiffusionXLPipeline.from_single_file(
        str(single), config=str(folder), add_watermarker=False, local_files_only=True
    )
    stock.set_progress_bar_config(disable=True)
    expected = stock(
        "a ghost",
        num_inference_steps=2,
        width=48,
        height=32,
        generator=[torch.Generator("cpu").manual_seed(SEED)],
        output_type="latent",
    ).images
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)


def test_what_shapes_do_not_say_is_sdxls(single, tensors):
    pipe = mezzotint.load(single)
    assert pipe.vae.config.scaling_factor == 0.13025
    assert pipe.components.zeros_for_empty_negative
    assert pipe.components.family.title == "Stable Diffusion XL"
    assert (pipe.unet.config.transformer_layers_per_block, pipe.unet.config.addition_time_embed_dim) == (
        (1, 2),
        8,
    )
    assert type(pipe.scheduler).__name__ == "EulerDiscreteScheduler"
    assert pipe.scheduler.config.timestep_spacing == "leading"
    assert pipe.text_encoders["text_encoder_2"].tokenizer.pad_token == "!"
    save_file({**tensors, "v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, single)
    marked = mezzotint.load(single).scheduler.config
    assert (marked.prediction_type, marked.rescale_betas_zero_snr) == ("v_prediction", True)


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        (f"{SECOND}transformer.resblocks.1.ln_1.bias", "lacks text_model.encoder.layers.1.layer_norm1.bias"),
        ("model.diffusion_model.label_emb.0.2.bias", "lacks model.diffusion_model.label_emb.0.2.bias"),
        (f"{SECOND}token_embedding.weight", "lacks conditioner.embedders.1.model.token_embedding.weight"),
        (f"{SECOND}text_projection", "is a part of Stable Diffusion XL by its keys"),
    ],
)
def test_every_tensor_is_asked_for(single, tensors, gone, words):
    save_file({name: tensor for name, tensor in tensors.items() if name != gone}, single)
    with pytest.raises(ModelError, match=words):
        mezzotint.load(single)


@pytest.mark.parametrize("width", [24, 70])
def test_sizes_that_no_run_could_be_told_are_refused(single, tensors, width):
    name = "model.diffusion_model.label_emb.0.0.weight"
    save_file({**tensors, name: torch.zeros(len(tensors[name]), width)}, single)
    with pytest.raises(ModelError, match=f"projection_class_embeddings_input_dim is {width}"):
        mezzotint.load(single)


def test_the_refiner_is_called_by_its_name(tmp_path):
    save_file({"conditioner.embedders.0.model.x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match="is the refiner of Stable Diffusion XL"):
        mezzotint.load(tmp_path / "x.safetensors")
