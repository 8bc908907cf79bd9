"""Keys and values of the text: bit-equal, computed once, and anew for everything that changes them."""

from __future__ import annotations

import pytest
import torch
from mezzotint import Extension, hookimpl, shadowed
from mezzotint.testing import fingerprint
from mezzotint_blocks.caches import TextKV
from mezzotint_blocks.caches.text_kv import Projections, Remembered
from speed_stand_ins import RUN, Control, Tokens, Weights

LAYERS = 6
"""Cross-attention layers of the model: each has a projection of keys and one of values."""


def test_the_latents_are_equal_bit_for_bit_and_the_text_is_projected_once(pipe):
    result = pipe("a cat", use=[TextKV()], **RUN)
    assert torch.equal(result.latents, pipe("a cat", **RUN).latents)
    assert result.outputs["text-kv"] == {
        "projections_run": 2 * LAYERS,
        "projections_reused": 2 * LAYERS * (RUN["steps"] - 1),
    }


def test_prompt_batch_lora_and_guidance_in_one_attachment_are_all_seen(pipe):
    changes = [
        {"prompt": "a cat"},
        {"prompt": "a dog"},
        {"prompt": "a dog", "n": 1},
        {"prompt": "a dog", "guidance": 1.0},
        {"prompt": "a cat", "negative": "ugly"},
        {"prompt": "a cat", "use": [Weights(amount=0.2)]},
        {"prompt": "a cat"},
    ]
    plain = [pipe(**{**RUN, **change}).latents for change in changes]
    # The stand-in for LoRA has to be attached first: what it changes is seen in either case below.
    cached = [
        pipe(**{**RUN, **change, "use": [*change.get("use", ()), TextKV()]}).latents for change in changes
    ]
    assert all(torch.equal(a, b) for a, b in zip(plain, cached, strict=True))
    with pipe.using(TextKV()):
        kept = [pipe(**{**RUN, **change}).latents for change in changes if "use" not in change]
    expected = [latents for change, latents in zip(changes, plain, strict=True) if "use" not in change]
    assert all(torch.equal(a, b) for a, b in zip(expected, kept, strict=True))


def test_a_prompt_that_changes_over_the_run_is_projected_when_it_changes(pipe):
    class Switch(Extension, name="switch"):
        @hookimpl
        def conditioning(self, conditioning, pass_, run):
            if pass_.name == "positive" and run.step.index >= 3:
                return run.state(self, lambda: run.encode(["a dog"]).repeat(run.n))
            return None

    plain = pipe("a cat", use=[Switch()], **RUN).latents
    assert torch.equal(pipe("a cat", use=[Switch(), TextKV()], **RUN).latents, plain)


@pytest.fixture
def projection():
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3).eval()


@torch.no_grad()
@pytest.mark.parametrize(
    "change",
    [
        lambda linear, x: x.add_(1),
        lambda linear, x: linear.weight.mul_(2),
        lambda linear, x: linear.bias.copy_(torch.ones(3)),
        lambda linear, x: setattr(linear, "weight", torch.nn.Parameter(linear.weight * 2)),
        lambda linear, x: setattr(linear.weight, "data", linear.weight.data * 2),
        lambda linear, x: setattr(linear.weight, "data", linear.weight.data.double().float() + 1),
        lambda linear, x: linear.scaling.update(a=2.0),
    ],
    ids=["input", "weight", "bias", "parameter", "data", "data again", "scale of an adapter"],
)
def test_every_change_is_seen(projection, change):
    projection.scaling = {"a": 1.0}
    plain = projection.forward
    counts = Projections()
    x = torch.randn(2, 5, 4)
    with shadowed(projection, Remembered(projection, counts)):
        assert torch.equal(projection(x), plain(x))
        assert torch.equal(projection(x), plain(x))
        assert (counts.computed, counts.reused) == (1, 1)
        change(projection, x)
        assert torch.equal(projection(x), plain(x))
        assert (counts.computed, counts.reused) == (2, 1)


@torch.no_grad()
def test_an_address_that_is_used_again_gives_no_stale_values(projection):
    plain = projection.forward
    with shadowed(projection, Remembered(projection, Projections())):
        for _ in range(50):
            x = torch.randn(2, 5, 4)
            assert torch.equal(projection(x), plain(x))
            del x


def test_a_training_step_gets_its_gradient(projection):
    counts = Projections()
    with shadowed(projection, Remembered(projection, counts)):
        x = torch.randn(2, 5, 4)
        for _ in range(2):
            projection.zero_grad()
            projection(x).sum().backward()
            assert projection.weight.grad is not None
    assert counts.reused == 0


def test_with_extra_tokens_and_a_controlnet_it_is_still_equal(pipe, controlnet):
    others = [Tokens(), Control(model=controlnet), Weights()]
    plain = pipe("a cat", use=others, **RUN).latents
    assert torch.equal(pipe("a cat", use=[*others, TextKV()], **RUN).latents, plain)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_nothing_is_left(pipe, error):
    before = fingerprint(pipe)

    def stop(progress):
        if error is not None and progress.index == 2:
            raise error

    if error is None:
        pipe("a cat", use=[TextKV()], **RUN)
    else:
        with pytest.raises(error):
            pipe("a cat", use=[TextKV()], on_step=stop, **RUN)
    assert fingerprint(pipe).diff(before) == []
