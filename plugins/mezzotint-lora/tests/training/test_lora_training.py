"""Training of every kind: identity at the start, plain deltas at the end, and the model as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mezzotint import Pipeline
from mezzotint.testing import fingerprint, save_tiny_model, tiny_pipeline
from mezzotint_lora import read_adapter, write_adapter
from mezzotint_lora.training import LoRASettings, attached_lora, train_lora
from mezzotint_lora.training.injecting import NAME
from mezzotint_training import TrainingError, prepare, train
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

KINDS = [
    {},
    {"rslora": True, "rank": 4, "alpha": 2.0},
    {"dora": True},
    {"init": "gaussian"},
    {"init": "pissa"},
    {"init": "olora"},
    {"kind": "loha"},
    {"kind": "lokr"},
    {"kind": "lokr", "factor": 2, "rank": 8},
    {"targets": "attention"},
    {"targets": "all", "conv_rank": 3, "conv_alpha": 1.0},
    {"targets": "all", "dora": True},
    {"targets": "all", "kind": "loha"},
    {"targets": "all", "kind": "lokr"},
    {"train_text_encoder": True},
]


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def pipe(tiny_model: Path) -> Pipeline:
    """One for all tests: training leaves it as it was."""
    return tiny_pipeline(tiny_model)


def make_pictures(parent: Path, *sizes: tuple[int, int], name: str = "pictures") -> Path:
    folder = parent / name
    folder.mkdir()
    random = np.random.default_rng(0)
    for number, (width, height) in enumerate(sizes or [(32, 32)] * 3):
        pixels = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"cat {number}, red")
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    return partial(make_pictures, tmp_path)


def settings(**options) -> LoRASettings:
    return LoRASettings(
        **{"steps": 3, "batch_size": 2, "rank": 2, "learning_rate": 1e-2, "tensorboard": False, **options}
    )


INPUTS = {
    "noisy": torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0)),
    "timesteps": torch.tensor([10, 700]),
}


@torch.no_grad()
def outputs(pipe: Pipeline) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.arange(16)[None].repeat(2, 1)
    embeddings = pipe.text_encoder(ids)[0]
    return embeddings, pipe.unet(INPUTS["noisy"], INPUTS["timesteps"], embeddings).sample


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_the_start_is_the_identity_and_only_new_parameters_are_trained(options, pipe):
    before, expected = fingerprint(pipe), outputs(pipe)
    base = [*pipe.unet.parameters(), *pipe.text_encoder.parameters()]
    with attached_lora(pipe, settings(**options)) as lora:
        found = outputs(pipe)
        exact = not (options.get("dora") or options.get("init") in ("pissa", "olora"))
        for a, b in zip(expected, found, strict=True):
            assert torch.equal(a, b) if exact else torch.allclose(a, b, atol=1e-5)
        trained = [p for p in lora.networks.parameters() if p.requires_grad]
        grouped = [p for group in lora.parameter_groups() for p in group.parameters]
        assert {id(p) for p in trained} == {id(p) for p in grouped}
        assert len(grouped) == len(trained)
        assert not any(p.requires_grad for p in base)
        assert all(p.dtype == torch.float32 for p in trained)
    assert not before.diff(fingerprint(pipe))


def test_a_bfloat16_base_is_trained_in_float32_and_restored(tiny_model, pictures, tmp_path):
    pipe = tiny_pipeline(tiny_model)
    for model in (pipe.unet, pipe.vae, pipe.text_encoder):
        model.to(torch.bfloat16)
    before = fingerprint(pipe)
    for init in ("default", "pissa", "olora"):
        output = tmp_path / f"{init}.safetensors"
        train_lora(pipe, pictures((32, 32), name=init), output, settings(init=init, steps=1), quiet=True)
        assert all(
            t.dtype == torch.float32 for name, t in load_file(output).items() if not name.endswith("alpha")
        )
        assert not before.diff(fingerprint(pipe))


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_the_file_applied_to_the_untouched_base_gives_what_was_trained(options, pipe, pictures, tmp_path):
    """Also PiSSA and OLoRA, which peft saves relative to a base that they changed."""
    base, plain, chosen = fingerprint(pipe), outputs(pipe), settings(**options)
    files = [tmp_path / "kohya.safetensors"]
    with attached_lora(pipe, chosen) as lora:
        train(lora, prepare(pictures(), chosen, pipe), files[0], quiet=True)
        trained = outputs(pipe)
        if chosen.kind == "lora":
            files.append(tmp_path / "diffusers.safetensors")
            write_adapter(files[1], lora.adapter(), "diffusers")
    assert not base.diff(fingerprint(pipe))
    assert (trained[1] - plain[1]).abs().max() > 1e-4
    for file in files:
        with applied_by_hand(pipe, file):
            for a, b in zip(trained, outputs(pipe), strict=True):
                assert torch.allclose(a, b, atol=2e-5), file.stem
    assert not base.diff(fingerprint(pipe))


@contextmanager
def applied_by_hand(pipe: Pipeline, path: Path) -> Iterator[None]:
    models = (pipe.unet, pipe.text_encoder)
    before = [{name: p.clone() for name, p in model.state_dict().items()} for model in models]
    apply_by_hand(pipe, path)
    yield
    for model, weights in zip(models, before, strict=True):
        model.load_state_dict(weights)


def apply_by_hand(pipe: Pipeline, path: Path) -> None:
    """W += ΔW, by the formulas of the papers and of LyCORIS, from the file's factors."""
    for target, delta in read_adapter(path).deltas.items():
        model = getattr(pipe, target.component)
        names = {name: name for name, _ in model.named_modules()}
        names |= {name.replace(".", "_"): name for name in list(names)}
        module = target.module.removeprefix("text_model_").removeprefix("text_model.")
        weight = model.get_submodule(names[module]).weight
        t = {name: tensor.double() for name, tensor in delta.tensors.items()}
        if delta.kind == "lora":
            change = (t["up"].flatten(1) @ t["down"].flatten(1)) * (delta.alpha / t["down"].shape[0])
        elif delta.kind == "loha":
            change = (half(t, 1) * half(t, 2)) * (delta.alpha / t["w1_b"].shape[0])
        else:
            w1 = t["w1"] if "w1" in t else t["w1_a"] @ t["w1_b"]
            w2 = t.get("w2")
            if w2 is None and "t2" in t:
                w2 = torch.einsum("rshw,ro,si->oihw", t["t2"], t["w2_a"], t["w2_b"]).contiguous()
            elif w2 is None:
                w2 = t["w2_a"] @ t["w2_b"]
            whole = "w1" in t and "w2" in t
            rank = next((t[name].shape[0] for name in ("w1_b", "w2_b") if name in t), 1)
            change = torch.kron(w1.reshape(*w1.shape, *[1] * (w2.ndim - 2)), w2) * (
                1 if whole else delta.alpha / rank
            )
        with torch.no_grad():
            moved = weight.double() + change.reshape(weight.shape)
            if "magnitude" in t:
                length = moved.flatten(1).norm(dim=1)
                moved = moved * (t["magnitude"].flatten() / length).reshape(-1, *[1] * (weight.ndim - 1))
            weight.copy_(moved)


