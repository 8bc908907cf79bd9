"""A model is checked file by file before anything runs; pickles are refused by content."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import zipfile

import mezzotint
import pytest
import torch
from mezzotint import ModelSpec, hookimpl
from mezzotint.errors import ModelError, RequestError
from mezzotint.models.loading import open_folder
from mezzotint.models.weights import read_header
from safetensors.torch import load_file, save_file


@pytest.fixture
def model(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


class Canary:
    """A pickle that would leave a file behind if it were opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def write_pickle(path, canary):
    path.write_bytes(pickle.dumps(Canary(canary)))


def write_zip(path, canary):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Canary(canary)))


@pytest.mark.parametrize("write", [write_pickle, write_zip])
@pytest.mark.parametrize(
    "name",
    ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin", "model.ckpt", "model.SafeTensors"],
)
def test_a_pickle_is_refused_under_any_name_and_never_runs(model, tmp_path, write, name):
    (model / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    write(model / "unet" / name, tmp_path / "canary")
    with pytest.raises(ModelError, match=r"unet.*(pickle.*safe_serialization=True|no weights)"):
        open_folder(model, torch.float32)
    assert not (tmp_path / "canary").exists()


def test_a_single_file_that_is_a_pickle_is_refused(tmp_path):
    from mezzotint import load

    write_zip(tmp_path / "model.safetensors", tmp_path / "canary")
    with pytest.raises(ModelError, match="zip archive"):
        load(tmp_path / "model.safetensors")


def test_a_tokenizer_without_its_files_is_noticed(model):
    for path in (model / "tokenizer").iterdir():
        if path.name != "tokenizer_config.json":
            path.unlink()
    with pytest.raises(ModelError, match="tokenizer knows .* tokens, the text encoder .* files are missing"):
        open_folder(model, torch.float32)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("model_index.json", "model_index.json is missing; a diffusers folder has one"),
        ("unet/config.json", "unet/config.json is missing"),
        ("unet", "unet is missing; model_index.json names it as UNet2DConditionModel"),
        (
            "vae/diffusion_pytorch_model.safetensors",
            "vae has no weights; expected diffusion_pytorch_model.safetensors",
        ),
    ],
)
def test_a_missing_file_is_named(model, path, message):
    target = model / path
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    with pytest.raises(ModelError, match=message):
        open_folder(model, torch.float32)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            ["diffusers", "FluxTransformer2DModel"],
            "unet is diffusers.FluxTransformer2DModel; expected diffusers.UNet2D",
        ),
        (["os", "system"], "unet is os.system; expected"),
        (None, "names no unet"),
    ],
)
def test_a_wrong_class_says_what_was_expected(model, entry, message):
    index = json.loads((model / "model_index.json").read_text())
    index["unet"] = entry
    (model / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=message):
        open_folder(model, torch.float32)


def change_weights(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


UNET = "unet/diffusion_pytorch_model.safetensors"


def test_a_wrong_shape_names_file_tensor_and_both_shapes(model):
    change_weights(model / UNET, lambda tensors: tensors.update({"conv_in.weight": torch.zeros(8, 5, 3, 3)}))
    with pytest.raises(
        ModelError, match=r"unet.*conv_in.weight has shape \(8, 5, 3, 3\).*expects \(8, 4, 3, 3\)"
    ):
        open_folder(model, torch.float32)


def test_a_missing_or_unknown_tensor_is_named(model):
    change_weights(model / UNET, lambda tensors: tensors.pop("conv_in.bias"))
    with pytest.raises(ModelError, match="lacks conv_in.bias"):
        open_folder(model, torch.float32)
    change_weights(
        model / UNET,
        lambda tensors: tensors.update({"conv_in.bias": torch.zeros(8), "extra": torch.zeros(1)}),
    )
    with pytest.raises(ModelError, match="has extra, which UNet2DConditionModel"):
        open_folder(model, torch.float32)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-10], lambda data: data[:4], lambda data: data + b"tail"]
)
def test_a_damaged_file_is_named(model, damage):
    path = model / UNET
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match="diffusion_pytorch_model.safetensors"):
        open_folder(model, torch.float32)


