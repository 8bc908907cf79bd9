"""Every extension with the two text encoders of Stable Diffusion XL, against diffusers, compel and closed forms."""

from __future__ import annotations

import shutil

import diffusers
import pytest
import torch
from embeddings_told import told
from mezzotint.errors import ModelError, RequestError
from mezzotint.testing import fingerprint, save_tiny_xl_model, tiny_pipeline
from mezzotint_conditioning import (
    CLIP,
    T5,
    Blend,
    ClipSkip,
    IPAdapter,
    PromptEmbeds,
    PromptSchedule,
    PromptSyntax,
    Region,
    SizeConditioning,
    TextualInversion,
    embed,
    embed_pooled,
)
from PIL import Image
from safetensors.torch import save_file

RUN = {"steps": 2, "seed": 1, "guidance": 5.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_xl_model(tmp_path_factory.mktemp("models") / "xl")


@pytest.fixture(scope="module")
def xl(folder):
    return tiny_pipeline(folder)


@pytest.fixture(autouse=True)
def as_it_was(xl):
    before = fingerprint(xl)
    yield
    assert fingerprint(xl).diff(before) == []


def stock(folder):
    stock = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    stock.set_progress_bar_config(disable=True)
    return stock


def run_stock(pipe, prompt, guidance=5.0, **options):
    return pipe(
        prompt,
        num_inference_steps=2,
        guidance_scale=guidance,
        generator=[torch.Generator("cpu").manual_seed(1)],
        output_type="latent",
        **options,
    ).images


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_clip_skip_is_that_of_diffusers(xl, folder, layers):
    # Of the prompt: diffusers does not skip for the negative prompt.
    expected = run_stock(stock(folder), "a cat", guidance=1.0, clip_skip=layers)
    assert torch.equal(xl("a cat", steps=2, seed=1, guidance=1, use=[ClipSkip(layers)]).latents, expected)


def test_clip_skip_goes_with_everything_that_encodes(xl):
    alone = told(xl, "a cat", [ClipSkip()])[0]["positive"]
    for other in (PromptSyntax(), CLIP(), PromptSyntax(syntax="compel")):
        assert torch.equal(told(xl, "a cat", [ClipSkip(), other])[0]["positive"], alone)


@pytest.mark.parametrize("count", [1, 2])
def test_a_textual_inversion_is_that_of_diffusers_in_both_encoders(xl, folder, tmp_path, count):
    generator = torch.Generator().manual_seed(0)
    widths = {"clip_l": 32, "clip_g": 40}
    tensors = {name: torch.randn(count, width, generator=generator) for name, width in widths.items()}
    save_file(tensors, tmp_path / "cat.safetensors")
    other = stock(folder)
    for name, suffix in (("clip_l", ""), ("clip_g", "_2")):
        encoder, tokenizer = getattr(other, f"text_encoder{suffix}"), getattr(other, f"tokenizer{suffix}")
        # diffusers takes a vector for one token, and a matrix for several.
        vectors = tensors[name][0] if count == 1 else tensors[name]
        other.load_textual_inversion(
            {"<cat>": vectors}, token="<cat>", text_encoder=encoder, tokenizer=tokenizer
        )
    expected = run_stock(other, "a <cat> toy", negative_prompt="ugly")
    use = TextualInversion(tmp_path / "cat.safetensors", token="<cat>")
    assert torch.equal(xl("a <cat> toy", negative="ugly", **RUN, use=[use]).latents, expected)
    assert not torch.equal(xl("a <cat> toy", negative="ugly", **RUN).latents, expected)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"<cat>": torch.zeros(1, 768)},
            r"768 \(Stable Diffusion 1\) for one text encoder; this model has 2",
        ),
        (
            {"clip_l": torch.zeros(1, 768), "clip_g": torch.zeros(1, 1280)},
            r"vectors of width 768 \(Stable Diffusion 1\); this text encoder takes 32",
        ),
        (
            {"clip_l": torch.zeros(1, 32), "clip_g": torch.zeros(1, 48)},
            "width 48; this text encoder 2 takes 40",
        ),
        ({"clip_l": torch.zeros(1, 32), "clip_g": torch.zeros(2, 40)}, "has 1 and 2 vectors"),
    ],
)
def test_a_textual_inversion_of_another_model_is_one_sentence(xl, tmp_path, tensors, message):
    save_file(tensors, tmp_path / "wrong.safetensors")
    with pytest.raises(ModelError, match=message):
        xl("a", steps=1, use=[TextualInversion(tmp_path / "wrong.safetensors")])