def half(t, which):
    a, b = t[f"w{which}_a"], t[f"w{which}_b"]
    if f"t{which}" in t:
        return torch.einsum("rshw,ro,si->oihw", t[f"t{which}"], a, b).flatten(1)
    return a @ b


def test_diffusers_reads_the_file_and_computes_the_same(tiny_model, pictures, tmp_path):
    from diffusers import StableDiffusionPipeline

    pipe = tiny_pipeline(tiny_model)
    for format in ("kohya", "diffusers"):
        chosen = settings(format=format, alpha=1.0)
        output = tmp_path / f"{format}.safetensors"
        with attached_lora(pipe, chosen) as lora:
            train(lora, prepare(pictures(name=format), chosen, pipe), output, quiet=True)
            expected = outputs(pipe)
        stock = StableDiffusionPipeline.from_pretrained(tiny_model, safety_checker=None)
        stock.load_lora_weights(str(output))
        with torch.no_grad():
            ids = torch.arange(16)[None].repeat(2, 1)
            found = stock.unet(INPUTS["noisy"], INPUTS["timesteps"], stock.text_encoder(ids)[0]).sample
        assert torch.allclose(found, expected[1], atol=1e-5), format


def test_our_own_extension_reads_the_file(pipe, pictures, tmp_path):
    from mezzotint_lora import LoRA

    output = tmp_path / "a.safetensors"
    train_lora(pipe, pictures(), output, settings(learning_rate=0.1), quiet=True)
    plain = pipe("a cat", seed=1, steps=1).latents
    assert not torch.equal(pipe("a cat", seed=1, steps=1, use=[LoRA(output)]).latents, plain)
    assert torch.equal(pipe("a cat", seed=1, steps=1).latents, plain)


