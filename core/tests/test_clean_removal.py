"""After a run nothing is left: parameters, buffers, modules, forwards, hooks, processors, configuration."""

from __future__ import annotations

import itertools
from contextlib import contextmanager, suppress

import pytest
import torch
from mezzotint import AttentionTokens, Extension, RunCancelled, hookimpl
from mezzotint.errors import PlanError
from mezzotint.testing import fingerprint
from test_hook_points import CHANGES

RUN = {"seed": 3, "steps": 3, "guidance": 5.0}


class Everywhere(Extension, name="everywhere"):
    """Changes weights, a module, blocks at every depth, attention layers and the time embedding."""

    @hookimpl
    @contextmanager
    def patch_unet(self, unet):
        weight = unet.conv_in.weight
        before = weight.detach().clone()
        weight.mul_(1.5)
        try:
            yield
        finally:
            weight.copy_(before)

    @hookimpl
    @contextmanager
    def patch_text_encoder(self, text_encoder):
        handle = text_encoder.register_forward_hook(lambda *args: None)
        try:
            yield
        finally:
            handle.remove()

    @hookimpl
    def time_embedding(self, emb):
        return emb + 0.1

    @hookimpl(at=("*.*", "mid", "**.resnets.*", "**.attentions.*"))
    def unet_block_input(self, hidden_states):
        return hidden_states + 0.01

    @hookimpl(at="*.*.*samplers.*")
    def unet_block(self, forward, hidden_states):
        return forward(hidden_states)

    @hookimpl
    def unet_block_output(self, hidden_states):
        return hidden_states * 1.01

    @hookimpl
    def attention_probe(self, probabilities):
        return None

    @hookimpl
    def cross_attention_tokens(self, layer, run):
        width = run.pipe.unet.get_submodule(layer.path).to_k.out_features
        return AttentionTokens(torch.ones(1, 1, width), torch.ones(1, 1, width))

    @hookimpl(at="**.attn1")
    def attention_processor(self):
        from diffusers.models.attention_processor import AttnProcessor

        return AttnProcessor()


def test_a_fingerprint_sees_every_kind_of_change(pipe):
    unet, before = pipe.unet, fingerprint(pipe.unet)
    changes = {
        "a weight": (lambda: unet.conv_in.weight.data.add_(1), lambda: unet.conv_in.weight.data.sub_(1)),
        "requires_grad": (
            lambda: unet.conv_in.requires_grad_(False),
            lambda: unet.conv_in.requires_grad_(True),
        ),
        "training": (lambda: unet.mid_block.train(), lambda: unet.mid_block.eval()),
        "an attribute": (lambda: setattr(unet, "left", 1), lambda: delattr(unet, "left")),
        "a forward": (
            lambda: setattr(unet.mid_block, "forward", unet.mid_block.forward),
            lambda: delattr(unet.mid_block, "forward"),
        ),
        "configuration": (
            lambda: unet.register_to_config(sample_size=8),
            lambda: unet.register_to_config(sample_size=16),
        ),
    }
    for what, (change, undo) in changes.items():
        change()
        assert fingerprint(unet) != before, what
        undo()
    handle = unet.mid_block.register_forward_pre_hook(lambda *args: None)
    assert fingerprint(unet) != before
    handle.remove()
    processor = unet.mid_block.attentions[0].transformer_blocks[0].attn2.processor
    unet.mid_block.attentions[0].transformer_blocks[0].attn2.set_processor(type(processor)())
    assert fingerprint(unet) != before
    unet.mid_block.attentions[0].transformer_blocks[0].attn2.set_processor(processor)
    resnet = unet.mid_block.resnets[0]
    unet.mid_block.resnets[0] = torch.nn.Identity()
    assert fingerprint(unet) != before
    unet.mid_block.resnets[0] = resnet


@pytest.mark.parametrize("extension", [*CHANGES, Everywhere], ids=lambda cls: cls.extension_name)
def test_a_run_leaves_nothing(pipe, extension):
    before = fingerprint(pipe)
    pipe("a cat", use=[extension()], **RUN)
    assert fingerprint(pipe).diff(before) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("index", range(RUN["steps"]))
def test_nothing_is_left_after_an_error_at_any_step(pipe, index, error):
    class Fails(Extension, name="fails"):
        @hookimpl(at="mid")
        def unet_block_output(self, run):
            if run.step.index == index:
                raise error("stop")

    before = fingerprint(pipe)
    with pytest.raises(error):
        pipe("a cat", use=[Everywhere(), Fails()], **RUN)
    assert fingerprint(pipe).diff(before) == []
    assert torch.equal(pipe("a cat", **RUN).latents, pipe("a cat", **RUN).latents)


@pytest.mark.parametrize("index", range(RUN["steps"]))
def test_cancelling_is_clean_at_any_step(pipe, index):
    def on_step(progress):
        if progress.index == index:
            progress.cancel()

    before = fingerprint(pipe)
    with pytest.raises(RunCancelled, match=f"after step {index + 1} of 3"):
        pipe("a cat", use=[Everywhere()], on_step=on_step, **RUN)
    assert fingerprint(pipe).diff(before) == []


