"""Folders, single files and plugins' models: the same network, every tensor accounted for, or a sentence."""

import re

import pytest
import torch
from diffusers import ControlNetModel
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from mezzotint import ModelSpec, hookimpl
from mezzotint.errors import ModelError
from mezzotint.testing import tiny_pipeline
from mezzotint_controlnet import ControlNet, ControlNetUnion, ControlNetXS, T2IAdapter
from mezzotint_controlnet.networks.sgm_names import sgm_names
from safetensors.torch import load_file, save_file
from tiny_networks import noise_picture


@pytest.fixture
def single_file(edges, tmp_path):
    """The tiny network in the layout of ControlNet's authors, with changes."""

    def write(prefix="control_model.", change=lambda tensors: tensors):
        network = ControlNetModel.from_pretrained(edges)
        names = sgm_names(network.state_dict(), layers_per_block=1, hint_blocks=2)
        tensors = {prefix + names[name]: tensor for name, tensor in network.state_dict().items()}
        path = tmp_path / "edges.safetensors"
        save_file(change(tensors), path)
        return path

    return write


def refused(latents, extension, *parts):
    """The run ends in one sentence before the first step."""
    with pytest.raises(ModelError, match=".*".join(map(re.escape, parts))):
        latents(extension)


def test_a_configuration_that_is_nested_too_deeply_is_refused(tmp_path, picture, latents):
    (tmp_path / "config.json").write_text("[" * 100_000)
    refused(latents, ControlNet(tmp_path, picture), "config.json is not valid JSON: ", "nested too deeply")


@pytest.mark.parametrize("prefix", ["control_model.", ""])
def test_a_single_file_equals_the_folder(prefix, single_file, edges, picture, latents):
    assert torch.equal(latents(ControlNet(single_file(prefix), picture)), latents(ControlNet(edges, picture)))


def test_a_single_file_may_have_diffusers_names(edges, picture, latents):
    file = edges / "diffusion_pytorch_model.safetensors"
    assert torch.equal(latents(ControlNet(file, picture)), latents(ControlNet(edges, picture)))


def test_names_are_those_that_diffusers_converts():
    with torch.device("meta"):
        network = ControlNetModel(
            block_out_channels=(32, 64, 64, 64), cross_attention_dim=16, attention_head_dim=4
        )
    expected = network.state_dict()
    names = sgm_names(expected, layers_per_block=2, hint_blocks=6)
    assert len(set(names.values())) == len(expected)
    config = {"layers_per_block": 2, "class_embed_type": None, "addition_embed_type": None}
    converted = convert_controlnet_checkpoint(
        {names[name]: tensor for name, tensor in expected.items()}, {**network.config, **config}
    )
    assert converted.keys() == expected.keys()
    assert all(converted[name] is expected[name] for name in expected)


def test_a_linear_layer_may_be_stored_as_a_convolution(single_file, edges, picture, latents):
    def change(tensors):
        return {
            name: tensor[:, :, None, None] if name.endswith("attn1.to_q.weight") else tensor
            for name, tensor in tensors.items()
        }

    assert torch.equal(
        latents(ControlNet(single_file(change=change), picture)), latents(ControlNet(edges, picture))
    )


def test_missing_tensors_are_an_error_and_never_none(single_file, picture, latents):
    def change(tensors):
        return {name: tensor for name, tensor in tensors.items() if "zero_convs.1" not in name}

    path = single_file(change=change)
    refused(latents, ControlNet(path, picture), "lacks control_model.zero_convs.1.0", "and 1 more tensors")


def test_unknown_tensors_are_an_error(single_file, picture, latents):
    path = single_file(change=lambda tensors: {**tensors, "surprise": torch.zeros(1)})
    refused(latents, ControlNet(path, picture), "has surprise", "does not know")


def test_a_wrong_shape_is_named_with_both(single_file, picture, latents):
    name = "control_model.time_embed.0.weight"
    path = single_file(change=lambda tensors: {**tensors, name: torch.zeros(3, 8)})
    refused(latents, ControlNet(path, picture), name, "has shape (3, 8)", "expects (32, 8)")


