"""Going on from a finished model."""

import json
import re
import shutil

import pytest
import torch
from click.testing import CliRunner
from diffusers import AutoencoderKL
from mezzotint_emoji.recipe.__main__ import recipe
from mezzotint_emoji.recipe.encoder import load_encoder
from mezzotint_emoji.recipe.errors import RecipeError
from mezzotint_emoji.recipe.export import MODEL, export
from mezzotint_emoji.recipe.manifest import save_manifest
from mezzotint_emoji.recipe.start import start_from
from mezzotint_emoji.recipe.words import FILE
from safetensors.torch import load_file, save_file


@pytest.fixture
def work(tmp_path, pictures):
    """A working folder after `data`, as far as starting and exporting look at it."""
    save_manifest(pictures, tmp_path / "pictures.jsonl")
    shutil.copytree(MODEL / "tokenizer", tmp_path / "tokenizer")
    vocabulary = load_file(MODEL / "text_encoder" / "model.safetensors")["embeddings.token_embedding.weight"]
    save_file({"words": torch.zeros(vocabulary.shape)}, tmp_path / FILE)
    return tmp_path


def test_exported_at_step_0_it_is_the_same_model(work, tmp_path):
    start_from(work)
    export(work, tmp_path / "again")
    for path in MODEL.rglob("*.safetensors"):
        before, after = load_file(path), load_file(tmp_path / "again" / path.relative_to(MODEL))
        assert before.keys() == after.keys()
        # Words without a caption borrow their embeddings anew, and the captions here are few.
        assert all(torch.equal(before[name], after[name]) for name in before if "token_embedding" not in name)


def test_the_transform_encodes_as_the_model_does(work):
    start_from(work)
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        latents = AutoencoderKL.from_pretrained(MODEL / "vae").encode(images).latent_dist.mode()
    assert torch.allclose(load_encoder(work / "encoder.safetensors")(images), latents, atol=0.01, rtol=0.002)


def test_training_that_has_begun_is_not_overwritten(work):
    start_from(work)
    with pytest.raises(RecipeError, match="begun already.*unet_training"):
        start_from(work)


def test_another_tokenizer_is_refused(work):
    path = work / "tokenizer" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["vocab"]["brontosaurus</w>"] = len(tokenizer["model"]["vocab"])
    path.write_text(json.dumps(tokenizer))
    with pytest.raises(RecipeError, match="another version of the data"):
        start_from(work)


def test_a_folder_without_a_model_is_refused(work, tmp_path):
    with pytest.raises(RecipeError, match="no folder of a diffusers pipeline"):
        start_from(work, tmp_path)


def test_export_names_the_stage_that_is_missing(work, tmp_path):
    with pytest.raises(RecipeError, match="unet_training.*recipe train unet` with the same --work"):
        export(work, tmp_path / "model")
    start_from(work)
    (work / "decoder_training" / "state.pt").unlink()
    with pytest.raises(RecipeError, match="decoder_training.*recipe train decoder` with the same --work"):
        export(work, tmp_path / "model")


def test_export_removes_nothing_but_a_model(work, tmp_path):
    start_from(work)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years")
    with pytest.raises(RecipeError, match=f"{re.escape(str(theirs))} is there and is no model"):
        export(work, theirs)
    assert (theirs / "thesis.txt").read_text() == "years"
    export(work, tmp_path / "new")
    export(work, tmp_path / "new")


def test_what_a_person_can_mend_is_said_in_a_sentence(tmp_path):
    for command in (
        ["train", "unet"],
        ["train", "decoder"],
        ["train", "scorer"],
        ["export", "--to", str(tmp_path / "m")],
    ):
        said = CliRunner().invoke(recipe, [*command, "--work", str(tmp_path / "nothing")])
        assert said.exit_code == 1
        assert "with the same --work first" in said.output
        assert "Traceback" not in said.output
