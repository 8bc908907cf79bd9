"""The networks as the last checkpoints have them, with averaged weights."""

from pathlib import Path

from diffusers import AutoencoderKL, StableDiffusionPipeline
from torch import Tensor
from transformers import CLIPTokenizer

from .captions import CaptionWriter
from .checkpoint import last_state, put_weights
from .data import is_trained, load_tokenizer
from .encoder import load_encoder
from .manifest import load_manifest
from .networks import Decoder, Denoiser, make_denoiser, make_scheduler, make_vae
from .words import lend_embeddings, load_word_vectors


def load_pipeline(work: Path) -> StableDiffusionPipeline:
    """The pipeline of the VAE and of the averaged U-Net and text encoder of the last checkpoints.

    Raises:
        RecipeError: `train unet` or `train decoder` has not been run.
    """
    state = last_state(work, "unet")
    vae = load_vae(work)
    tokenizer = load_tokenizer(work)
    words = load_word_vectors(work)
    denoiser = make_denoiser(words).eval()
    put_weights(denoiser.parameters(), state["average"])
    pictures = [picture for picture in load_manifest(work / "pictures.jsonl") if is_trained(picture)]
    _lend_embeddings(denoiser, tokenizer, words, CaptionWriter(pictures))
    pipe = StableDiffusionPipeline(
        vae=vae,
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


def _lend_embeddings(
    denoiser: Denoiser, tokenizer: CLIPTokenizer, words: Tensor, captions: CaptionWriter
) -> None:
    """To the words that training has not seen."""

    def tokens(texts: list[str]) -> set[int]:
        return {token for ids in tokenizer(texts, add_special_tokens=False).input_ids for token in ids}

    lenders = tokens(captions.names())
    known = {*lenders, *tokens(captions.tags()), *tokenizer.all_special_ids}
    lend_embeddings(denoiser.text_encoder.get_input_embeddings().weight, words, lenders, known)


def load_vae(work: Path) -> AutoencoderKL:
    """The VAE with the averaged decoder of the last checkpoint.

    Raises:
        RecipeError: there is none.
    """
    state = last_state(work, "decoder")
    vae = make_vae(load_encoder(work / "encoder.safetensors")).eval()
    put_weights(Decoder(vae).parameters(), state["average"])
    return vae
