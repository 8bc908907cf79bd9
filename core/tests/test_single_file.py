"""A single .safetensors file in CompVis' layout is the same model as the diffusers folder it was made from."""

from __future__ import annotations

import json
import re
import shutil

import mezzotint
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from mezzotint.errors import ModelError
from mezzotint.testing import save_tiny_model
from safetensors.torch import load_file, save_file

RUN = {"steps": 2, "seed": 3, "scheduler": None, "size": (64, 64)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model with what a single file cannot say as in Stable Diffusion: 32 groups, 8 heads."""
    folder = save_tiny_model(
        tmp_path_factory.mktemp("models") / "folder",
        block_out_channels=(32, 64),
        norm_num_groups=32,
        attention_head_dim=8,
        sample_size=64,
    )
    torch.manual_seed(1)
    AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=32,
        sample_size=32,
    ).save_pretrained(folder / "vae")
    return folder


@pytest.fixture(scope="module")
def tensors(folder):
    """The tensors of the folder under CompVis' names, written down independently of what reads them."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    layers = unet.config.layers_per_block
    renamed = {}
    for name, tensor in unet.state_dict().items():
        renamed["model.diffusion_model." + unet_name(name, layers)] = tensor
    for name, tensor in load_file(folder / "vae" / "diffusion_pytorch_model.safetensors").items():
        renamed["first_stage_model." + vae_name(name)] = squared(name, tensor)
    for name, tensor in load_file(folder / "text_encoder" / "model.safetensors").items():
        inner = name.removeprefix("text_model.")
        renamed["cond_stage_model.transformer.text_model." + inner] = tensor
    renamed["betas"] = torch.zeros(1000)
    return {name: tensor.clone().contiguous() for name, tensor in renamed.items()}


RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def unet_name(name, layers):
    for ours, theirs in ENDS.items():
        if name.startswith(f"{ours}."):
            return name.replace(ours, theirs, 1)
    if match := re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)", name):
        side, block, kind, layer, rest = match.groups()
        step = int(block) * (layers + 1) + int(layer)
        place = f"input_blocks.{step + 1}" if side == "down" else f"output_blocks.{step}"
        return f"{place}.{int(kind == 'attentions')}.{inner(rest, kind)}"
    if match := re.match(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.*)", name):
        return f"input_blocks.{(int(match[1]) + 1) * (layers + 1)}.0.op.{match[2]}"
    if match := re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.conv\.(.*)", name):
        # Behind the attention, where there is one: the first block from below has none here.
        return f"output_blocks.{int(match[1]) * (layers + 1) + layers}.1.conv.{match[2]}"
    match = re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)", name)
    kind, layer, rest = match.groups()
    return f"middle_block.{1 if kind == 'attentions' else 2 * int(layer)}.{inner(rest, kind)}"


def inner(rest, kind):
    if kind == "attentions":
        return rest
    part, _, end = rest.partition(".")
    return f"{RESNET[part]}.{end}"


def vae_name(name):
    name = re.sub(r"(encoder)\.down_blocks\.(\d+)\.resnets\.(\d+)\.", r"\1.down.\2.block.\3.", name)
    name = re.sub(r"encoder\.down_blocks\.(\d+)\.downsamplers\.0\.", r"encoder.down.\1.downsample.", name)
    name = re.sub(
        r"decoder\.up_blocks\.(\d+)\.resnets\.(\d+)\.",
        lambda m: f"decoder.up.{1 - int(m[1])}.block.{m[2]}.",
        name,
    )
    name = re.sub(
        r"decoder\.up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"decoder.up.{1 - int(m[1])}.upsample.", name
    )
    name = re.sub(r"mid_block\.resnets\.(\d)\.", lambda m: f"mid.block_{int(m[1]) + 1}.", name)
    name = name.replace("mid_block.attentions.0.", "mid.attn_1.").replace("conv_norm_out", "norm_out")
    for ours, theirs in {
        "group_norm": "norm",
        "to_q": "q",
        "to_k": "k",
        "to_v": "v",
        "to_out.0": "proj_out",
    }.items():
        name = name.replace(f"attn_1.{ours}.", f"attn_1.{theirs}.")
    return name.replace("conv_shortcut", "nin_shortcut")


def squared(name, tensor):
    """CompVis has 1 × 1 convolutions in the attention of the VAE."""
    return tensor[:, :, None, None] if "attentions.0.to_" in name and tensor.dim() == 2 else tensor


@pytest.fixture
def single(folder, tensors, tmp_path):
    save_file(tensors, tmp_path / "model.safetensors")
    shutil.copytree(folder / "tokenizer", tmp_path / "tokenizer")
    return tmp_path / "model.safetensors"