def test_the_header_has_the_steps_that_the_epochs_take(pipe, pictures, tmp_path):
    chosen = settings().replaced(epochs=2, targets="attention")
    train_lora(pipe, pictures(), tmp_path / "a.safetensors", chosen, quiet=True)
    words = read_adapter(tmp_path / "a.safetensors").metadata
    assert words["ss_steps"] == words["ss_max_train_steps"] == "4"


@pytest.mark.parametrize(
    "options", [{"init": "pissa"}, {"rslora": True}, {"rslora": True, "targets": "all", "conv_rank": 2}]
)
def test_the_header_has_the_rank_and_alpha_of_the_file(options, pipe, pictures, tmp_path):
    train_lora(pipe, pictures(), tmp_path / "a.safetensors", settings(rank=4).replaced(**options), quiet=True)
    adapter = read_adapter(tmp_path / "a.safetensors")
    words, linear = adapter.metadata, [d for d in adapter.deltas.values() if d.tensors["down"].ndim == 2]
    assert {str(len(delta.tensors["down"])) for delta in linear} == {words["ss_network_dim"]}
    assert {str(delta.alpha) for delta in linear} == {words["ss_network_alpha"]}


def test_the_header_says_how_each_subset_was_varied_and_counts_as_kohya_does(pipe, pictures, tmp_path):
    folder = pictures()
    toml = tmp_path / "data.toml"
    toml.write_text(
        f"""[[datasets]]
        batch_size = 1
        [[datasets.subsets]]
        image_dir = "{folder}"
        num_repeats = 2
        shuffle_caption = true
        keep_tokens = 1
        caption_dropout_rate = 0.25
        flip_aug = true
        """
    )
    chosen = LoRASettings(steps=8, rank=2, tensorboard=False)
    train_lora(pipe, toml, tmp_path / "a.safetensors", chosen, quiet=True)
    words = read_adapter(tmp_path / "a.safetensors").metadata
    said = {"ss_shuffle_caption": "True", "ss_keep_tokens": "1", "ss_caption_dropout_rate": "0.25"}
    said |= {"ss_flip_aug": "True", "ss_num_train_images": "6", "ss_num_batches_per_epoch": "6"}
    # Eight steps are one epoch and a part of the second.
    said |= {"ss_epoch": "2", "ss_num_epochs": "2"}
    assert {name: words[name] for name in said} == said
    (subset,) = json.loads(words["ss_datasets"])[0]["subsets"]
    assert (subset["img_count"], subset["num_repeats"], subset["keep_tokens"]) == (3, 2, 1)


def test_the_header_counts_pictures_of_the_class_as_often_as_they_come(pipe, pictures, tmp_path):
    of_class = pictures((32, 32), name="class")
    chosen = settings(prior_data=of_class, steps=1)
    train_lora(pipe, pictures(), tmp_path / "a.safetensors", chosen, quiet=True)
    words = read_adapter(tmp_path / "a.safetensors").metadata
    (bucket,) = json.loads(words["ss_bucket_info"])["buckets"].values()
    # Three of the subject, and the one of the class three times.
    assert (bucket["resolution"], bucket["count"]) == ([32, 32], 6)
    assert (words["ss_num_batches_per_epoch"], words["ss_num_reg_images"]) == ("3", "1")


