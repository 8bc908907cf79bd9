"""Training of a ControlNet on the core that LoRA training uses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from diffusers import ControlNetModel, UNet2DConditionModel
from mezzotint import MezzotintError, Pipeline
from mezzotint.errors import ModelError
from mezzotint.testing import fingerprint, save_tiny_model, tiny_pipeline
from mezzotint_controlnet import ControlNet
from mezzotint_controlnet.training import ControlNetSettings, attached_controlnet, train_controlnet
from mezzotint_controlnet.training.maps import with_maps
from mezzotint_controlnet.training.networks import make_controlnet
from mezzotint_training import DataError, TrainingError, prepare, train
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import silu

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def trained_pipe(model: Path) -> Pipeline:
    import mezzotint_controlnet

    return tiny_pipeline(model, plugins=[mezzotint_controlnet])


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    def make(count: int = 3, name: str = "pictures") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        random = np.random.default_rng(0)
        for number in range(count):
            small = Image.fromarray(random.integers(0, 255, (4, 4, 3), dtype=np.uint8))
            small.resize((32, 32), Image.Resampling.NEAREST).save(folder / f"{number}.png")
            (folder / f"{number}.txt").write_text(f"cat {number}")
        return folder

    return make


def settings(**options) -> ControlNetSettings:
    defaults = {
        "steps": 4,
        "batch_size": 2,
        "learning_rate": 1e-2,
        "tensorboard": False,
        "preprocess": "canny",
    }
    return ControlNetSettings(**{**defaults, **options})


def test_the_start_is_no_control_at_all(trained_pipe):
    pipe, noisy, timesteps = trained_pipe, torch.randn(2, 4, 16, 16), torch.tensor([10, 700])
    embeddings = torch.randn(2, 16, 32)
    with torch.no_grad(), attached_controlnet(pipe, settings()) as controlnet:
        plain = pipe.unet(noisy, timesteps, embeddings).sample
        assert torch.equal(controlnet.networks(noisy, timesteps, embeddings, torch.rand(2, 3, 32, 32)), plain)


@torch.no_grad()
def test_the_layers_that_shrink_the_map_keep_what_tells_two_maps_apart(trained_pipe):
    hint_channels = (16, 32, 96, 256)[: len(trained_pipe.vae.config.block_out_channels)]
    network = make_controlnet(trained_pipe, settings(hint_channels=hint_channels))
    maps = torch.bernoulli(torch.full((16, 3, 64, 64), 0.1), generator=torch.Generator().manual_seed(0))
    embedding = network.controlnet_cond_embedding
    before = maps.std(0).mean()
    hidden = silu(embedding.conv_in(maps))
    for layer in embedding.blocks:
        hidden = silu(layer(hidden))
    assert 0.2 * before < hidden.std(0).mean() < 5 * before


def test_what_is_written_works_as_a_controlnet_and_the_model_is_as_it_was(trained_pipe, pictures, tmp_path):
    pipe, before = trained_pipe, fingerprint(trained_pipe)
    trained = train_controlnet(pipe, pictures(), tmp_path / "edges", settings(learning_rate=0.1), quiet=True)
    assert trained.finished
    assert not before.diff(fingerprint(pipe))
    plain = pipe("a cat", seed=1, steps=1).latents
    control = ControlNet(tmp_path / "edges", image=tmp_path / "pictures" / "0.png")
    assert not torch.equal(pipe("a cat", seed=1, steps=1, use=[control]).latents, plain)


def test_the_loss_falls_where_the_map_says_what_to_draw(trained_pipe, pictures, tmp_path):
    chosen = settings(steps=80, learning_rate=1e-2, prediction_type="sample", preprocess="none", batch_size=2)
    result = train_controlnet(trained_pipe, pictures(2), tmp_path / "a", chosen, quiet=True)
    losses = [loss for _, loss in result.losses]
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3]), losses


class Killed(BaseException):
    pass


def test_a_training_that_is_killed_goes_on_to_the_same_bits(trained_pipe, pictures, tmp_path):
    chosen = settings(steps=5, save_every=2, ema=0.9, flip=True)
    data = prepare(pictures(), chosen, trained_pipe)

    def kill(step, loss):
        if step == 3:
            raise Killed

    with attached_controlnet(trained_pipe, chosen) as controlnet:
        train(controlnet, data, tmp_path / "a", quiet=True)
    with pytest.raises(Killed), attached_controlnet(trained_pipe, chosen) as controlnet:
        train(controlnet, data, tmp_path / "b", quiet=True, on_step=kill)
    with attached_controlnet(trained_pipe, chosen) as controlnet:
        train(controlnet, data, tmp_path / "b", quiet=True, resume=True)
    a, b = (load_file(tmp_path / name / WEIGHTS) for name in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_maps_from_a_folder_equal_those_of_the_preprocessor(trained_pipe, pictures, tmp_path):
    from mezzotint_controlnet.preprocessors.canny import canny

    folder = pictures()
    (tmp_path / "maps").mkdir()
    for path in folder.glob("*.png"):
        canny(Image.open(path)).save(tmp_path / "maps" / path.name)
    train_controlnet(trained_pipe, folder, tmp_path / "a", settings(), quiet=True)
    from_folder = settings(preprocess=None, maps=tmp_path / "maps")
    train_controlnet(trained_pipe, folder, tmp_path / "b", from_folder, quiet=True)
    a, b = (load_file(tmp_path / name / WEIGHTS) for name in "ab")
    assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)


def test_maps_may_be_named_in_the_metadata(trained_pipe, pictures, tmp_path):
    folder = pictures(1)
    (folder / "conditioning").mkdir()
    (folder / "0.png").rename(folder / "conditioning" / "0.png")
    Image.new("RGB", (32, 32)).save(folder / "0.png")
    row = {"file_name": "0.png", "text": "a", "conditioning_image": "conditioning/0.png"}
    (folder / "metadata.jsonl").write_text(json.dumps(row))
    assert train_controlnet(
        trained_pipe, folder, tmp_path / "a", settings(preprocess=None), quiet=True
    ).finished


def test_a_picture_without_a_map_is_named(trained_pipe, pictures, tmp_path):
    folder = pictures()
    with pytest.raises(DataError, match=r"0\.png has no control map; name a folder of maps"):
        train_controlnet(trained_pipe, folder, tmp_path / "a", settings(preprocess=None), quiet=True)
    with pytest.raises(TrainingError, match="maps has them; leave one of them out"):
        settings(maps=folder)


def test_changes_take_the_place_of_what_says_the_same_otherwise():
    assert settings(start="x").replaced(hint_channels=(8,)).start is None
    assert settings(preprocess="canny").replaced(maps="y").preprocess is None


def test_samples_take_the_control_picture_of_their_line(trained_pipe, pictures, tmp_path):
    folder = pictures()
    line = f"a cat --d 1 --s 1 --cn {folder / '0.png'}"
    (tmp_path / "prompts.txt").write_text(f"{line}\na cat --d 1 --s 1\n")
    chosen = settings(learning_rate=0.1, sample_prompts=tmp_path / "prompts.txt", sample_every=4)
    train_controlnet(trained_pipe, folder, tmp_path / "a", chosen, quiet=True)
    samples = tmp_path / "a-training" / "samples"
    drawn = {path.name: np.asarray(Image.open(path)) for path in samples.iterdir()}
    assert (drawn["step-000000-0.png"] == drawn["step-000000-1.png"]).all()
    assert (drawn["step-000004-0.png"] != drawn["step-000004-1.png"]).any()
    assert (drawn["step-000004-1.png"] == drawn["step-000000-1.png"]).all()


def test_half_precision_is_only_in_the_file(trained_pipe, pictures, tmp_path):
    chosen = settings(save_dtype="float16", save_every=2)
    train_controlnet(trained_pipe, pictures(), tmp_path / "a", chosen, quiet=True)
    assert {tensor.dtype for tensor in load_file(tmp_path / "a" / WEIGHTS).values()} == {torch.float16}
    kept = load_file(tmp_path / "a-training" / "checkpoints" / "step-000004" / "weights.safetensors")
    assert {tensor.dtype for tensor in kept.values()} == {torch.float32}


def test_a_controlnet_is_trained_further(trained_pipe, pictures, tmp_path):
    folder = pictures()
    train_controlnet(trained_pipe, folder, tmp_path / "a", settings(), quiet=True)
    train_controlnet(
        trained_pipe, folder, tmp_path / "b", settings(start=tmp_path / "a", steps=1), quiet=True
    )
    a, b = (load_file(tmp_path / name / WEIGHTS) for name in "ab")
    assert all((a[name] - b[name]).abs().max() < 0.05 for name in a)
    with pytest.raises(ModelError, match="config.json is missing"):
        train_controlnet(trained_pipe, folder, tmp_path / "c", settings(start=folder), quiet=True)


def test_a_network_of_another_model_is_no_start(trained_pipe, pictures, tmp_path):
    other = {**trained_pipe.unet.config, "cross_attention_dim": 48}
    channels = (16, 32, 96, 256)[: len(trained_pipe.vae.config.block_out_channels)]
    network = ControlNetModel.from_unet(
        UNet2DConditionModel.from_config(other), conditioning_embedding_out_channels=channels
    )
    network.save_pretrained(tmp_path / "wide")
    with pytest.raises(ModelError, match="width of text embeddings .* is 48, this U-Net's 32"):
        train_controlnet(
            trained_pipe, pictures(), tmp_path / "c", settings(start=tmp_path / "wide"), quiet=True
        )


def test_resume_removes_no_folder_that_it_did_not_write(trained_pipe, pictures):
    folder = pictures()
    before = sorted(folder.iterdir())
    with pytest.raises(TrainingError, match="of a training to go on with"):
        train_controlnet(trained_pipe, folder, folder, settings(), resume=True, quiet=True)
    assert sorted(folder.iterdir()) == before


@pytest.fixture
def nested(pictures, tmp_path):
    """Two pictures of one name, and maps that lie as they do."""
    for name in ("a", "b"):
        pictures(1, f"{name}_").rename(tmp_path / name)
    folder = tmp_path / "nest"
    folder.mkdir()
    for name in ("a", "b"):
        (tmp_path / name).rename(folder / name)
        (tmp_path / "maps" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32), "white" if name == "a" else "black").save(
            tmp_path / "maps" / name / "0.png"
        )
    return folder, tmp_path / "maps"


def test_maps_are_found_where_their_pictures_lie(trained_pipe, nested):
    folder, maps = nested
    asked = settings(preprocess=None, maps=maps)
    data = with_maps(prepare(folder, asked, trained_pipe), maps)
    pairs = {item.path.parent.name: item.conditioning.parent.name for item in data.training.items}
    assert pairs == {"a": "a", "b": "b"}


def test_one_map_is_not_shared_by_two_pictures_of_one_name(trained_pipe, nested):
    folder, maps = nested
    (maps / "a" / "0.png").rename(maps / "0.png")
    with pytest.raises(DataError, match="its name alone does not tell, as 2 pictures have it"):
        with_maps(prepare(folder, settings(preprocess=None, maps=maps), trained_pipe), maps)


def test_a_damaged_map_is_met_before_the_first_step(trained_pipe, nested, tmp_path):
    folder, maps = nested
    whole = (maps / "b" / "0.png").read_bytes()
    (maps / "b" / "0.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="0.png is broken"):
        train_controlnet(
            trained_pipe, folder, tmp_path / "c", settings(preprocess=None, maps=maps, steps=1), quiet=True
        )
    assert not (tmp_path / "c-training" / "checkpoints").exists()


@pytest.mark.parametrize("call", ["canny(lo=3)", "canny(low=300, high=200)"])
def test_a_preprocessors_options_are_checked_before_anything_is_encoded(trained_pipe, call):
    with (
        pytest.raises(MezzotintError, match="canny"),
        attached_controlnet(trained_pipe, settings(preprocess=call)),
    ):
        pass


def test_training_and_inference_see_one_map(trained_pipe, tmp_path):
    """Rings in a large picture: what the preprocessor makes of it at the model's size."""
    folder = tmp_path / "rings"
    folder.mkdir()
    across, down = np.meshgrid(np.arange(256), np.arange(256))
    rings = (127 + 127 * np.sin(np.hypot(across - 128, down - 128) / 5)).astype(np.uint8)
    Image.fromarray(rings).convert("RGB").save(folder / "0.png")
    (folder / "0.txt").write_text("rings")
    asked = settings(buckets=False)
    data = prepare(folder, asked, trained_pipe)
    make_controlnet(trained_pipe, asked).save_pretrained(tmp_path / "net")
    with attached_controlnet(trained_pipe, data.settings) as trainee:
        trained = trainee.conditioning(data.training.views())[0]
    control = ControlNet(tmp_path / "net", folder / "0.png", preprocess="canny")
    shown = trained_pipe("rings", steps=1, seed=0, use=[control]).outputs["controlnet"]["maps"][0]
    seen = torch.from_numpy(np.asarray(shown)).permute(2, 0, 1) / 255
    assert trained.shape == seen.shape
    assert float((trained != seen).float().mean()) < 0.02