def test_a_single_file_makes_the_same_latents_as_its_folder(folder, single):
    one, other = mezzotint.load(single, plugins=[]), mezzotint.load(folder, plugins=[])
    for part in ("unet", "vae"):
        ours, theirs = getattr(one, part).state_dict(), getattr(other, part).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    # Heads and activation of the text encoder are CLIP's, not the tiny model's.
    embedding = "embeddings.token_embedding.weight"
    assert torch.equal(one.text_encoder.state_dict()[embedding], other.text_encoder.state_dict()[embedding])
    other.components.text_encoders["text_encoder"].model = one.text_encoder
    other.components.scheduler = one.scheduler
    assert torch.equal(one("ghost", **RUN).latents, other("ghost", **RUN).latents)


def test_markers_of_trainers_choose_the_prediction_type(single, tensors):
    assert mezzotint.load(single).scheduler.config.prediction_type == "epsilon"
    save_file({**tensors, "v_pred": torch.zeros(0)}, single)
    assert mezzotint.load(single).scheduler.config.prediction_type == "v_prediction"


def test_a_single_file_can_be_replayed_and_a_changed_one_is_noticed(single, tensors):
    made = mezzotint.load(single)("ghost", **RUN).recipe_of(0)
    assert mezzotint.replay(made).images
    name = "model.diffusion_model.out.2.bias"
    save_file({**tensors, name: tensors[name] + 1}, single)
    with pytest.raises(mezzotint.MezzotintError, match="other weights"):
        mezzotint.replay(made)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("model.diffusion_model.out.2.bias"), "lacks conv_out.bias of UNet2DConditionModel"),
        (
            lambda t: t.update({"model.diffusion_model.out.2.bias": torch.zeros(9)}),
            r"conv_out.bias of UNet2DConditionModel has shape \(9,\), expected \(4,\)",
        ),
        (
            lambda t: t.update({"cond_stage_model.transformer.text_model.extra": torch.zeros(1)}),
            "extra, which CLIPTextModel of these sizes does not know",
        ),
        (
            lambda t: [t.pop(name) for name in list(t) if name.startswith("first_stage_model.")],
            "has no VAE",
        ),
        (
            lambda t: [
                t.pop(name) for name in list(t) if ".encoder.layers." in name and "cond_stage" in name
            ],
            "lacks cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight; its text encoder is cut",
        ),
        (
            lambda t: [t.pop(name) for name in list(t) if "token_embedding" in name],
            "lacks cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
        ),
        (
            lambda t: [t.pop(name) for name in list(t) if ".attn2." in name],
            "no layer in its U-Net that attends to a text",
        ),
        (
            lambda t: [t.pop(name) for name in list(t) if name.startswith("cond_stage_model.")],
            r"has a U-Net \(model.diffusion_model.…\) and no text encoder",
        ),
        (
            lambda t: t.update(
                {n: torch.zeros(len(v), 64) for n, v in t.items() if "attn2.to_k" in n or "attn2.to_v" in n}
            ),
            "cross_attention_dim is 64, the text encoder's hidden_size 32",
        ),
    ],
)
def test_every_tensor_is_accounted_for(single, tensors, change, words):
    changed = dict(tensors)
    change(changed)
    save_file(changed, single)
    with pytest.raises(ModelError, match=words):
        mezzotint.load(single)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("conditioner.embedders.0.transformer.x", "Stable Diffusion XL"),
        ("cond_stage_model.model.x", "Stable Diffusion 2"),
        ("lora_unet_x.lora_down.weight", "a LoRA"),
        ("layer.weight", "no Stable Diffusion 1.x by its keys"),
    ],
)
def test_another_family_is_called_by_its_name(tmp_path, name, family):
    save_file({name: torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=family):
        mezzotint.load(tmp_path / "x.safetensors")


def test_a_tokenizer_that_names_no_length_has_that_of_the_text_encoder(single):
    config = single.parent / "tokenizer" / "tokenizer_config.json"
    said = json.loads(config.read_text())
    del said["model_max_length"]
    config.write_text(json.dumps(said))
    pipe = mezzotint.load(single)
    assert pipe.tokenizer.model_max_length == pipe.text_encoder.config.max_position_embeddings
    config.write_text(json.dumps({**said, "model_max_length": 40}))
    with pytest.raises(ModelError, match="model_max_length is 40, the text encoder has 16 positions"):
        mezzotint.load(single)


def test_without_a_tokenizer_it_says_where_one_goes(single, monkeypatch):
    shutil.rmtree(single.parent / "tokenizer")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="put CLIP's tokenizer into the folder .*tokenizer"):
        mezzotint.load(single)