def test_metadata_is_complete_and_alpha_is_saved(pipe, pictures, tmp_path):
    """diffusers' trainer once left alpha out, so that a file loaded with another strength than it was trained with."""
    output = tmp_path / "style.safetensors"
    chosen = settings(alpha=1.0, rank=4, train_text_encoder=True, author="me", title="My style", ema=0.5)
    train_lora(pipe, pictures(), output, chosen, quiet=True)
    with safe_open(output, "pt") as file:
        words = file.metadata()
        alphas = {float(file.get_tensor(key)) for key in file.keys() if key.endswith(".alpha")}  # noqa: SIM118
        keys = set(file.keys())
    assert alphas == {1.0}
    assert {key.split(".")[0].split("_")[1] for key in keys} == {"unet", "te"}
    assert words["ss_network_dim"] == "4"
    assert words["ss_network_alpha"] == "1.0"
    assert words["ss_network_module"] == "networks.lora"
    assert words["ss_output_name"] == "style"
    assert words["ss_steps"] == "3"
    assert words["ss_sd_model_hash"] == pipe.fingerprint
    assert json.loads(words["ss_tag_frequency"]) == {
        "pictures": {"cat 0": 1, "cat 1": 1, "cat 2": 1, "red": 3}
    }
    assert json.loads(words["ss_bucket_info"])["buckets"]["0"]["count"] == 3
    assert json.loads(words["ss_datasets"])[0]["subsets"][0]["img_count"] == 3
    assert words["modelspec.title"] == "My style"
    assert words["modelspec.author"] == "me"
    assert words["modelspec.prediction_type"] == "epsilon"
    assert len(words["sshs_model_hash"]) == 64
    for name in ("ss_unet_lr", "ss_text_encoder_lr", "ss_seed", "ss_resolution", "ss_epoch", "ss_ema_decay"):
        assert name in words


def test_each_model_has_its_own_learning_rate_and_lora_plus_its_ratio(pipe):
    chosen = settings(train_text_encoder=True, text_encoder_learning_rate=1e-3, lora_plus=4.0)
    with attached_lora(pipe, chosen) as lora:
        groups = lora.parameter_groups()
        rates = {group.name: group.learning_rate for group in groups}
        assert rates == pytest.approx(
            {"unet": 1e-2, "unet up": 4e-2, "text_encoder": 1e-3, "text_encoder up": 4e-3}
        )
        ups = {id(p) for group in groups if group.name.endswith("up") for p in group.parameters}
        for part in lora.parts.values():
            for layer in part.layers.values():
                assert id(layer.lora_B["default"].weight) in ups
                assert id(layer.lora_A["default"].weight) not in ups


@pytest.fixture(scope="module")
def trained_without_options(pipe, tmp_path_factory) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("plain")
    train_lora(pipe, make_pictures(folder), folder / "a.safetensors", settings(), quiet=True)
    return load_file(folder / "a.safetensors")


def test_the_same_settings_give_the_same_result(pipe, pictures, trained_without_options, tmp_path):
    train_lora(pipe, pictures(), tmp_path / "b.safetensors", settings(), quiet=True)
    again = load_file(tmp_path / "b.safetensors")
    assert all(torch.equal(again[name], tensor) for name, tensor in trained_without_options.items())


