"""A wrong return value is refused where it enters, naming the extension, the hook point and both shapes."""

from __future__ import annotations

import pytest
import torch
from mezzotint import AttentionTokens, BlockOutput, Conditioning, Extension, Pass, Residuals, hookimpl
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
    ("conditioning", Conditioning(torch.zeros(3, 16, 32)), "(3, 16, 32)", "(1, tokens, 32)"),
    ("conditioning", torch.zeros(1, 16, 32), "a Tensor", "Conditioning"),
    ("encode_prompt", Conditioning(torch.zeros(2, 16, 32)), "(2, 16, 32)", "(1, tokens, 32)"),
    ("timesteps", torch.zeros(0), "(0,)", "at least one timestep"),
    ("timesteps", torch.tensor([9.0, float("nan")]), "nan", "finite numbers"),
    ("unet_residuals", Residuals(down=(torch.zeros(2, 8, 16, 16),)), "1 down residuals", "4 for this U-Net"),
    ("unet_residuals", Residuals(mid=torch.zeros(2, 16, 16, 16)), "(2, 16, 16, 16)", "(16, 8, 8)"),
    ("unet_residuals", Residuals(adapter=(torch.zeros(1, 8, 16, 16),) * 4), "4 adapter residuals", "2 for"),
    ("unet_residuals", Residuals(adapter=(torch.zeros(1, 8, 16, 16),)), "1 adapter residuals", "2 for"),
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


class Passes:
    """Guidance with the given passes and result."""

    def __init__(self, passes, result=None):
        self._passes, self._result = passes, result

    def passes(self, run):
        return self._passes

    def combine(self, predictions, run):
        return self._result


@pytest.mark.parametrize(
    ("guidance", "message"),
    [
        (Passes(()), r"passes \(\); expected a tuple of mezzotint.Pass, at least one"),
        (Passes(("positive",)), "a tuple of mezzotint.Pass"),
        (Passes((Pass("a", "positive"), Pass("a", "negative"))), r"\['a', 'a'\]; expected a name for each"),
        (Passes((Pass("positive"),), torch.zeros(1)), r"\(1,\); expected \(1, 4, 16, 16\)"),
    ],
)
def test_what_guidance_returns_is_checked_and_says_whose_it_is(pipe, guidance, message):
    with pytest.raises(HookReturnError, match=message) as caught:
        pipe("a cat", use=returning("guidance", guidance)(), **RUN)
    assert "step 1 of 2" in caught.value.__notes__[0]


def test_a_pass_on_a_prompt_that_there_is_not(pipe):
    with pytest.raises(MezzotintError, match="conditioned on 'third'; there are positive and negative"):
        pipe("a cat", use=returning("guidance", Passes((Pass("third"),)))(), **RUN)


@pytest.mark.parametrize("hook", ["encode_prompt", "conditioning"])
@pytest.mark.parametrize(
    ("embeddings", "message"),
    [(torch.zeros(1, 16, 32).double(), "torch.float64"), (torch.zeros(1, 16, 31), r"\(1, 16, 31\)")],
)
def test_embeddings_of_another_dtype_or_width_are_refused(pipe, hook, embeddings, message):
    with pytest.raises(HookReturnError, match=message):
        pipe("a cat", use=returning(hook, Conditioning(embeddings))(), **RUN)


def test_a_block_answered_without_its_skips_is_refused(pipe):
    extension = returning("unet_block", BlockOutput(torch.zeros(2, 8, 8, 8)), at="down.0")()
    with pytest.raises(HookReturnError, match=r"at down\.0 a BlockOutput with 0 skips; expected 2"):
        pipe("a cat", use=extension, **RUN)


def test_a_probe_must_return_nothing(pipe):
    with pytest.raises(HookReturnError, match="nothing: attention_probe only looks"):
        pipe("a cat", use=returning("attention_probe", 1)(), **RUN)


def test_a_block_or_processor_of_another_shape_is_refused_even_where_it_would_broadcast(pipe):
    class Narrow(Extension, name="narrow"):
        @hookimpl(at="up.1")
        def unet_block(self, forward, hidden_states):
            out = forward(hidden_states)
            return BlockOutput(out.hidden_states[..., :1], out.skips)

    class Short(Extension, name="short"):
        @hookimpl(at="mid.**.attn1")
        def attention_processor(self):
            return lambda attn, hidden_states, *args, **kwargs: hidden_states[:, :1]

    for extension in (Narrow(), Short()):
        with pytest.raises(HookReturnError, match=f"extension {extension.extension_name}, "):
            pipe("a cat", use=extension, **RUN)


@pytest.mark.parametrize("use", [None, 5, "freeu"])
def test_something_else_than_extensions_in_use_is_one_sentence(pipe, use):
    with pytest.raises(MezzotintError, match="use= takes an Extension or a list of them"):
        pipe("a cat", use=use, **RUN)


IN_PLACE = {
    "step_begin": "latents",
    "unet_input": "sample",
    "time_embedding": "emb",
    "unet_output": "prediction",
    "prediction": "prediction",
    "step_end": "latents",
    "latents": "latents",
    "unet_block_input": "hidden_states",
    "unet_block_output": "hidden_states",
}


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize(("hook", "argument"), IN_PLACE.items())
def test_writing_into_an_argument_is_refused_with_who_did_it(pipe, hook, argument, answers):
    namespace = {}
    last = f"return {argument}" if answers else "return None"
    exec(f"def {hook}(self, {argument}):\n    {argument}.mul_(2)\n    {last}", namespace)
    writing = type(
        "Writing", (Extension,), {hook: hookimpl(namespace[hook]), "__module__": __name__}, name="writing"
    )
    with pytest.raises(HookReturnError, match=f"writing.* wrote into {argument}.*in place at {hook}"):
        pipe("a cat", use=[writing()], **RUN)


def test_an_adapter_may_have_one_residual_more_for_the_middle_block(pipe):
    features = (torch.ones(1, 8, 16, 16), torch.ones(1, 16, 8, 8))
    two = returning("unet_residuals", Residuals(adapter=features))
    three = returning("unet_residuals", Residuals(adapter=(*features, torch.ones(1, 16, 8, 8))))
    once, more = (pipe("a cat", use=[kind()], **RUN).latents for kind in (two, three))
    assert not torch.equal(once, more)
    both = pipe("a cat", use=[two(), three()], **RUN).latents
    assert not torch.equal(both, more)
