"""Whether the parts of a model belong together, and whether their settings can be run with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..unet.added_conditions import SIZE_NUMBERS, needs_pooled_text
from ..unet.text_width import text_width
from .components import Components, TextEncoder
from .families import tokenizer_name

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample", "flow_prediction")


def check_fit(folder: Path, components: Components) -> None:
    """Parts that open one by one may still not belong together, or hold a setting that no run can use.

    Raises:
        ModelError: the first such finding, with both values.
    """
    for finding in _findings(folder, components):
        raise ModelError(f"{folder}{finding}")


def _findings(folder: Path, components: Components) -> Iterator[str]:
    unet, vae = components.unet.config, components.vae.config
    for name, encoder in components.text_encoders.items():
        yield from _tokens(tokenizer_name(name), encoder)
    yield from _texts(components)
    # Twice as many where it predicts a variance beside the noise.
    if unet.out_channels not in (vae.latent_channels, 2 * vae.latent_channels):
        yield (
            f": the U-Net predicts {unet.out_channels} channels, the VAE has {vae.latent_channels}; "
            "they are from different models"
        )
    if not _is_size(unet.sample_size):
        yield f"/unet/config.json: sample_size is {unet.sample_size!r}; it must be a size in latents, such as 64"
    factor = vae.scaling_factor
    if not isinstance(factor, int | float) or isinstance(factor, bool) or not factor > 0:
        yield f"/vae/config.json: scaling_factor is {factor!r}; it must be a positive number"
    prediction_type = components.scheduler.config.get("prediction_type", "epsilon")
    if prediction_type not in PREDICTION_TYPES:
        yield (
            f"/scheduler/scheduler_config.json: prediction_type is {prediction_type!r}; it must be one of "
            f"{', '.join(PREDICTION_TYPES)}"
        )


def _texts(components: Components) -> Iterator[str]:
    unet = components.unet.config
    configs = [encoder.model.config for encoder in components.text_encoders.values()]
    width, widths = text_width(unet), [config.hidden_size for config in configs]
    if width != sum(widths):
        name = "encoder_hid_dim" if width == unet.encoder_hid_dim else "cross_attention_dim"
        whose = "encoder's" if len(widths) == 1 else "encoders'"
        yield (
            f": the U-Net's {name} is {width}, the text {whose} hidden_size {' + '.join(map(str, widths))}; "
            "they are from different models"
        )
    if not needs_pooled_text(unet):
        return
    if len(configs) == 1:
        yield (
            ": the U-Net takes a pooled text and sizes, as that of Stable Diffusion XL; a folder of that has "
            "text_encoder_2 and tokenizer_2"
        )
    taken, pooled = unet.projection_class_embeddings_input_dim, configs[-1].projection_dim
    if not unet.addition_time_embed_dim or taken != pooled + SIZE_NUMBERS * unet.addition_time_embed_dim:
        yield (
            f": the U-Net's projection_class_embeddings_input_dim is {taken}, not {SIZE_NUMBERS} times its "
            f"addition_time_embed_dim of {unet.addition_time_embed_dim} and the projection_dim of text_encoder_2, "
            f"{pooled}; they are from different models"
        )
    limits = {encoder.tokenizer.model_max_length for encoder in components.text_encoders.values()}
    if len(limits) > 1:
        yield f": the tokenizers' model_max_length differ ({', '.join(map(str, sorted(limits)))}); make them equal"


def _tokens(name: str, encoder: TextEncoder) -> Iterator[str]:
    tokenizer, text = encoder.tokenizer, encoder.model.config
    # Without its files transformers hands over a tokenizer of a few special tokens, and says nothing.
    if not 10 < len(tokenizer) <= text.vocab_size:
        yield (
            f"/{name} knows {len(tokenizer)} tokens, the text encoder {text.vocab_size}: its files are missing, or "
            "they are from different models"
        )
    # T5 has relative positions, and no such limit.
    positions = getattr(text, "max_position_embeddings", None)
    if positions is not None and tokenizer.model_max_length > positions:
        yield (
            f"/{name}: model_max_length is {tokenizer.model_max_length:,}, the text encoder has {positions} "
            "positions; they are from different models"
        )


def _is_size(value: Any) -> bool:
    edges = (value,) if isinstance(value, int) else value if isinstance(value, list | tuple) else ()
    return len(edges) in (1, 2) and all(
        isinstance(edge, int) and not isinstance(edge, bool) and edge > 0 for edge in edges
    )