@pytest.mark.parametrize(
    "options",
    [
        {"rank": 3},
        {"alpha": 8.0},
        {"rslora": True, "rank": 4},
        {"dora": True},
        {"init": "pissa"},
        {"dropout": 0.5},
        {"lora_plus": 16.0},
        {"kind": "loha"},
        {"kind": "lokr"},
        {"targets": "attention"},
        {"targets": "all"},
        {"only": ("attn2",)},
        {"skip": ("attn1",)},
        {"train_text_encoder": True},
        {"seed": 1},
    ],
    ids=str,
)
def test_each_option_changes_the_result(options, pipe, pictures, trained_without_options, tmp_path):
    train_lora(pipe, pictures(), tmp_path / "b.safetensors", settings(**options), quiet=True)
    a, b = trained_without_options, load_file(tmp_path / "b.safetensors")
    assert a.keys() != b.keys() or any(
        a[name].shape != b[name].shape or not torch.equal(a[name], b[name]) for name in a
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"train_text_encoder": True, "dropout": 0.3}, {"kind": "loha"}, {"mixed_precision": "bf16"}],
    ids=str,
)
def test_gradient_checkpointing_gives_the_same_weights(options, pipe, pictures, tmp_path):
    folder, before = pictures(), fingerprint(pipe)
    train_lora(pipe, folder, tmp_path / "a.safetensors", settings(**options), quiet=True)
    train_lora(
        pipe, folder, tmp_path / "b.safetensors", settings(gradient_checkpointing=True, **options), quiet=True
    )
    a, b = load_file(tmp_path / "a.safetensors"), load_file(tmp_path / "b.safetensors")
    assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)
    assert not before.diff(fingerprint(pipe))


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"train_text_encoder": True, "dropout": 0.3},
        {"init": "pissa"},
        {"dora": True},
        {"kind": "lokr"},
    ],
    ids=str,
)
def test_a_training_that_is_killed_goes_on_to_the_same_bits(options, pipe, pictures, tmp_path):
    folder = pictures((32, 32), (32, 32), (32, 32), (48, 32))
    chosen = settings(steps=4, save_every=2, **options)
    data = prepare(folder, chosen, pipe)

    def kill(step, loss):
        if step == 3:
            raise Killed

    with attached_lora(pipe, chosen) as lora:
        train(lora, data, tmp_path / "a.safetensors", quiet=True)
    with pytest.raises(Killed), attached_lora(pipe, chosen) as lora:
        train(lora, data, tmp_path / "b.safetensors", quiet=True, on_step=kill)
    with attached_lora(pipe, chosen) as lora:
        train(lora, data, tmp_path / "b.safetensors", quiet=True, resume=True)
    a, b = load_file(tmp_path / "a.safetensors"), load_file(tmp_path / "b.safetensors")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_second_training_in_a_process_has_no_targets_of_the_first(pipe):
    """kohya's trainer added convolutions to a list of its class, so that the next network inherited them."""
    with attached_lora(pipe, settings()) as lora:
        first = set(lora.parts["unet"].layers)
    with attached_lora(pipe, settings(targets="all")) as lora:
        assert set(lora.parts["unet"].layers) > first
    with attached_lora(pipe, settings()) as lora:
        assert set(lora.parts["unet"].layers) == first


def test_loss_on_one_picture_falls(tiny_model, pictures, tmp_path):
    pipe = tiny_pipeline(tiny_model)
    half = pipe.vae.config.latent_channels
    with torch.no_grad():
        # A random VAE says that a picture may be anything, so there would be nothing to learn.
        pipe.vae.quant_conv.weight[half:] = 0
        pipe.vae.quant_conv.bias[half:] = -20
    chosen = settings(steps=20, rank=8, targets="all", learning_rate=3e-2, prediction_type="sample")
    result = train_lora(pipe, pictures((32, 32)), tmp_path / "a.safetensors", chosen, quiet=True)
    losses = [loss for _, loss in result.losses]
    assert losses[-1] < 0.6 * losses[0]