@pytest.mark.parametrize("use", [CLIP(), PromptSyntax(), PromptSyntax(syntax="compel")])
@pytest.mark.parametrize("negative", ["", "ugly"])
def test_text_without_syntax_keeps_every_bit(xl, use, negative):
    plain = xl("a cat", negative=negative, **RUN).latents
    assert torch.equal(xl("a cat", negative=negative, **RUN, use=[use]).latents, plain)


def test_weights_scale_each_encoder_and_keep_its_mean(xl):
    weighted = told(xl, "(a:1.5)", [PromptSyntax()])[0]["positive"]
    plain = told(xl, "a")[0]["positive"]
    for part, own in zip(weighted.split([32, 40], dim=-1), plain.split([32, 40], dim=-1), strict=True):
        expected = own.clone()
        expected[:, 1] *= 1.5
        torch.testing.assert_close(part, expected * (own.mean() / expected.mean()), rtol=1e-4, atol=1e-5)


def test_the_pooled_text_of_a_long_prompt_is_the_first_chunks(xl):
    long = "abcdefghijklmn opqrstuvw"
    assert embed(xl, long, use=PromptSyntax()).shape == (1, 32, 72)
    pooled = embed_pooled(xl, long, use=PromptSyntax())
    assert torch.equal(pooled, embed_pooled(xl, "abcdefghijklmn", use=PromptSyntax()))


