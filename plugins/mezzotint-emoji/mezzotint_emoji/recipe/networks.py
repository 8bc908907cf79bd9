"""The three networks and the noise schedule, as configurations of diffusers and transformers."""

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from .tokenizer import MAX_LENGTH

LATENT_CHANNELS = 12
TEXT_WIDTH = 128


def make_vae() -> AutoencoderKL:
    """64 × 64 pixels to 8 × 8 latents of 12 channels."""
    channels = (16, 32, 64, 96)
    return AutoencoderKL(
        sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )


def make_text_encoder(vocab_size: int) -> CLIPTextModel:
    """A small CLIP text model, trained together with the U-Net."""
    config = CLIPTextConfig(
        vocab_size=vocab_size,
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=MAX_LENGTH,
        hidden_act="gelu",
        bos_token_id=vocab_size - 2,
        eos_token_id=vocab_size - 1,
        pad_token_id=vocab_size - 1,
    )
    text_encoder = CLIPTextModel(config)
    # CLIP starts its embeddings at a deviation of 0.02, where the residual stream drowns the difference
    # between words: fine for long training, slow for ours.
    with torch.no_grad():
        text_encoder.get_input_embeddings().weight.mul_(20)
    return text_encoder


def make_unet(channels: tuple[int, ...] = (96, 144)) -> UNet2DConditionModel:
    """Two resolutions, 8 × 8 and 4 × 4, both with cross-attention.

    `addition_embed_type="text"` also adds the pooled caption to the time embedding (as DeepFloyd IF does),
    which makes a small network follow its caption much earlier. 64 heads is what ControlNetModel assumes.
    """
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("CrossAttnDownBlock2D",) * len(channels),
        up_block_types=("CrossAttnUpBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=tuple(width // 32 for width in channels),
        norm_num_groups=16,
        use_linear_projection=True,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=64,
    )


def make_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule with v-prediction."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
    )