def test_samples_while_training_show_the_lora(pipe, pictures, tmp_path):
    (tmp_path / "prompts.txt").write_text("a cat --d 1 --s 1")
    chosen = settings(learning_rate=0.3, sample_prompts=tmp_path / "prompts.txt", sample_every=3)
    train_lora(pipe, pictures(), tmp_path / "a.safetensors", chosen, quiet=True)
    first, last = (
        np.asarray(Image.open(tmp_path / "a-training" / "samples" / f"step-{step:06d}-0.png"))
        for step in (0, 3)
    )
    assert (first != last).any()
    assert (first == np.asarray(pipe("a cat", seed=1, steps=1).images[0])).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "loha", "dora": True}, "dora goes with kind=lora, not loha"),
        ({"kind": "lokr", "init": "pissa"}, "init=pissa goes with kind=lora"),
        ({"init": "pissa", "dora": True}, "choose one of them"),
        ({"kind": "loha", "format": "diffusers"}, "diffusers' layout has no loha"),
        ({"kind": "loha", "factor": 2}, "factor goes with kind=lokr, not loha"),
        ({"conv_rank": 4}, "conv_rank goes with targets=all, not transformer"),
        (
            {"targets": "all", "init": "pissa", "conv_alpha": 1},
            "conv_alpha goes with init=default or gaussian",
        ),
        ({"text_encoder_learning_rate": 1e-4}, "does nothing without train_text_encoder"),
        ({"network_alpha": 4}, "no option 'network_alpha'; did you mean alpha?"),
        ({"rank": 0}, "option 'rank': input should be greater than or equal to 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, said):
    with pytest.raises(TrainingError, match=said):
        LoRASettings(**options)


def test_settings_that_ask_for_nothing_more_than_defaults_are_taken():
    assert LoRASettings(factor=-1) == LoRASettings(**LoRASettings().model_dump()) == LoRASettings()


def test_the_trigger_is_a_caption_that_was_trained(pipe, pictures, tmp_path):
    folder, skipped = pictures(), settings(caption="a cat", bad_images="skip", steps=1)
    (folder / "0.txt").unlink()

    def trigger(name):
        path = train_lora(pipe, folder, tmp_path / name, skipped, quiet=True).path
        with safe_open(path, "pt") as file:
            return file.metadata().get("modelspec.trigger_phrase")

    assert trigger("a.safetensors") == "a cat"
    (folder / "0.png").write_bytes(b"")
    assert trigger("b.safetensors") is None


def attach(pipe, **options):
    with attached_lora(pipe, settings(**options)):
        pass


def test_targets_that_are_not_there_are_refused(pipe):
    for pattern, said in (
        (
            "time_embedding",
            r"those are such as down_blocks\.0\.attentions\.0\.proj_in and mid_block\.attentions",
        ),
        ("resnets", r"down_blocks\.0\.resnets\.0\.conv1 is among those of targets=all"),
    ):
        with pytest.raises(
            TrainingError, match=f"no layers for targets=transformer that match {pattern}; {said}"
        ):
            attach(pipe, only=(pattern,))
    with pytest.raises(TrainingError, match=r"match conv1; those are such as .*to_q and .*net\.2"):
        attach(pipe, only=("conv1",), init="pissa")
    with pytest.raises(
        TrainingError, match=r"option 'only': a list of patterns, such as .*, not 'up_blocks'"
    ):
        settings(only="up_blocks")
    with pytest.raises(TrainingError, match="should have at least 1 character"):
        settings(only=("attn1", ""))
    with pytest.raises(TrainingError, match="is no regular expression"):
        attach(pipe, only=("(",))


def test_a_model_with_peft_layers_is_refused(pipe):
    with attached_lora(pipe, settings()), pytest.raises(TrainingError, match="has peft layers in it"):
        attach(pipe)


def test_an_output_that_exists_or_is_of_another_kind_is_refused(pipe, pictures, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"")
    with pytest.raises(TrainingError, match="exists; name another output"):
        train_lora(pipe, pictures(), tmp_path / "a.safetensors")
    with pytest.raises(TrainingError, match=r"a LoRA is a \.safetensors file"):
        train_lora(pipe, tmp_path, tmp_path / "a.ckpt")


def test_weights_that_float16_cannot_hold_are_not_saved_as_infinity(pipe, pictures, tmp_path):
    chosen, path = settings(save_dtype="float16", steps=2, save_every=1), tmp_path / "a.safetensors"
    data = prepare(pictures(), chosen, pipe)

    def grow(step: int, _: float) -> None:
        if step == 2:
            part = lora.parts["unet"].layers["mid_block.attentions.0.proj_in"]
            part.lora_A[NAME].weight.data.fill_(7e4)

    with attached_lora(pipe, chosen) as lora:
        said = r"unet.mid_block.attentions.0.proj_in has a weight of 7e\+04, and float16 ends at 65504; save it with save_dtype=float32 or bfloat16; step 2 is saved"
        with pytest.raises(TrainingError, match=said):
            train(lora, data, path, quiet=True, on_step=grow)
    assert not path.exists()
    taken = []
    with attached_lora(pipe, chosen.replaced(save_dtype="float32")) as lora:
        wider = prepare(tmp_path / "pictures", lora.settings, pipe)
        trained = train(
            lora, wider, path, resume=True, quiet=True, on_step=lambda step, _: taken.append(step)
        )
    assert trained.finished
    assert taken == []
