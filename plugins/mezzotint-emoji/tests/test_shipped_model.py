"""The folder that is in the package."""

import json

import mezzotint
import mezzotint_emoji
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel
from mezzotint_emoji import EDGES, MODEL
from mezzotint_emoji.recipe.sources import EMOJIBASE, SOURCES

PROMPT = "3d render of a ghost"


@pytest.fixture(scope="module")
def stock() -> StableDiffusionPipeline:
    pipe = StableDiffusionPipeline.from_pretrained(MODEL)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_plain_diffusers_opens_it_and_gives_the_same_latents(stock):
    ours = mezzotint.load("emoji", dtype="float32")(PROMPT, steps=3, guidance=4.0, seed=5)
    theirs = stock(
        PROMPT,
        num_inference_steps=3,
        guidance_scale=4.0,
        generator=torch.Generator("cpu").manual_seed(5),
        output_type="latent",
    ).images
    assert torch.equal(ours.latents, theirs)


def test_it_draws_the_same_picture_alone_and_in_a_batch():
    pipe = mezzotint.load("emoji", dtype="float32")
    both = pipe(PROMPT, steps=2, seed=5, n=2).latents
    assert torch.allclose(both[1:], pipe(PROMPT, steps=2, seed=6).latents, atol=1e-4)


def test_it_takes_at_most_40_megabytes():
    folder = MODEL.parent
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) <= 40e6
    assert not [path for path in files if path.suffix in (".bin", ".pt", ".pth", ".ckpt", ".npy")]


def test_words_of_prompts_have_tokens_of_their_own(stock):
    tokens = stock.tokenizer.tokenize("3d render of a cat on a chair, light blue background")
    assert [token.removesuffix("</w>") for token in tokens] == (
        ["3", "d", "render", "of", "a", "cat", "on", "a", "chair", ",", "light", "blue", "background"]
    )


def test_what_the_model_says_of_itself():
    emoji, edges = mezzotint_emoji.models()
    assert emoji.path == MODEL
    assert emoji.example_prompts
    assert (edges.path, edges.kind) == (EDGES, "controlnet")
    assert {source.license for source in SOURCES} <= {"MIT", "Apache-2.0"}
    assert EMOJIBASE in SOURCES


@torch.no_grad()
def test_a_right_caption_explains_a_picture_better_than_a_wrong_one(stock):
    """The pictures are the model's own, from other noise: enough to tell it from one that has learned nothing."""
    prompts = ["3d render of a red apple", "flat icon of bus", "cartoon emoji of cactus", "red heart"]
    made = stock(
        prompts, num_inference_steps=8, generator=torch.Generator().manual_seed(1), output_type="latent"
    ).images
    noise = torch.randn(made.shape, generator=torch.Generator().manual_seed(2))
    timesteps = torch.full((len(prompts),), 700)
    noisy = stock.scheduler.add_noise(made, noise, timesteps)
    target = stock.scheduler.get_velocity(made, noise, timesteps)

    def errors(captions: list[str]) -> torch.Tensor:
        embeddings = stock.encode_prompt(captions, "cpu", 1, False)[0]
        return (stock.unet(noisy, timesteps, embeddings).sample - target).square().mean(dim=(1, 2, 3))

    assert (errors(prompts) < errors(prompts[1:] + prompts[:1])).all()


def test_the_edge_controlnet_fits_the_model_and_says_no_path():
    network = ControlNetModel.from_pretrained(EDGES)
    unet = UNet2DConditionModel.from_pretrained(MODEL / "unet")
    assert network.config.block_out_channels == unet.config.block_out_channels
    assert "_name_or_path" not in json.loads((EDGES / "config.json").read_text())