@pytest.mark.parametrize("hook", ["patch_unet", "patch_text_encoder"])
def test_an_error_while_attaching_undoes_what_was_attached(pipe, hook):
    def fails(self):
        raise ValueError("cannot attach")

    fails.__name__ = hook
    cls = type("Late", (Extension,), {hook: hookimpl(fails), "__module__": __name__}, name="late")
    before = fingerprint(pipe)
    with pytest.raises(ValueError, match="cannot attach") as caught:
        pipe("a cat", use=[Everywhere(), cls()], **RUN)
    assert "extension late" in caught.value.__notes__[0]
    assert fingerprint(pipe).diff(before) == []


def adding(name, delta):
    """An extension that adds to a weight while attached."""

    class Adds(Extension, name=name):
        @hookimpl
        @contextmanager
        def patch_unet(self, unet):
            before = unet.conv_out.weight.detach().clone()
            unet.conv_out.weight.add_(delta)
            try:
                yield
            finally:
                unet.conv_out.weight.copy_(before)

    return Adds


@pytest.mark.parametrize("attach", list(itertools.permutations("abc")))
@pytest.mark.parametrize("nested", list(itertools.permutations(range(3))))
def test_three_extensions_leave_nothing_in_any_order_of_use(pipe, attach, nested):
    classes = {name: adding(name, 0.01 * (k + 1)) for k, name in enumerate("abc")}
    before = fingerprint(pipe)
    plain = pipe("a cat", **RUN).latents
    used = [classes[attach[k]]() for k in nested]
    together = pipe("a cat", use=used, **RUN).latents
    for extension in used:
        pipe("a cat", use=[other for other in used if other is not extension], **RUN)
    assert not torch.equal(together, plain)
    assert torch.equal(pipe("a cat", **RUN).latents, plain)
    assert fingerprint(pipe).diff(before) == []


def test_using_keeps_extensions_attached_and_then_leaves_nothing(pipe):
    entered = []

    class Counts(Extension, name="counts"):
        @hookimpl
        @contextmanager
        def patch_unet(self, unet):
            entered.append("in")
            yield
            entered.append("out")

    before = fingerprint(pipe)
    with pipe.using(Counts(), Everywhere()):
        first = pipe("a cat", **RUN).latents
        second = pipe("a cat", **RUN).latents
        assert entered == ["in"]
    assert entered == ["in", "out"]
    assert torch.equal(first, second)
    assert torch.equal(first, pipe("a cat", use=[Counts(), Everywhere()], **RUN).latents)
    assert fingerprint(pipe).diff(before) == []


def test_using_nests_and_adds_up_to_one_use(pipe):
    a, b = adding("a", 0.1)(), adding("b", 0.2)()
    with pipe.using(a), pipe.using(b):
        nested = pipe("a cat", **RUN).latents
    assert torch.equal(nested, pipe("a cat", use=[a, b], **RUN).latents)


def test_a_patch_that_belongs_below_an_attached_one_is_refused(pipe):
    before = fingerprint(pipe)
    with pipe.using(adding("b", 0.1)()), pytest.raises(PlanError, match="a patches the model before"):
        pipe("a cat", use=[adding("a", 0.2)()], **RUN)
    assert fingerprint(pipe).diff(before) == []


def test_using_leaves_nothing_after_an_error_inside(pipe):
    before = fingerprint(pipe)

    def fails_inside():
        with pipe.using(Everywhere()):
            pipe("a cat", **RUN)
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fails_inside()
    assert fingerprint(pipe).diff(before) == []


def test_a_patch_cannot_swallow_an_interrupt(pipe):
    class Swallows(Extension, name="swallows"):
        @hookimpl
        @contextmanager
        def patch_unet(self, unet):
            with suppress(KeyboardInterrupt):
                yield

        @hookimpl
        def step_end(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipe("a cat", use=[Swallows()], **RUN)


def test_leaving_using_in_the_wrong_order_is_said_and_undoes_both(pipe):
    before = fingerprint(pipe)
    outer, inner = pipe.using(adding("a", 0.1)()), pipe.using(adding("b", 0.2)())
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(PlanError, match="left before one that was entered later"):
        outer.__exit__(None, None, None)
    inner.__exit__(None, None, None)
    assert fingerprint(pipe).diff(before) == []
    pipe("a cat", **RUN)


def test_a_fingerprint_takes_numbers_without_dimensions_and_sees_the_tokenizer(pipe):
    assert fingerprint(torch.nn.BatchNorm2d(3)) != fingerprint(torch.nn.BatchNorm2d(3))
    before = fingerprint(pipe)
    pipe.tokenizer.add_tokens(["<cat>"])
    assert fingerprint(pipe) != before