def test_compels_weights_are_compels(xl, folder):
    from compel import Compel, ReturnedEmbeddingsType

    other = stock(folder)
    compel = Compel(
        tokenizer=[other.tokenizer, other.tokenizer_2],
        text_encoder=[other.text_encoder, other.text_encoder_2],
        returned_embeddings_type=ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
        requires_pooled=[False, True],
    )
    with torch.no_grad():
        expected = compel("(a cat)1.4 b--")[0]
    use = PromptSyntax(syntax="compel")
    torch.testing.assert_close(embed(xl, "(a cat)1.4 b--", use=use), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(embed_pooled(xl, "(a cat)1.4 b--", use=use), embed_pooled(xl, "a cat b"))


def test_a_prompt_that_changes_over_the_steps_has_its_pooled_text_at_each(xl):
    changing = xl("a [cat:dog:0.5]", **RUN, use=[PromptSyntax()]).latents
    schedule = xl("a cat", **RUN, use=[PromptSchedule({0.5: "a dog"})]).latents
    assert torch.equal(changing, schedule)
    assert not torch.equal(changing, xl("a cat", **RUN).latents)


def test_an_empty_negative_prompt_stays_zeros_where_the_prompt_changes(xl):
    steps = told(xl, "a [cat:dog dog dog dog dog:0.5]", [PromptSyntax()], guidance=5)
    assert steps[0]["negative"].shape[1] == 32
    assert not any(step["negative"].any() for step in steps)


def test_an_empty_negative_prompt_is_zeros_whoever_asks_for_it(xl):
    for step, zeros in zip(
        told(xl, "a cat", [PromptSchedule({0.5: ""}, negative=True)], negative="ugly", guidance=5),
        (False, False, True, True),
        strict=True,
    ):
        assert step["negative"].any() != zeros
    long = embed(xl, "a cat dog dog dog dog dog", use=PromptSyntax())
    assert long.shape[1] == 32
    given = PromptEmbeds(positive=long, positive_pooled=embed_pooled(xl, "a cat"))
    for step in told(xl, "a cat", [given], guidance=5):
        assert step["negative"].shape[1] == 32
        assert not step["negative"].any()


def test_a_blend_is_of_the_pooled_text_as_well(xl):
    assert torch.equal(xl("a cat", **RUN, use=[Blend("a dog", amount=1)]).latents, xl("a dog", **RUN).latents)
    half = embed_pooled(xl, "a cat", use=Blend("a dog", amount=0.5, mode="lerp"))
    torch.testing.assert_close(half, (embed_pooled(xl, "a cat") + embed_pooled(xl, "a dog")) / 2)


def test_embeddings_and_their_pooled_ones_are_the_prompts_run(xl, tmp_path):
    given = {"positive": embed(xl, "a cat"), "positive_pooled": embed_pooled(xl, "a cat")}
    save_file(given, tmp_path / "cat.safetensors")
    expected = xl("a cat", **RUN).latents
    for use in (PromptEmbeds(**given), PromptEmbeds(tmp_path / "cat.safetensors")):
        assert torch.equal(xl("a dog", **RUN, use=[use]).latents, expected)


def test_embeddings_without_their_pooled_ones_are_refused(xl, pipe):
    positive = embed(xl, "a cat")
    with pytest.raises(RequestError, match="takes positive_pooled as well as positive; give both"):
        xl("a", **RUN, use=[PromptEmbeds(positive=positive)])
    with pytest.raises(RequestError, match=r"positive_pooled has shape \(1, 3\); this model takes \(24,\)"):
        xl("a", **RUN, use=[PromptEmbeds(positive=positive, positive_pooled=torch.zeros(1, 3))])
    with pytest.raises(RequestError, match="takes no positive_pooled; leave it out"):
        pipe("a", **RUN, use=[PromptEmbeds(positive=torch.zeros(16, 32), positive_pooled=torch.zeros(24))])


def test_a_region_everywhere_is_its_prompt_with_the_pooled_text_of_the_runs(xl):
    whole = Region("a dog", Image.new("RGB", (8, 8), "white"))
    other = PromptEmbeds(positive=embed(xl, "a dog"), positive_pooled=embed_pooled(xl, "a cat"))
    found = xl("a cat", **RUN, use=[whole]).latents
    torch.testing.assert_close(found, xl("a cat", **RUN, use=[other]).latents, rtol=1e-3, atol=1e-4)


def test_another_text_encoder_is_refused(xl, tiny_model):
    with pytest.raises(ModelError, match="clip: encoder= is one text encoder in place of the model's"):
        xl("a cat", steps=1, use=[CLIP(tiny_model)])
    with pytest.raises(ModelError, match="this model's text encoder is CLIPTextModel"):
        xl("a cat", steps=1, use=[T5()])


def test_sizes_are_those_that_diffusers_is_told(xl, folder, pipe):
    sizes = {"original_size": (64, 96), "crops_coords_top_left": (4, 8), "target_size": (40, 48)}
    negative = {"negative_original_size": (16, 24), "negative_target_size": (32, 40)}
    other = stock(folder)
    use = SizeConditioning(original=(96, 64), crop=(8, 4), target=(48, 40))
    assert torch.equal(xl("a cat", **RUN, use=[use]).latents, run_stock(other, "a cat", **sizes))
    use = SizeConditioning(
        original=(96, 64),
        crop=(8, 4),
        target=(48, 40),
        negative_original=(24, 16),
        negative_crop=(0, 0),
        negative_target=(40, 32),
    )
    assert torch.equal(xl("a cat", **RUN, use=[use]).latents, run_stock(other, "a cat", **sizes, **negative))
    with pytest.raises(RequestError, match="size-conditioning is for Stable Diffusion XL"):
        pipe("a cat", **RUN, use=[use])


def test_an_image_prompt_is_that_of_diffusers(xl, folder, adapters, tmp_path):
    generator = torch.Generator().manual_seed(0)
    width = xl.unet.config.cross_attention_dim

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    tensors = {"proj.weight": draw(4 * width, 24), "proj.bias": draw(4 * width)}
    tensors |= {"norm.weight": draw(width), "norm.bias": draw(width)}
    tensors = {f"image_proj.{name}": tensor for name, tensor in tensors.items()}
    for number, name in enumerate(xl.unet.attn_processors):
        if "attn2" in name:
            out = xl.unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
            tensors |= {f"ip_adapter.{number}.to_{part}_ip.weight": draw(out, width) for part in "kv"}
    save_file(tensors, tmp_path / "adapter.safetensors")
    shutil.copytree(adapters / "image_encoder", tmp_path / "image_encoder")
    other = stock(folder)
    other.load_ip_adapter(
        str(tmp_path), subfolder="", weight_name="adapter.safetensors", image_encoder_folder="image_encoder"
    )
    other.set_ip_adapter_scale(0.6)
    picture = Image.effect_noise((32, 32), 80).convert("RGB")
    expected = run_stock(other, "a cat", ip_adapter_image=picture)
    use = IPAdapter(tmp_path / "adapter.safetensors", image=picture, scale=0.6)
    assert torch.equal(xl("a cat", **RUN, use=[use]).latents, expected)