def test_a_network_of_sdxl_is_called_one_on_another_u_net(single_file, make_controlnet, picture, latents):
    def change(tensors):
        return {
            name: torch.zeros(8, 2048)
            if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))
            else tensor
            for name, tensor in tensors.items()
        }

    parts = ("width of text embeddings", "2048 (SDXL)", "this U-Net's 32")
    refused(latents, ControlNet(single_file(change=change), picture), *parts)
    refused(latents, ControlNet(make_controlnet(1, cross_attention_dim=2048), picture), *parts)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"block_out_channels": (16, 16)}, ("block_out_channels) is (16, 16)", "(8, 16)")),
        ({"layers_per_block": 2}, ("layers_per_block) is 2", "this U-Net's 1")),
        ({"in_channels": 9}, ("takes latents of 9 channels", "this model has 4")),
        (
            {"conditioning_embedding_out_channels": (4, 8, 8)},
            ("control picture 4 times smaller", "2 times smaller"),
        ),
    ],
)
def test_a_network_of_another_u_net_is_named_with_both_shapes(
    changes, parts, make_controlnet, picture, latents
):
    refused(latents, ControlNet(make_controlnet(1, **changes), picture), *parts)


def test_a_network_for_other_pictures_is_refused(make_controlnet, picture, latents):
    from mezzotint.errors import RequestError

    with pytest.raises(RequestError, match="control pictures of 4 channels; pictures have 1 or 3"):
        latents(ControlNet(make_controlnet(1, conditioning_channels=4), picture))


def test_a_folder_lacks_no_tensor(edges, picture, latents, tmp_path):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(edges, folder)
    tensors = load_file(folder / "diffusion_pytorch_model.safetensors")
    del tensors["controlnet_mid_block.bias"]
    save_file(tensors, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    refused(latents, ControlNet(folder, picture), "lacks controlnet_mid_block.bias")


@pytest.mark.parametrize(
    ("marker", "kind"),
    [
        ("lora_controlnet", "Control-LoRA"),
        ("lllite_unet_input_blocks", "ControlNet-LLLite"),
        ("difference", "difference to a base model"),
        ("task_embedding", "use ControlNetUnion"),
        ("nothing.at.all", "is no ControlNet"),
    ],
)
def test_files_of_other_kinds_are_called_by_their_name(marker, kind, picture, latents, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({marker: torch.zeros(1)}, path)
    refused(latents, ControlNet(path, picture), kind)


@pytest.mark.parametrize("other", [ControlNetXS, T2IAdapter])
def test_the_extension_for_a_folder_is_named(other, edges, picture, latents):
    refused(latents, other(edges, picture), "holds a ControlNetModel; use ControlNet(…)")
    refused(latents, ControlNetUnion(edges, {"canny": picture}), "use ControlNet(…)")


def test_a_pickle_is_refused(picture, latents, tmp_path):
    path = tmp_path / "control.safetensors"
    torch.save({"a": torch.zeros(1)}, path)
    refused(latents, ControlNet(path, picture), "mezzotint opens only safetensors")


def test_what_is_not_there_is_said(picture, latents):
    refused(latents, ControlNet("nowhere", picture), "nowhere is no folder or .safetensors file here")


def test_a_plugin_brings_a_network_by_name(edges, picture, latents, tiny_folder):
    import mezzotint_controlnet

    class Plugin:
        @hookimpl
        def models(self):
            return [ModelSpec("my-edges", edges, kind="controlnet")]

    pipe = tiny_pipeline(tiny_folder, plugins=[mezzotint_controlnet, Plugin()])
    result = pipe("a cat", steps=3, guidance=5.0, seed=3, use=[ControlNet("my-edges", picture)])
    assert torch.equal(result.latents, latents(ControlNet(edges, picture)))


def test_networks_are_loaded_once_by_content(edges, single_file, picture, pipe, latents, tmp_path):
    import shutil

    pipe.free()
    latents(ControlNet(edges, picture))
    shutil.copytree(edges, tmp_path / "same")
    latents(ControlNet(tmp_path / "same", noise_picture(8), 0.3))
    assert len(pipe._resources) == 1
    pipe.free()


def test_the_recipe_has_the_digest_of_a_folder(edges, picture, tmp_path, pipe):
    file = tmp_path / "picture.png"
    picture.save(file)
    entry = pipe("a cat", steps=1, use=[ControlNet(edges, file)]).recipe["extensions"][0]
    assert entry["files"].keys() == {"model", "image"}
    pictures = ControlNet(edges, [file, file]).files()
    assert pictures.keys() == {"model", "image.0", "image.1"}
