"""Stable Diffusion XL: two text encoders, pooled text and sizes, against diffusers' pipelines, bit for bit."""

from __future__ import annotations

import json
import shutil

import diffusers
import pytest
import torch
from mezzotint import Extension, hookimpl
from mezzotint.errors import HookReturnError, ModelError
from mezzotint.hooks.conditioning import Conditioning
from mezzotint.models.loading import open_folder
from mezzotint.testing import fingerprint, save_tiny_xl_model, tiny_pipeline

SCHEDULERS = [
    None,
    "DDIMScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "HeunDiscreteScheduler",
]
STEPS = 3
SEED = 11


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One that zeroes an empty negative prompt, as the base model, and one that does not."""
    made = tmp_path_factory.mktemp("sdxl")
    return {
        zeros: save_tiny_xl_model(made / str(zeros), force_zeros_for_empty_prompt=zeros)
        for zeros in (True, False)
    }


@pytest.fixture(scope="module")
def pipes(folders):
    return {
        zeros: (tiny_pipeline(folder), stock_of(diffusers.StableDiffusionXLPipeline, folder))
        for zeros, folder in folders.items()
    }


@pytest.fixture
def folder(folders):
    return folders[True]


@pytest.fixture
def pipe(pipes):
    return pipes[True][0]


def stock_of(cls, folder, **options):
    stock = cls.from_pretrained(folder, add_watermarker=False, **options)
    stock.set_progress_bar_config(disable=True)
    return stock


def generators(n):
    return [torch.Generator("cpu").manual_seed(SEED + k) for k in range(n)]


def run_both(pipes, scheduler=None, *, prompt="a cat", negative=None, n=1, guidance=7.5, size=(32, 32)):
    """Our result, and latents and pictures of diffusers, from the same folder and seeds."""
    pipe, stock = pipes
    config = pipe.scheduler.config
    cls = getattr(diffusers, scheduler) if scheduler else type(pipe.scheduler)
    prompts = [prompt] if isinstance(prompt, str) else prompt
    stock.scheduler = cls.from_config(config)
    result = pipe(
        prompt,
        negative=negative,
        steps=STEPS,
        guidance=guidance,
        seed=SEED,
        n=n,
        size=size,
        scheduler=cls.from_config(config) if scheduler else None,
    )
    expected = stock(
        prompt=prompts,
        negative_prompt=negative if negative is None else [negative] * len(prompts),
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        num_images_per_prompt=n,
        width=size[0],
        height=size[1],
        generator=generators(n * len(prompts)),
        output_type="latent",
    ).images
    return result, expected


@pytest.mark.parametrize("guidance", [1.0, 7.5])
@pytest.mark.parametrize("negative", [None, "ugly"])
@pytest.mark.parametrize("zeros", [True, False], ids=["zeros", "no zeros"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_latents_are_equal_bit_for_bit(pipes, scheduler, zeros, negative, guidance):
    result, expected = run_both(pipes[zeros], scheduler, n=2, negative=negative, guidance=guidance)
    assert torch.equal(result.latents, expected)


@pytest.mark.parametrize("zeros", [True, False], ids=["zeros", "no zeros"])
def test_several_prompts_and_another_size(pipes, zeros):
    result, expected = run_both(pipes[zeros], prompt=["a cat", "a dog on a chair"], n=2, size=(48, 24))
    assert torch.equal(result.latents, expected)


def test_pictures_are_equal_pixel_for_pixel(pipes):
    pipe, stock = pipes[True]
    stock.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    pictures = stock(
        ["a cat"], num_inference_steps=STEPS, guidance_scale=7.5, generator=generators(1), output_type="pil"
    ).images
    result = pipe("a cat", steps=STEPS, guidance=7.5, seed=SEED)
    assert [image.tobytes() for image in result.images] == [image.tobytes() for image in pictures]


def test_image_k_of_a_batch_is_what_it_is_alone_with_and_without_a_negative_prompt(pipe):
    together = pipe(["a cat", "a dog"], negative=["", "ugly"], steps=2, guidance=5, seed=SEED)
    for k, (prompt, negative) in enumerate((("a cat", ""), ("a dog", "ugly"))):
        alone = pipe(prompt, negative=negative, steps=2, guidance=5, seed=SEED + k)
        torch.testing.assert_close(together.latents[k], alone.latents[0], rtol=1e-4, atol=1e-5)


def test_a_vae_in_half_precision_that_says_so_decodes_in_float32_and_is_restored(folder, monkeypatch):
    pipe = tiny_pipeline(folder)
    pipe.vae.half()
    assert pipe.vae.config.force_upcast
    before = fingerprint(pipe)
    seen = []
    plain = pipe.vae.decode
    monkeypatch.setattr(pipe.vae, "decode", lambda z, **o: (seen.append(z.dtype), plain(z, **o))[1])
    result = pipe("a cat", steps=2, seed=SEED)
    monkeypatch.undo()
    vae = pipe.vae
    assert seen == [torch.float32]
    assert vae.dtype == torch.float16
    assert fingerprint(pipe) == before
    with torch.no_grad():
        expected = vae.float().decode(result.latents / vae.config.scaling_factor, return_dict=False)[0]
    assert result.images[0].tobytes() == pipe._image_processor.postprocess(expected)[0].tobytes()


def test_a_vae_with_a_mean_and_deviation_decodes_as_diffusers_does(folder, tmp_path):
    own = shutil.copytree(folder, tmp_path / "model")
    config = own / "vae" / "config.json"
    statistics = {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [1.5, 0.5, 2.0, 1.0]}
    config.write_text(json.dumps({**json.loads(config.read_text()), **statistics}))
    stock = stock_of(diffusers.StableDiffusionXLPipeline, own)
    picture = stock("a cat", num_inference_steps=2, generator=generators(1)).images[0]
    ours = tiny_pipeline(own)("a cat", steps=2, guidance=5, seed=SEED).images[0]
    assert ours.tobytes() == picture.tobytes()


class Cropped(Extension, name="cropped"):
    """Another original size, crop and size for the prompt, and the usual ones for the negative prompt."""

    @hookimpl
    def conditioning(self, conditioning, pass_):
        if pass_.name == "negative":
            return None
        ids = conditioning.added["time_ids"].new_tensor([[64, 64, 4, 8, 32, 32]]).repeat(conditioning.rows, 1)
        return conditioning.replace(added={**conditioning.added, "time_ids": ids})


def test_sizes_that_a_hook_changes_are_those_that_diffusers_is_given(folder, pipe):
    result = pipe("a cat", steps=2, guidance=5, seed=SEED, size=(48, 24), use=[Cropped()])
    expected = stock_of(diffusers.StableDiffusionXLPipeline, folder)(
        "a cat",
        num_inference_steps=2,
        width=48,
        height=24,
        generator=generators(1),
        output_type="latent",
        original_size=(64, 64),
        crops_coords_top_left=(4, 8),
        target_size=(32, 32),
        negative_original_size=(24, 48),
        negative_target_size=(24, 48),
    ).images
    assert torch.equal(result.latents, expected)


def test_added_conditions_have_the_rows_of_their_passes(pipe):
    class Look(Extension, name="look"):
        @hookimpl
        def unet_input(self, run):
            ids, pooled = (run.conditioning.added[name] for name in ("time_ids", "text_embeds"))
            # diffusers alternates the passes' sizes here, from two images on.
            assert ids[run.rows("positive")].tolist() == [[64, 64, 4, 8, 32, 32]] * 4
            assert ids[run.rows("negative")].tolist() == [[24, 48, 0, 0, 24, 48]] * 4
            assert not pooled[run.rows("negative")].any()
            assert torch.equal(pooled[run.rows("positive")][0], pooled[run.rows("positive")][1])
            assert not torch.equal(pooled[run.rows("positive")][1], pooled[run.rows("positive")][2])
            assert run.encode(["a", "b", "c"]).added["time_ids"].tolist() == [[24, 48, 0, 0, 24, 48]] * 3

    pipe(["a cat", "a dog"], steps=1, guidance=5, n=2, size=(48, 24), use=[Cropped(), Look()])


def test_an_encoder_of_an_extension_must_give_the_pooled_text(pipe):
    class Half(Extension, name="half"):
        @hookimpl
        def encode_prompt(self, prompts, run):
            return Conditioning(run.encode(prompts).embeddings)

    with pytest.raises(HookReturnError, match="half.*without text_embeds; expected text_embeds in its added"):
        pipe("a cat", steps=1, use=[Half()])


def test_patches_reach_both_text_encoders_and_nothing_is_left(pipe):
    from contextlib import contextmanager

    reached = []

    class Patch(Extension, name="patch"):
        @hookimpl
        @contextmanager
        def patch_text_encoder(self, text_encoder, name, pipe):
            reached.append((name, pipe.text_encoders[name].model is text_encoder))
            weight = text_encoder.get_input_embeddings().weight
            before = weight.clone()
            weight.mul_(2)
            try:
                yield
            finally:
                weight.copy_(before)

    before = fingerprint(pipe)
    plain = pipe("a cat", steps=1, seed=SEED).latents
    patched = pipe("a cat", steps=1, seed=SEED, use=[Patch()]).latents
    with pipe.using(Patch()):
        assert torch.equal(pipe("a cat", steps=1, seed=SEED).latents, patched)
    assert reached == [("text_encoder", True), ("text_encoder_2", True)] * 2
    assert not torch.equal(patched, plain)
    assert fingerprint(pipe) == before


def test_both_vocabularies_are_in_the_fingerprint_and_both_encoders_in_the_recipe(folder, pipe, tmp_path):
    other = shutil.copytree(folder, tmp_path / "model")
    save_tiny_xl_model(tmp_path / "second", seed=1)
    shutil.copy(tmp_path / "second" / "text_encoder_2" / "model.safetensors", other / "text_encoder_2")
    assert tiny_pipeline(other).fingerprint != pipe.fingerprint
    assert {"text_encoder: tokenizer", "text_encoder_2: tokenizer"} <= fingerprint(pipe).entries.keys()


def test_an_index_that_does_not_say_zeroes_as_diffusers_does(folder, tmp_path):
    own = shutil.copytree(folder, tmp_path / "model")
    index = json.loads((own / "model_index.json").read_text())
    del index["force_zeros_for_empty_prompt"]
    (own / "model_index.json").write_text(json.dumps(index))
    assert open_folder(own, torch.float32).zeros_for_empty_negative


def test_a_folder_of_the_variant_fp16_alone_opens(folder, tmp_path):
    own = tmp_path / "model"
    stock_of(diffusers.StableDiffusionXLPipeline, folder).save_pretrained(own, variant="fp16")
    assert not list(own.rglob("*model.safetensors"))
    opened, plain = (open_folder(path, torch.float32).modules for path in (own, folder))
    for name, module in opened.items():
        theirs = plain[name].state_dict()
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in module.state_dict().items())


def edit_index(folder, **changes):
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"text_encoder": [None, None], "tokenizer": [None, None]}, "is the refiner of Stable Diffusion XL"),
        ({"tokenizer_2": None}, "names no tokenizer_2; a Stable Diffusion XL folder has one"),
        (
            {"text_encoder_2": ["transformers", "CLIPTextModel"]},
            "text_encoder_2 is transformers.CLIPTextModel; expected transformers.CLIPTextModelWithProjection",
        ),
        ({"force_zeros_for_empty_prompt": "false"}, "is 'false'; it must be true or false"),
        ({"unet": [None, None], "_class_name": "FluxPipeline"}, r"names no unet \(FluxPipeline\)"),
        (
            {"text_encoder_2": [None, None], "tokenizer_2": [None, None]},
            "the U-Net's cross_attention_dim is 72, the text encoder's hidden_size 32",
        ),
    ],
)
def test_folders_that_are_not_whole_are_refused(folder, tmp_path, changes, sentence):
    own = shutil.copytree(folder, tmp_path / "model")
    edit_index(own, **changes)
    with pytest.raises(ModelError, match=sentence):
        open_folder(own, torch.float32)


@pytest.mark.parametrize(
    ("unet", "sentence"),
    [
        ({"cross_attention_dim": 64}, r"cross_attention_dim is 64, the text encoders' hidden_size 32 \+ 40"),
        (
            {"projection_class_embeddings_input_dim": 64},
            "is 64, not 6 times its addition_time_embed_dim of 8",
        ),
    ],
)
def test_parts_of_different_models_are_refused(tmp_path, unet, sentence):
    folder = save_tiny_xl_model(tmp_path / "model", **unet)
    with pytest.raises(ModelError, match=sentence):
        open_folder(folder, torch.float32)