def test_the_command_trains(model, pictures, tmp_path):
    from mezzotint_controlnet.training.command import command

    arguments = [
        str(pictures()),
        "-o",
        str(tmp_path / "edges"),
        "--model",
        str(model),
        "--preprocess",
        "canny",
    ]
    result = CliRunner().invoke(
        command, [*arguments, "--steps", "2", "--batch-size", "2", "--quiet", "--no-tensorboard"]
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "edges" / WEIGHTS).exists()


def test_weights_that_float16_cannot_hold_are_not_saved_as_infinity(trained_pipe, tmp_path):
    with attached_controlnet(trained_pipe, settings(save_dtype="float16")) as controlnet:
        weight = controlnet.networks.controlnet.conv_in.weight
        weight.data[0, 0, 0, 0] = 1e5
        with pytest.raises(
            TrainingError, match=r"conv_in.weight has a weight of 1e\+05, .* save_dtype=float32"
        ):
            controlnet.export(tmp_path / "net", None)
        assert weight.dtype == torch.float32
    assert not list(tmp_path.iterdir())


def test_an_option_of_a_new_network_does_not_go_with_one_that_is_there(tmp_path):
    with pytest.raises(TrainingError, match="start has its own hint_channels; leave one of them out"):
        settings(start=tmp_path, hint_channels=(8, 16))
