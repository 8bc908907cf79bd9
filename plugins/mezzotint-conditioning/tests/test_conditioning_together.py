"""Everything together: in any order of use, over several runs, after errors at every step, from the command line."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from mezzotint.errors import MezzotintError
from mezzotint.testing import fingerprint, tiny_pipeline
from mezzotint_conditioning import (
    EXTENSIONS,
    Blend,
    ClipSkip,
    IPAdapter,
    PromptSchedule,
    PromptSyntax,
    Region,
    TextualInversion,
)
from PIL import Image
from safetensors.torch import save_file

OPTIONS = {"steps": 3, "seed": 1, "n": 2, "negative": "[u|v]"}
PROMPT = "a <cat>, (very:1.2) long [or:but:1] BREAK short"


@pytest.fixture
def stack(adapters, tmp_path):
    save_file({"<cat>": torch.randn(2, 32)}, tmp_path / "cat.safetensors")
    return [
        PromptSyntax(),
        ClipSkip(),
        TextualInversion(tmp_path / "cat.safetensors"),
        PromptSchedule({0.5: "b"}, fade=0.5),
        Blend("c", 0.2),
        Region("d", Image.new("L", (8, 8), 128)),
        IPAdapter(adapters / "plain.safetensors", Image.new("RGB", (8, 8), "red"), scale=0.5),
    ]


def test_all_together_in_any_order_of_use_and_nothing_is_left(pipe, stack):
    before = fingerprint(pipe)
    expected = pipe(PROMPT, use=stack, **OPTIONS).latents
    assert torch.equal(pipe(PROMPT, use=stack[::-1], **OPTIONS).latents, expected)
    assert fingerprint(pipe) == before
    with pipe.using(*stack[:4]):
        assert torch.equal(pipe(PROMPT, use=stack[4:], **OPTIONS).latents, expected)
    assert fingerprint(pipe) == before
    for without in range(len(stack)):
        rest = [each for index, each in enumerate(stack) if index != without]
        if without != 2:  # without its word the prompt is another, but still one
            assert not torch.equal(pipe(PROMPT, use=rest, **OPTIONS).latents, expected), stack[without]
    assert fingerprint(pipe) == before


def test_attached_and_left_in_every_order(pipe, stack):
    before = fingerprint(pipe)
    for use in itertools.permutations([stack[1], stack[2], stack[6]]):
        with pipe.using(*use):
            pipe("a <cat>", steps=1, seed=1)
        assert fingerprint(pipe) == before


@pytest.mark.parametrize("step", [0, 1])
def test_an_error_at_any_step_leaves_nothing_behind(pipe, stack, step):
    before = fingerprint(pipe)

    def stop(progress):
        if progress.index == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipe(PROMPT, use=stack, on_step=stop, **OPTIONS)
    assert fingerprint(pipe) == before


def test_a_run_again_has_the_same_bits(pipe, stack):
    first = pipe(PROMPT, use=stack, **OPTIONS).latents
    assert torch.equal(pipe(PROMPT, use=stack, **OPTIONS).latents, first)
    pipe.free()
    assert torch.equal(pipe(PROMPT, use=stack, **OPTIONS).latents, first)


def test_everything_takes_the_number_type_of_the_model(tiny_model, stack):
    import mezzotint

    pipe = mezzotint.load(tiny_model, device="cpu", dtype="bfloat16")
    before = fingerprint(pipe)
    latents = pipe(PROMPT, use=stack, **OPTIONS).latents
    assert latents.dtype is torch.bfloat16
    assert latents.isfinite().all()
    assert fingerprint(pipe) == before


def test_options_are_plain_data_for_the_recipe(adapters, tmp_path):
    adapter = IPAdapter(adapters / "plain.safetensors", tmp_path / "a.png", scales={"up.0": 1})
    options = json.loads(json.dumps(adapter.options()))
    assert IPAdapter(**options).options() == options
    assert set(adapter.files()) == {"file", "encoder"}
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert set(adapter.files()) == {"file", "encoder", "image.0"}
    schedule = PromptSchedule({0.5: "b"})
    assert PromptSchedule(**json.loads(json.dumps(schedule.options()))) == schedule


def test_every_extension_documents_each_option():
    for extension in EXTENSIONS:
        assert extension.summary().endswith((".", ":", "`")), extension
        for name, field in extension.model_fields.items():
            assert field.description, f"{extension.extension_name}.{name}"


def test_the_plugin_loads_alone_and_names_its_extensions(tiny_model):
    import mezzotint_conditioning

    pipe = tiny_pipeline(tiny_model, plugins=[mezzotint_conditioning])
    assert set(pipe.registry.extensions) == {extension.extension_name for extension in EXTENSIONS}


def test_an_unknown_option_says_what_there_is():
    with pytest.raises(MezzotintError, match="no option 'emphasise'; did you mean emphasis"):
        PromptSyntax(emphasise="no-norm")
