"""A wrong return value is refused where it enters, naming the extension, the hook point and both shapes."""

from __future__ import annotations

import pytest
import torch
from mezzotint import AttentionTokens, Conditioning, Extension, Residuals, hookimpl
from mezzotint.errors import HookReturnError, MezzotintError

RUN = {"seed": 3, "steps": 2, "guidance": 5.0}


def returning(hook, value, at=None):
    """An extension whose one hook returns `value`."""

    def implementation(self):
        return value

    implementation.__name__ = hook
    marked = hookimpl(at=at)(implementation) if at else hookimpl(implementation)
    return type("Wrong", (Extension,), {hook: marked, "__module__": __name__}, name="wrong")


CASES = [
    ("step_begin", torch.zeros(1, 4, 8, 8), "(1, 4, 8, 8)", "(1, 4, 16, 16)"),
    ("step_end", "latents", "a str", "a tensor"),
    ("step_end", torch.zeros(1, 4, 16, 16, dtype=torch.float64), "torch.float64", "torch.float32"),
    ("unet_input", torch.zeros(1, 4, 16, 16), "(1, 4, 16, 16)", "(2, 4, 16, 16)"),
    ("unet_output", torch.zeros(2, 3, 16, 16), "(2, 3, 16, 16)", "(2, 4, 16, 16)"),
    ("prediction", torch.zeros(2, 4, 16, 16), "(2, 4, 16, 16)", "(1, 4, 16, 16)"),
    ("time_embedding", torch.zeros(2, 31), "(2, 31)", "(2, 32)"),
    ("initial_latents", torch.zeros(1, 4, 8, 8), "(1, 4, 8, 8)", "(1, 4, 16, 16)"),
    ("conditioning", Conditioning(torch.zeros(3, 16, 32)), "(3, 16, 32)", "(1, tokens, dim)"),
    ("conditioning", torch.zeros(1, 16, 32), "a Tensor", "Conditioning"),
    ("encode_prompt", Conditioning(torch.zeros(2, 16, 32)), "(2, 16, 32)", "(1, tokens, dim)"),
    ("timesteps", torch.zeros(0), "(0,)", "at least one timestep"),
    ("unet_residuals", Residuals(down=(torch.zeros(2, 8, 16, 16),)), "1 down residuals", "4 for this U-Net"),
    ("unet_residuals", Residuals(mid=torch.zeros(2, 16, 16, 16)), "(2, 16, 16, 16)", "(16, 8, 8)"),
    ("make_scheduler", "euler", "a str", "set_timesteps"),
    ("guidance", 7.5, "a float", "passes, combine"),
    ("latents", torch.zeros(2, 4, 16, 16), "(2, 4, 16, 16)", "(1, 4)"),
    ("images", [], "0 images", "1"),
    ("images", "picture", "picture", "a list of PIL images"),
    ("unet_block_input", torch.zeros(1), "(1,)", "(2, 8, 16, 16)"),
    ("unet_block_output", torch.zeros(1), "(1,)", "(2, 8, 8, 8)"),
    ("unet_block", torch.zeros(1), "Tensor", "BlockOutput"),
    ("cross_attention_tokens", torch.zeros(1), "tensor", "AttentionTokens"),
    ("attention_processor", 3, "an int", "__call__"),
    ("patch_unet", torch.nn.Identity(), "Identity", "context manager"),
]


@pytest.mark.parametrize(("hook", "value", "got", "expected"), CASES, ids=lambda value: str(value)[:24])
def test_a_wrong_return_value_names_who_where_and_both(pipe, hook, value, got, expected):
    with pytest.raises(HookReturnError) as caught:
        pipe("a cat", use=[returning(hook, value)()], **RUN)
    message = str(caught.value)
    for part in ("wrong", hook, got, expected):
        assert part in message, message


def test_skips_must_keep_their_number(pipe):
    class Fewer(Extension, name="fewer"):
        @hookimpl(at="up.0")
        def unet_block_input(self, hidden_states, skips):
            return hidden_states, skips[:1]

    with pytest.raises(HookReturnError, match=r"unet_block_input at up\.0 skips: 1; expected 2 tensors"):
        pipe("a cat", use=[Fewer()], **RUN)


def test_too_few_channels_for_the_unet_say_what_is_missing(pipe):
    class Fewer(Extension, name="fewer"):
        @hookimpl
        def unet_input(self, sample):
            return sample[:, :3]

    with pytest.raises(MezzotintError, match="takes 4 input channels and got 3"):
        pipe("a cat", use=[Fewer()], **RUN)


def test_extra_tokens_of_the_wrong_width_are_refused_at_their_layer(pipe):
    class Narrow(Extension, name="narrow"):
        @hookimpl(at="mid.**.attn2")
        def cross_attention_tokens(self, layer):
            return AttentionTokens(torch.ones(1, 3, 5), torch.ones(1, 3, 5))

    with pytest.raises(HookReturnError, match=r"narrow.*mid.*\(1, 3, 5\).*16"):
        pipe("a cat", use=[Narrow()], **RUN)


def test_an_exception_from_a_hook_keeps_its_type_and_says_whose_it_is(pipe):
    class Fails(Extension, name="fails"):
        @hookimpl
        def step_end(self, run):
            if run.step.index == 1:
                raise ZeroDivisionError("one over zero")

    with pytest.raises(ZeroDivisionError) as caught:
        pipe("a cat", use=[Fails()], **RUN)
    (note,) = caught.value.__notes__
    assert "extension fails" in note
    assert "hook point step_end" in note
    assert "step 2 of 2" in note
