"""Begin with a finished model instead of untrained networks: its weights become step 0 of both trainings."""

from pathlib import Path

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from . import train_decoder, train_unet
from .checkpoint import state_file, training_folder
from .data import load_tokenizer
from .encoder import read_encoder, save_encoder
from .errors import RecipeError
from .export import MODEL
from .networks import Decoder, Denoiser
from .trainer import Training


def start_from(work: Path, model: Path = MODEL) -> None:
    """Write the encoder and the first checkpoints of decoder and U-Net from the diffusers folder `model`.

    The optimizer starts anew, and float16 is what the weights had.

    Raises:
        RecipeError: `model` is no folder of a model, there are checkpoints already, or the model cuts text differently
            from `data` of this folder.
    """
    folders = {name: training_folder(work, name) for name in ("decoder", "unet")}
    if begun := [folder for folder in folders.values() if state_file(folder).exists()]:
        raise RecipeError(
            f"training has begun already; it goes on with `train`, or remove {' and '.join(map(str, begun))}"
        )
    if not (model / "model_index.json").is_file():
        raise RecipeError(f"{model} is no folder of a diffusers pipeline")
    tokens = CLIPTokenizer.from_pretrained(model / "tokenizer").get_vocab()
    if load_tokenizer(work).get_vocab() != tokens:
        raise RecipeError(f"the tokens of {model} are not those of {work}: another version of the data")
    vae = AutoencoderKL.from_pretrained(model / "vae")
    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    text_encoder = CLIPTextModel.from_pretrained(model / "text_encoder")
    save_encoder(read_encoder(vae), work / "encoder.safetensors")
    networks = {"decoder": Decoder(vae), "unet": Denoiser(unet, text_encoder)}
    schedules = {"decoder": train_decoder.SCHEDULE, "unet": train_unet.SCHEDULE}
    for name, network in networks.items():
        Training(network, schedules[name], folders[name]).save()
