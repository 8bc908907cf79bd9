"""The networks as the last checkpoints have them, with averaged weights."""

from pathlib import Path

from diffusers import AutoencoderKL, StableDiffusionPipeline
from transformers import CLIPTokenizer

from .checkpoint import load_checkpoint, put_weights
from .encoder import load_encoder
from .networks import Decoder, make_denoiser, make_scheduler, make_vae
from .words import load_word_vectors


def load_pipeline(work: Path) -> StableDiffusionPipeline:
    """The pipeline of the VAE and of the averaged U-Net and text encoder of the last checkpoint."""
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    denoiser = make_denoiser(load_word_vectors(work)).eval()
    state = load_checkpoint(work / "unet_training" / "state.pt")
    if state is None:
        raise FileNotFoundError(f"no checkpoint of the U-Net in {work}: run `train unet` first")
    put_weights(denoiser.parameters(), state["average"])
    pipe = StableDiffusionPipeline(
        vae=load_vae(work),
        text_encoder=denoiser.text_encoder,
        tokenizer=tokenizer,
        unet=denoiser.unet,
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def load_vae(work: Path) -> AutoencoderKL:
    """The VAE with the averaged decoder of the last checkpoint; without one, the decoder is untrained."""
    vae = make_vae(load_encoder(work / "encoder.safetensors")).eval()
    if state := load_checkpoint(work / "decoder_training" / "state.pt"):
        put_weights(Decoder(vae).parameters(), state["average"])
    return vae
