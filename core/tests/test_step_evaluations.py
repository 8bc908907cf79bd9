"""What an extension can do to the evaluations of a step: other passes, one evaluation more, what it means, who did it."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from mezzotint import BlockOutput, Extension, Pass, hookimpl
from mezzotint.errors import HookReturnError

RUN = {"seed": 3, "steps": 3, "guidance": 5.0}


class Rows(Extension, name="rows"):
    """Publishes how many rows each call of the U-Net had."""

    @hookimpl
    def unet_output(self, prediction, run):
        rows = run.state(self, list)
        rows.append(len(prediction))
        run.publish(self, rows=rows)


def test_a_step_without_guidances_own_passes_takes_the_positive_one(pipe):
    class Positive(Extension, name="positive"):
        @hookimpl
        def passes(self, passes):
            return tuple(pass_ for pass_ in passes if pass_.name == "positive")

    result = pipe("a cat", use=[Positive(), Rows()], **RUN)
    assert result.outputs["rows"]["rows"] == [1, 1, 1]
    assert torch.equal(result.latents, pipe("a cat", **{**RUN, "guidance": 1.0}).latents)


def test_an_added_pass_is_in_predictions_and_not_in_guidance(pipe):
    seen = []

    class Third(Extension, name="third"):
        @hookimpl
        def passes(self, passes):
            return (*passes, Pass("third", "positive"))

        @hookimpl
        def prediction(self, prediction, predictions):
            seen.append(torch.equal(predictions["third"], predictions["positive"]))

    result = pipe("a cat", use=[Third(), Rows()], **RUN)
    assert result.outputs["rows"]["rows"] == [3, 3, 3]
    assert seen == [True] * 3
    # Batched convolutions need not give the same last bit for any batch size.
    torch.testing.assert_close(result.latents, pipe("a cat", **RUN).latents, atol=1e-5, rtol=1e-5)


def test_leaving_out_the_positive_pass_is_refused(pipe):
    class Negative(Extension, name="negative"):
        @hookimpl
        def passes(self, passes):
            return passes[:1]

    with pytest.raises(
        HookReturnError, match=r"passes \['negative'\], without positive; expected those that"
    ):
        pipe("a cat", use=[Negative()], **RUN)


def test_a_further_evaluation_has_its_own_passes_and_all_hooks(pipe):
    class Again(Extension, name="again"):
        @hookimpl
        def prediction(self, predictions, latents, run):
            before = run.passes
            again = run.evaluate(latents, (Pass("a", "negative"), Pass("b", "positive")))
            assert list(again) == ["a", "b"]
            assert torch.equal(again["a"], predictions["negative"])
            assert torch.equal(again["b"], predictions["positive"])
            assert run.passes is before

    result = pipe("a cat", use=[Again(), Rows()], **RUN)
    assert result.outputs["rows"]["rows"] == [2] * 6
    assert torch.equal(result.latents, pipe("a cat", **RUN).latents)


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "EulerDiscreteScheduler"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_frame_says_what_a_prediction_means(tmp_path, prediction_type, scheduler):
    import diffusers
    from mezzotint.testing import tiny_pipeline

    # An installed plugin brings diffusers' classes by name; here the scheduler is given as an object.
    pipe = tiny_pipeline(tmp_path, prediction_type=prediction_type)
    made = getattr(diffusers, scheduler).from_config(pipe.scheduler.config)

    class Frame(Extension, name="frame"):
        @hookimpl
        def prediction(self, prediction, latents, run):
            frame = run.frame()
            denoised, noise = frame.denoised(prediction), frame.noise(prediction)
            close = {"atol": 2e-4, "rtol": 1e-4}
            torch.testing.assert_close(frame.latents(denoised, noise), latents, **close)
            torch.testing.assert_close(frame.prediction(denoised), prediction, **close)
            step = type(run.scheduler).from_config(run.scheduler.config)
            step.set_timesteps(run.request.steps)
            stated = step.step(prediction, run.step.timestep, latents).pred_original_sample
            torch.testing.assert_close(denoised, stated, atol=1e-3, rtol=1e-4)

    pipe("a cat", use=[Frame()], scheduler=made, **RUN)


class Watch(Extension, name="watch"):
    """Keeps every call that it sees."""

    @hookimpl
    def hook_called(self, call, run):
        calls = run.state(self, list)
        calls.append(call)
        run.publish(self, calls=calls)


class Changes(Extension, name="changes"):
    """Acts where the answer is a chain's, a context, and an exclusive one."""

    @hookimpl
    @contextmanager
    def patch_unet(self, unet):
        yield

    @hookimpl
    def prediction(self, prediction):
        return prediction * 2

    @hookimpl
    def step_end(self, latents):
        return None

    @hookimpl(at="mid")
    def unet_block(self, forward, hidden_states):
        inside = forward(hidden_states)
        return BlockOutput(inside.hidden_states + 1)


def test_each_call_is_seen_with_what_it_changed(pipe):
    calls = pipe("a cat", use=[Watch(), Changes()], **RUN).outputs["watch"]["calls"]
    assert {call.label for call in calls} == {"changes"}
    of = {point: [call for call in calls if call.point == point] for point in ("prediction", "step_end")}
    assert len(of["prediction"]) == len(of["step_end"]) == 3
    assert all(torch.equal(call.after, call.before * 2) for call in of["prediction"])
    assert all(call.after is call.before for call in of["step_end"])
    block = next(call for call in calls if call.point == "unet_block")
    assert block.place == "mid"
    torch.testing.assert_close(block.after.hidden_states, block.before.hidden_states + 1)
    assert all(call.seconds >= 0 for call in calls)
    assert calls[0].point == "patch_unet"


def test_watching_changes_no_bit_and_nobody_watching_costs_no_wrapper(pipe):
    from mezzotint.planning.calls import Calls
    from mezzotint.planning.watched_calls import calls_of

    plain = pipe("a cat", use=[Changes()], **RUN).latents
    assert torch.equal(pipe("a cat", use=[Changes(), Watch()], **RUN).latents, plain)
    assert type(calls_of(pipe.plan(use=[Changes()]))) is Calls


def test_guidance_is_seen_with_the_positive_prediction_before_it(pipe):
    class Doubled(Extension, name="doubled"):
        @hookimpl
        def guidance(self, run):
            return self

        def passes(self, run):
            return (Pass("positive"),)

        def combine(self, predictions, run):
            return predictions["positive"] * 2

    calls = pipe("a cat", use=[Doubled(), Watch()], **RUN).outputs["watch"]["calls"]
    combined = [call for call in calls if call.point == "guidance" and call.before is not None]
    assert len(combined) == 3
    assert all(torch.equal(call.after, call.before * 2) for call in combined)