@pytest.mark.parametrize("header", [b"[]", b"{", b'{"a": 1}', b'{"a": {"data_offsets": "x"}}'])
def test_a_malformed_header_is_a_clear_error(tmp_path, header):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ModelError, match="a.safetensors"):
        read_header(path)


def test_parts_of_different_models_are_refused(model, tmp_path):
    from mezzotint.testing import save_tiny_model

    other = save_tiny_model(tmp_path / "other", cross_attention_dim=16)
    shutil.rmtree(model / "unet")
    shutil.copytree(other / "unet", model / "unet")
    with pytest.raises(ModelError, match="cross_attention_dim is 16, the text encoder's hidden_size 32"):
        open_folder(model, torch.float32)


def test_unknown_device_and_dtype(model):
    from mezzotint import load

    with pytest.raises(RequestError, match="device 'gpu' cannot be used here"):
        load(model, device="gpu")
    with pytest.raises(RequestError, match="dtype must be auto"):
        load(model, dtype="float8")


def test_bfloat16_is_used_when_asked_for_and_where_the_cpu_is_fast(model, monkeypatch):
    from mezzotint import load
    from mezzotint.models import device

    assert load(model, dtype="bfloat16").dtype is torch.bfloat16
    assert load(model).dtype is torch.float32
    for fast, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(device, "cpu_has_fast_bf16", lambda fast=fast: fast)
        assert device.choose_dtype("fast") is expected


@pytest.mark.parametrize(
    "index",
    [
        "{",
        "[]",
        '{"weight_map": {"a": "../../secret.safetensors"}}',
        '{"weight_map": {"a": "/etc/passwd"}}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_a_malformed_index_or_one_that_leaves_its_folder_is_refused(model, index):
    (model / UNET).unlink()
    (model / f"{UNET}.index.json").write_text(index)
    with pytest.raises(ModelError, match="index.json"):
        open_folder(model, torch.float32)


def test_several_threads_may_load_at_once(tiny_model):
    from concurrent.futures import ThreadPoolExecutor

    from torch.nn import Module

    register = Module.register_parameter
    with ThreadPoolExecutor(4) as pool:
        for opened in [pool.submit(open_folder, tiny_model, torch.float32) for _ in range(8)]:
            assert opened.result().unet.conv_in.weight.device.type == "cpu"
    assert Module.register_parameter is register


def test_old_scheduler_configurations_are_corrected_as_diffusers_does(model):
    path = model / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "steps_offset": 0, "clip_sample": True}))
    scheduler = open_folder(model, torch.float32).scheduler
    assert (scheduler.config.steps_offset, scheduler.config.clip_sample) == (1, False)


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("unet/config.json", {"sample_size": None}, "unet/config.json: sample_size is None"),
        ("unet/config.json", {"sample_size": "64"}, "sample_size is '64'"),
        ("vae/config.json", {"scaling_factor": "0.18"}, "vae/config.json: scaling_factor is '0.18'"),
        ("vae/config.json", {"scaling_factor": 0}, "scaling_factor is 0"),
        ("scheduler/scheduler_config.json", {"prediction_type": "vee"}, "prediction_type is 'vee'"),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 77}, "model_max_length is 77.*16 positions"),
    ],
)
def test_a_setting_that_no_run_can_use_is_named_with_its_file(model, part, change, words):
    path = model / part
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=words):
        open_folder(model, torch.float32)


def test_json_that_is_nested_too_deeply_is_refused(model):
    (model / "model_index.json").write_text("[" * 100_000)
    with pytest.raises(ModelError, match="model_index.json is not valid JSON"):
        open_folder(model, torch.float32)


def test_a_header_that_is_nested_too_deeply_is_refused(tmp_path):
    header = b"[" * 100_000
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ModelError, match="its header is not JSON .*nested too deeply"):
        mezzotint.load(path)


def test_a_plugins_part_of_a_model_is_not_opened_as_one(model):
    class Plugin:
        @hookimpl
        def models(self):
            return [ModelSpec("edges", model, kind="controlnet")]

    with pytest.raises(ModelError, match=r"edges \(.*\) is a controlnet, no whole model"):
        mezzotint.load("edges", plugins=[Plugin()])
