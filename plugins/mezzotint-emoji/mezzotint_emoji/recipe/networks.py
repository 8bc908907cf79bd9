"""The three networks and the noise schedule, as configurations of diffusers and transformers; and what is trained of them."""

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from .encoder import LATENT_CHANNELS, LinearEncoder, write_encoder
from .tokenizer import MAX_LENGTH

TEXT_WIDTH = 128
EMBEDDING_DEVIATION = 0.4


@torch.no_grad()
def make_vae(encoder: LinearEncoder) -> AutoencoderKL:
    """64 × 64 pixels to 8 × 8 latents of 32 channels: `encoder` as it is, and an untrained decoder.

    One group of normalisation: with two channels a group, as 8 groups would have here, each layer forgets how
    bright and colourful the picture is. Residual branches of the decoder start at zero.
    """
    channels = (16, 32, 64, 96)
    vae = AutoencoderKL(
        sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )
    write_encoder(encoder, vae)
    for module in vae.decoder.modules():
        if isinstance(module, ResnetBlock2D):
            module.conv2.weight.zero_()
            module.conv2.bias.zero_()
    return vae


def make_text_encoder(words: Tensor) -> CLIPTextModel:
    """A small CLIP text model, trained together with the U-Net.

    The vector of a token starts half as chance and half as its row of `words` (vocabulary, TEXT_WIDTH).
    """
    vocab_size = len(words)
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
        embeddings = text_encoder.get_input_embeddings().weight
        embeddings.div_(embeddings.std()).add_(words).mul_(EMBEDDING_DEVIATION / 2**0.5)
    return text_encoder


def make_unet(
    channels: tuple[int, ...] = (96, 192), addition_embed_type: str | None = "text"
) -> UNet2DConditionModel:
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
        addition_embed_type=addition_embed_type,
        addition_embed_type_num_heads=64,
    )


class Decoder(nn.Module):
    """The half of a VAE that is trained, `post_quant_conv` and `decoder`; the weights are the VAE's."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.post_quant_conv, self.decoder = vae.post_quant_conv, vae.decoder

    def forward(self, latents: Tensor) -> Tensor:
        """(n, c, h, w) to (n, 3, 8 h, 8 w)."""
        return self.decoder(self.post_quant_conv(latents))


class Denoiser(nn.Module):
    """The two networks that are trained: token ids to embeddings, and noisy latents to v."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(self, latents: Tensor, timesteps: Tensor, ids: Tensor) -> Tensor:
        """(n, c, h, w) noisy latents, (n,) timesteps, (n, tokens) ids to (n, c, h, w) predictions of v."""
        embeddings = self.text_encoder(ids).last_hidden_state
        return self.unet(latents, timesteps, encoder_hidden_states=embeddings, return_dict=False)[0]


def make_denoiser(words: Tensor, seed: int = 0) -> Denoiser:
    """The untrained networks of this seed; half of each token's vector is what `words` knows of it."""
    torch.manual_seed(seed)
    return Denoiser(make_unet(), make_text_encoder(words)).to(memory_format=torch.channels_last)


def make_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule up to more noise (sigma 67 instead of 15), with v-prediction.

    The mean colour of a picture is the strongest thing in these latents: at the end of Stable Diffusion's schedule it
    would still show, and pictures that start from pure noise would all be of middling brightness.
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )
