import json

import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler, EulerDiscreteScheduler, StableDiffusionPipeline
from mezzotint_emoji.recipe import export as export_module
from mezzotint_emoji.recipe.encoder import LATENT_CHANNELS, fit_encoder
from mezzotint_emoji.recipe.networks import TEXT_WIDTH, make_scheduler, make_text_encoder, make_unet, make_vae
from mezzotint_emoji.recipe.tokenizer import byte_symbols, save_tokenizer


@pytest.fixture
def pipeline(tmp_path) -> StableDiffusionPipeline:
    """The untrained model with a tokenizer of bytes."""
    from transformers import CLIPTokenizer

    save_tokenizer([], tmp_path / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert len(tokenizer) == 2 * len(byte_symbols()) + 2
    return StableDiffusionPipeline(
        vae=make_vae(fit_encoder(torch.rand(8, 3, 64, 64))),
        text_encoder=make_text_encoder(torch.randn(len(tokenizer), TEXT_WIDTH)),
        tokenizer=tokenizer,
        unet=make_unet(),
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def test_export_opens_in_plain_diffusers_and_names_no_path(pipeline, tmp_path, monkeypatch):
    pipeline.vae.register_to_config(_name_or_path=str(tmp_path))
    monkeypatch.setattr(export_module, "load_pipeline", lambda work: pipeline)
    sizes = export_module.export(tmp_path, tmp_path / "model")
    assert set(sizes) == {"scheduler", "text_encoder", "tokenizer", "unet", "vae"}
    assert not [path for path in (tmp_path / "model").rglob("*.json") if str(tmp_path) in path.read_text()]
    assert "safety_checker" in json.loads((tmp_path / "model" / "model_index.json").read_text())
    opened = StableDiffusionPipeline.from_pretrained(tmp_path / "model")
    image = opened("ghost", num_inference_steps=2, output_type="np").images
    assert image.shape == (1, 64, 64, 3)


@pytest.mark.parametrize("scheduler", [DDIMScheduler, EulerDiscreteScheduler])
def test_other_schedulers_take_the_configuration(scheduler):
    made = scheduler.from_config(make_scheduler().config)
    made.set_timesteps(20)
    assert made.config.prediction_type == "v_prediction"
    assert len(made.timesteps) == 20


def test_a_controlnet_starts_from_the_unet():
    unet = make_unet()
    controlnet = ControlNetModel.from_unet(unet)
    x, t, text = (
        torch.randn(1, LATENT_CHANNELS, 8, 8),
        torch.tensor([5]),
        torch.randn(1, 32, unet.config.cross_attention_dim),
    )
    down, mid = controlnet(x, t, text, torch.randn(1, 3, 64, 64), return_dict=False)
    out = unet(x, t, text, down_block_additional_residuals=down, mid_block_additional_residual=mid).sample
    assert torch.equal(out, unet(x, t, text).sample)  # zero convolutions at the start
