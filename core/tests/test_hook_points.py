"""Every hook point fires where and as often as its specification says, with the arguments it declares."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from mezzotint import (
    AttentionTokens,
    BlockOutput,
    Conditioning,
    Extension,
    Pass,
    Residuals,
    hookimpl,
)
from mezzotint.errors import HookReturnError
from mezzotint.hooks.signatures import hook_points
from mezzotint.hookspecs import RunHooks

RUN = {"seed": 3, "steps": 2, "guidance": 5.0}


class Recorder(Extension, name="recorder"):
    """Writes down every call of every run hook and changes nothing."""

    log: ClassVar[list[str]] = []
    reported: ClassVar[list[str]] = []

    @hookimpl
    def request(self, request, pipe):
        self.log.append(f"request {request.n}")

    @hookimpl
    @contextmanager
    def patch_text_encoder(self, text_encoder, pipe):
        self.log.append("patch_text_encoder")
        yield
        self.log.append("unpatch_text_encoder")

    @hookimpl
    @contextmanager
    def patch_unet(self, unet, pipe):
        self.log.append("patch_unet")
        yield
        self.log.append("unpatch_unet")

    @hookimpl
    def guidance(self, run):
        self.log.append("guidance")

    @hookimpl
    def encode_prompt(self, prompts, run):
        self.log.append(f"encode_prompt {len(prompts)}")

    @hookimpl
    def make_scheduler(self, run):
        self.log.append("make_scheduler")

    @hookimpl
    def timesteps(self, timesteps, scheduler, run):
        self.log.append(f"timesteps {len(timesteps)}")

    @hookimpl
    def initial_latents(self, noise, scheduler, run):
        self.log.append(f"initial_latents {tuple(noise.shape)}")

    @hookimpl
    def step_begin(self, latents, run):
        self.log.append(f"step_begin {run.step.index}")

    @hookimpl
    def passes(self, passes, run):
        self.log.append(f"passes {[pass_.name for pass_ in passes]}")

    @hookimpl
    def conditioning(self, conditioning, pass_, run):
        self.log.append(f"conditioning {pass_.name} {conditioning.rows}")

    @hookimpl
    def unet_residuals(self, sample, timestep, conditioning, run):
        self.log.append(f"unet_residuals {tuple(sample.shape)} {conditioning.rows}")

    @hookimpl
    def unet_input(self, sample, timestep, run):
        self.log.append(f"unet_input {tuple(sample.shape)}")

    @hookimpl
    def time_embedding(self, emb, timestep, run):
        self.log.append(f"time_embedding {tuple(emb.shape)}")

    @hookimpl(at=("down.0", "down.0.resnets.0", "down.0.attentions.0", "mid", "up.1", "up.1.resnets.0"))
    def unet_block_input(self, block, hidden_states, skips, run):
        self.log.append(f"unet_block_input {block} {hidden_states.shape[1]} {[s.shape[1] for s in skips]}")

    @hookimpl(at="mid")
    def unet_block(self, block, forward, hidden_states, skips, run):
        self.log.append(f"unet_block {block}")
        return forward(hidden_states)

    @hookimpl(at=("down.0", "down.0.resnets.0", "down.0.attentions.0", "mid", "up.1", "up.1.resnets.0"))
    def unet_block_output(self, block, hidden_states, skips, run):
        self.log.append(f"unet_block_output {block} {hidden_states.shape[1]} {[s.shape[1] for s in skips]}")

    @hookimpl(at="mid.attentions.0.transformer_blocks.0.attn1")
    def attention_processor(self, layer, run):
        self.log.append(f"attention_processor {layer}")

    @hookimpl(at="down.**.attn2")
    def cross_attention_tokens(self, layer, run):
        self.log.append(f"cross_attention_tokens {layer}")

    @hookimpl(at="down.**.attn2")
    def attention_probe(self, layer, probabilities, run):
        self.log.append(f"attention_probe {layer} {tuple(probabilities.shape)}")

    @hookimpl
    def unet_output(self, prediction, timestep, run):
        self.log.append(f"unet_output {tuple(prediction.shape)}")

    @hookimpl
    def prediction(self, prediction, predictions, latents, run):
        self.log.append(f"prediction {tuple(prediction.shape)} of {sorted(predictions)}")

    @hookimpl
    def step_end(self, latents, run):
        self.log.append(f"step_end {run.step.index}")

    @hookimpl
    def latents(self, latents, run):
        self.log.append(f"latents {run.step}")

    @hookimpl
    def images(self, images, run):
        self.log.append(f"images {len(images)}")

    @hookimpl
    def hook_called(self, call, run):
        self.reported.append(f"{call.point} {call.place}".strip())


ATTN2 = "down.0.attentions.0.transformer_blocks.0.attn2"
A_STEP = [
    "step_begin {i}",
    "passes ['negative', 'positive']",
    "conditioning negative 2",
    "conditioning positive 2",
    "unet_residuals (4, 4, 16, 16) 4",
    "unet_input (4, 4, 16, 16)",
    "time_embedding (4, 32)",
    "unet_block_input down.0 8 []",
    "unet_block_input down.0.resnets.0 8 []",
    "unet_block_output down.0.resnets.0 8 []",
    "unet_block_input down.0.attentions.0 8 []",
    f"attention_probe {ATTN2} (4, 2, 256, 16)",
    f"cross_attention_tokens {ATTN2}",
    "unet_block_output down.0.attentions.0 8 []",
    "unet_block_output down.0 8 [8, 8]",
    "unet_block_input mid 16 []",
    "unet_block mid",
    "unet_block_output mid 16 []",
    "unet_block_input up.1 16 [8, 8]",
    "unet_block_input up.1.resnets.0 16 [8]",
    "unet_block_output up.1.resnets.0 8 []",
    "unet_block_output up.1 8 []",
    "unet_output (4, 4, 16, 16)",
    "prediction (2, 4, 16, 16) of ['negative', 'positive']",
    "step_end {i}",
]
FULL_LOG = [
    "request 2",
    "patch_text_encoder",
    "patch_unet",
    "guidance",
    "attention_processor mid.attentions.0.transformer_blocks.0.attn1",
    "encode_prompt 1",
    "make_scheduler",
    "timesteps 2",
    "initial_latents (2, 4, 16, 16)",
    *(line.format(i=0) for line in A_STEP[:2]),
    "encode_prompt 1",
    *(line.format(i=0) for line in A_STEP[2:]),
    *(line.format(i=1) for line in A_STEP),
    "latents None",
    "images 2",
    "unpatch_unet",
    "unpatch_text_encoder",
]


def test_the_full_ordered_log_of_a_run(pipe):
    Recorder.log.clear()
    pipe("a cat", n=2, use=[Recorder()], **RUN)
    assert Recorder.log == FULL_LOG


def test_hook_called_is_told_of_every_call_in_its_order(pipe):
    Recorder.log.clear()
    Recorder.reported.clear()
    pipe("a cat", n=2, use=[Recorder()], **RUN)
    # There is no run yet when a request is changed, and none to undo a patch in.
    called = [line.split()[0] for line in Recorder.log if not line.startswith(("unpatch", "request"))]
    reported = [line.split()[0] for line in Recorder.reported]
    # A block is reported when it is through, after what is inside it.
    assert sorted(reported) == sorted(called)
    assert reported[:4] == called[:4]
    assert "unet_block_output down.0.resnets.0" in Recorder.reported


def test_an_extension_that_only_looks_changes_no_bit(pipe):
    plain = pipe("a cat", n=2, **RUN)
    watched = pipe("a cat", n=2, use=[Recorder()], **RUN)
    assert torch.equal(plain.latents, watched.latents)
    assert [image.tobytes() for image in plain.images] == [image.tobytes() for image in watched.images]


def test_every_hook_point_is_in_the_recorder():
    assert set(Recorder.hook_names()) == set(hook_points(RunHooks))


# What a return value does, one hook point at a time: (extension, a closed form of its effect).


class Doubles:
    """Extensions that change one thing each; made by name for the parametrised test below."""

    class StepBegin(Extension, name="d-step-begin"):
        @hookimpl
        def step_begin(self, latents):
            return latents * 2

    class StepEnd(Extension, name="d-step-end"):
        @hookimpl
        def step_end(self, latents):
            return latents * 2

    class UnetInput(Extension, name="d-unet-input"):
        @hookimpl
        def unet_input(self, sample):
            return sample * 2

    class UnetOutput(Extension, name="d-unet-output"):
        @hookimpl
        def unet_output(self, prediction):
            return prediction * 2

    class Prediction(Extension, name="d-prediction"):
        @hookimpl
        def prediction(self, prediction):
            return prediction * 2

    class TimeEmbedding(Extension, name="d-time"):
        @hookimpl
        def time_embedding(self, emb):
            return emb * 2

    class ConditioningHook(Extension, name="d-conditioning"):
        @hookimpl
        def conditioning(self, conditioning):
            return conditioning.replace(embeddings=conditioning.embeddings * 2)

    class EncodePrompt(Extension, name="d-encode"):
        @hookimpl
        def encode_prompt(self, prompts, run):
            return Conditioning(torch.ones(len(prompts), 16, 32))

    class InitialLatents(Extension, name="d-initial"):
        @hookimpl
        def initial_latents(self, noise):
            return noise * 2

    class BlockInput(Extension, name="d-block-input"):
        @hookimpl(at="mid")
        def unet_block_input(self, hidden_states):
            return hidden_states * 2

    class ResnetOutput(Extension, name="d-resnet-output"):
        @hookimpl(at="down.1.resnets.0")
        def unet_block_output(self, hidden_states):
            return hidden_states * 2

    class AttentionOutput(Extension, name="d-attention-output"):
        @hookimpl(at="up.1.attentions.0")
        def unet_block_output(self, hidden_states):
            return hidden_states * 2

    class SkipsIn(Extension, name="d-skips-in"):
        @hookimpl(at="up.0")
        def unet_block_input(self, hidden_states, skips):
            return hidden_states, tuple(skip * 0 for skip in skips)

    class SkipIn(Extension, name="d-skip-in"):
        @hookimpl(at="up.0.resnets.1")
        def unet_block_input(self, hidden_states, skips):
            return hidden_states, tuple(skip * 0 for skip in skips)

    class SkipsOut(Extension, name="d-skips-out"):
        @hookimpl(at="down.0")
        def unet_block_output(self, hidden_states, skips):
            return hidden_states, tuple(skip * 0 for skip in skips)

    class Block(Extension, name="d-block"):
        @hookimpl(at="mid")
        def unet_block(self, forward, hidden_states):
            return BlockOutput(hidden_states)

    class DownBlock(Extension, name="d-down-block"):
        @hookimpl(at="down.0")
        def unet_block(self, forward, hidden_states):
            out = forward(hidden_states)
            return BlockOutput(out.hidden_states * 0, out.skips)

    class DownResiduals(Extension, name="d-residuals-down"):
        @hookimpl
        def unet_residuals(self, sample):
            rows = len(sample)
            shapes = [(8, 16, 16), (8, 16, 16), (8, 8, 8), (16, 8, 8)]
            return Residuals(down=tuple(torch.ones(rows, *shape) for shape in shapes))

    class MidResidual(Extension, name="d-residuals-mid"):
        @hookimpl
        def unet_residuals(self, sample):
            return Residuals(mid=torch.ones(1, 16, 8, 8))

    class AdapterResiduals(Extension, name="d-residuals-adapter"):
        @hookimpl
        def unet_residuals(self, sample):
            return Residuals(adapter=(torch.ones(1, 8, 16, 16), torch.ones(1, 16, 8, 8)))

    class Tokens(Extension, name="d-tokens"):
        @hookimpl
        def cross_attention_tokens(self, layer, run):
            width = run.pipe.unet.get_submodule(layer.path).to_k.out_features
            return AttentionTokens(torch.ones(1, 3, width), torch.ones(1, 3, width), scale=0.5)

    class Processor(Extension, name="d-processor"):
        @hookimpl(at="**.attn1")
        def attention_processor(self, layer):
            return lambda attn, hidden_states, *args, **kwargs: hidden_states * 0

    class Latents(Extension, name="d-latents"):
        @hookimpl
        def latents(self, latents):
            return latents[..., :8]


CHANGES = [value for value in vars(Doubles).values() if isinstance(value, type)]


@pytest.mark.parametrize("extension", CHANGES, ids=lambda cls: cls.extension_name)
def test_what_a_hook_returns_changes_the_picture_and_leaving_it_out_restores_it(pipe, extension):
    before = pipe("a cat", **RUN)
    changed = pipe("a cat", use=[extension()], **RUN)
    after = pipe("a cat", **RUN)
    assert changed.latents.shape != before.latents.shape or not torch.allclose(
        changed.latents, before.latents
    )
    assert changed.latents.isfinite().all()
    assert torch.equal(before.latents, after.latents)


def test_images_may_be_replaced(pipe):
    class Flip(Extension, name="flip"):
        @hookimpl
        def images(self, images):
            return [image.rotate(180) for image in images]

    plain, flipped = pipe("a cat", **RUN), pipe("a cat", use=[Flip()], **RUN)
    assert flipped.images[0].rotate(180).tobytes() == plain.images[0].tobytes()


def test_guidance_chooses_passes_and_combines_them(pipe):
    class Average:
        def passes(self, run):
            return (Pass("one", "positive"), Pass("two", "negative"), Pass("three", "positive"))

        def combine(self, predictions, run):
            assert list(predictions) == ["one", "two", "three"]
            assert torch.equal(predictions["one"], predictions["three"])
            return predictions["one"]

    class Averaged(Extension, name="averaged"):
        @hookimpl
        def guidance(self):
            return Average()

        @hookimpl
        def unet_output(self, prediction, run):
            assert run.rows("two") == slice(1, 2)
            assert len(prediction) == 3

    guided = pipe("a cat", use=[Averaged()], **RUN)
    plain = pipe("a cat", **{**RUN, "guidance": 1.0})
    # Batched convolutions need not give the same last bit for any batch size.
    torch.testing.assert_close(guided.latents, plain.latents, atol=1e-5, rtol=1e-5)


def test_guidance_may_run_fewer_passes_at_some_steps(pipe):
    counts = []

    class Interval:
        def passes(self, run):
            return (Pass("negative"), Pass("positive")) if run.step.index else (Pass("positive"),)

        def combine(self, predictions, run):
            return predictions["positive"]

    class Limited(Extension, name="limited"):
        @hookimpl
        def guidance(self):
            return Interval()

        @hookimpl
        def unet_output(self, prediction):
            counts.append(len(prediction))

    pipe("a cat", use=[Limited()], **RUN)
    assert counts == [1, 2]


def test_request_changes_the_texts_and_brings_extensions_that_join_the_plan(pipe):
    class Brighten(Extension, name="brighten"):
        @hookimpl
        def latents(self, latents):
            return latents + 1

    class Shout(Extension, name="shout"):
        @hookimpl
        def request(self, request):
            texts = tuple(text.removesuffix("!") for text in request.prompts)
            return replace(request, prompts=texts, use=(Brighten(),) if texts != request.prompts else ())

    plain = pipe("a cat", **RUN)
    unchanged = pipe("a cat", use=Shout(), **RUN)
    changed = pipe("a cat!", use=[Shout()], **RUN)
    assert torch.equal(unchanged.latents, plain.latents)
    assert torch.equal(changed.latents, plain.latents + 1)
    assert changed.recipe["prompt"] == ["a cat"]
    assert [entry["name"] for entry in changed.recipe["extensions"]] == ["brighten", "shout"]
    assert "brighten" in pipe.plan("a cat!", use=Shout()).explain()
    with pipe.using(Shout()):
        assert torch.equal(pipe("a cat!", **RUN).latents, plain.latents + 1)
        assert torch.equal(pipe("a cat", **RUN).latents, plain.latents)


def test_a_request_that_is_none_is_refused_by_name(pipe):
    class Wrong(Extension, name="wrong"):
        @hookimpl
        def request(self, request):
            return "a cat"

    with pytest.raises(HookReturnError, match=r"wrong.*a Request: dataclasses.replace"):
        pipe("a cat", use=[Wrong()], **RUN)


def test_make_scheduler_replaces_the_scheduler(pipe):
    from diffusers import EulerDiscreteScheduler

    class WithEuler(Extension, name="with-euler"):
        @hookimpl
        def make_scheduler(self, run):
            return EulerDiscreteScheduler.from_config(run.pipe.scheduler.config)

    by_hook = pipe("a cat", use=[WithEuler()], **RUN)
    by_argument = pipe("a cat", scheduler=EulerDiscreteScheduler.from_config(pipe.scheduler.config), **RUN)
    assert torch.equal(by_hook.latents, by_argument.latents)
    assert by_hook.recipe["scheduler"]["class"] == "EulerDiscreteScheduler"


def test_a_tail_of_the_timesteps_starts_later_as_diffusers_image_to_image_does(pipe):
    class Tail(Extension, name="tail"):
        @hookimpl
        def timesteps(self, timesteps):
            return timesteps[2:]

    seen = []
    pipe("a cat", seed=1, steps=5, use=[Tail()], on_step=lambda progress: seen.append(progress.count))
    assert seen == [3, 3, 3]


def test_timesteps_of_ones_own_reach_a_scheduler_that_takes_them(pipe):
    from diffusers import EulerDiscreteScheduler

    class Own(Extension, name="own"):
        @hookimpl
        def timesteps(self, timesteps):
            return torch.tensor([900, 500, 100])

    euler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    seen = []

    class Watch(Extension, name="watch"):
        @hookimpl
        def step_begin(self, latents, run):
            seen.append(int(run.step.timestep))

    pipe("a cat", seed=1, steps=5, scheduler=euler, use=[Own(), Watch()])
    assert seen == [900, 500, 100]


def test_state_of_a_run_is_kept_outside_the_extension_and_is_new_in_each_run(pipe):
    class Counts(Extension, name="counts"):
        totals: ClassVar[list[int]] = []

        @hookimpl
        def step_end(self, latents, run):
            run.state(self, list).append(run.step.index)

        @hookimpl
        def latents(self, latents, run):
            self.totals.append(len(run.state(self, list)))

    counts = Counts()
    pipe("a cat", use=[counts], **RUN)
    pipe("a cat", use=[counts], **RUN)
    assert Counts.totals == [2, 2]
