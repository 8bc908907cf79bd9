"""Extensions together: how often the U-Net runs, what combines, what is refused by name, and that nothing is left."""

from __future__ import annotations

import itertools
from contextlib import contextmanager

import pytest
import torch
from mezzotint import AttentionTokens, Extension, RunCancelled, hookimpl
from mezzotint.errors import PlanError, RequestError
from mezzotint.testing import fingerprint
from mezzotint_blocks import (
    APG,
    PAG,
    SAG,
    AttentionMaps,
    BlockNorms,
    CFGInterval,
    CFGRescale,
    CFGZero,
    DynamicThresholding,
    FeatureMaps,
    FreeU,
    SkipScale,
    TGate,
    Trace,
)

RUN = {"seed": 3, "steps": 4, "guidance": 5.0}
ALONE = [
    APG(),
    AttentionMaps(),
    BlockNorms(),
    CFGInterval(start=0.25, end=0.75),
    CFGRescale(),
    CFGZero(zero_init=1),
    DynamicThresholding(),
    FeatureMaps(),
    FreeU(),
    FreeU(structure=True),
    PAG(),
    SAG(),
    SkipScale(0.5),
    Trace(),
]


class Tokens(Extension, name="tokens"):
    """Extra tokens in every cross-attention layer, as IP-Adapter adds them."""

    @hookimpl
    def cross_attention_tokens(self, layer, run):
        width = run.pipe.unet.get_submodule(layer.path).to_k.out_features
        return AttentionTokens(torch.ones(1, 3, width), torch.full((1, 3, width), 0.5), scale=0.3)


class LowRank(Extension, name="low-rank"):
    """A low-rank addition to the values and queries of every attention layer, as LoRA makes it."""

    @hookimpl
    @contextmanager
    def patch_unet(self, unet):
        handles = []
        for name, module in unet.named_modules():
            if name.endswith((".to_v", ".to_q")):
                generator = torch.Generator().manual_seed(len(handles))
                down = torch.randn(2, module.in_features, generator=generator) / 4
                up = torch.randn(module.out_features, 2, generator=generator) / 4
                handles.append(
                    module.register_forward_hook(lambda _, args, out, d=down, u=up: out + args[0] @ d.T @ u.T)
                )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


class Fails(Extension, name="zz-fails"):
    """Raises at a step, in the middle of the U-Net."""

    step: int
    error: type[BaseException]

    @hookimpl(at="up.1")
    def unet_block_output(self, run):
        if run.step.index == self.step:
            raise self.error("stop")


@pytest.mark.parametrize(
    ("extensions", "guidance", "rows"),
    [
        ([], 5.0, [2, 2, 2, 2]),
        ([CFGInterval(start=0.25, end=0.75)], 5.0, [1, 2, 2, 1]),
        ([CFGInterval(start=0.5, end=0.5)], 5.0, [1, 1, 1, 1]),
        ([PAG()], 5.0, [3, 3, 3, 3]),
        ([PAG()], 1.0, [2, 2, 2, 2]),
        ([PAG(scale=0)], 5.0, [2, 2, 2, 2]),
        ([PAG(end=0.5)], 5.0, [3, 3, 2, 2]),
        ([PAG(), CFGInterval(start=0.25, end=0.75)], 5.0, [2, 3, 3, 2]),
        ([SAG()], 5.0, [2, 1] * 4),
        ([SAG()], 1.0, [1, 1] * 4),
        ([SAG(scale=0)], 5.0, [2, 2, 2, 2]),
        ([SAG(), CFGInterval(end=0.5)], 5.0, [2, 1, 2, 1, 1, 1, 1, 1]),
        ([APG(), CFGInterval(start=0.25, end=0.75)], 5.0, [1, 2, 2, 1]),
        ([CFGZero(), CFGRescale(), DynamicThresholding()], 5.0, [2, 2, 2, 2]),
        ([FreeU(), SkipScale(), AttentionMaps(), Trace()], 5.0, [2, 2, 2, 2]),
    ],
    ids=str,
)
def test_the_u_net_runs_as_often_and_with_as_many_passes_as_expected(
    pipe, count_calls, extensions, guidance, rows
):
    with count_calls(pipe.unet) as counted:
        pipe("a cat", use=extensions, **{**RUN, "guidance": guidance})
    assert counted == rows


def test_outside_the_interval_other_terms_go_on_without_guidance(pipe):
    never = CFGInterval(start=1.0, end=1.0)
    for others in ([], [PAG()], [PAG(), CFGRescale()], [SAG()], [FreeU(), PAG()]):
        with_interval = pipe("a cat", use=[never, *others], **RUN).latents
        unguided = pipe("a cat", use=others, **{**RUN, "guidance": 1.0}).latents
        assert torch.equal(with_interval, unguided)


def test_an_interval_holds_for_any_guidance(pipe):
    for owner in (APG(), CFGZero(zero_init=0)):
        never = pipe("a cat", use=[CFGInterval(start=1, end=1), owner], **RUN).latents
        assert torch.equal(never, pipe("a cat", **{**RUN, "guidance": 1.0}).latents)
        always = pipe("a cat", use=[CFGInterval(), owner], **RUN).latents
        assert torch.equal(always, pipe("a cat", use=[owner], **RUN).latents)


def test_terms_of_guidance_act_in_their_order_whatever_the_order_of_use(pipe):
    used = [PAG(layers="up.0.**.attn1"), SAG(), CFGRescale(), DynamicThresholding(mimic=2.0)]
    plan = pipe.plan("a cat", use=used[::-1], **RUN)
    assert [entry.label for entry in plan.points["prediction"]] == [
        "pag",
        "sag",
        "cfg-rescale",
        "dynamic-thresholding",
    ]
    orders = list(itertools.permutations(used))[::7]
    results = [pipe("a cat", use=list(order), **{**RUN, "steps": 2}).latents for order in orders]
    assert all(torch.equal(one, results[0]) for one in results)


def test_maps_tokens_low_rank_and_pag_combine(pipe):
    others = [Tokens(), LowRank(), PAG()]
    together = pipe("a cat", use=others, **RUN)
    watched = pipe("a cat", use=[AttentionMaps(), *others], **RUN)
    assert torch.equal(watched.latents, together.latents)
    for left_out in others:
        fewer = pipe("a cat", use=[AttentionMaps(), *(o for o in others if o is not left_out)], **RUN)
        assert not torch.allclose(fewer.latents, watched.latents, atol=1e-4), left_out
    # The maps are of the model as changed, and of the positive pass alone.
    heat = watched.outputs["attention-maps"]["maps"][0]["cat"]
    plain = pipe("a cat", use=[AttentionMaps()], **RUN).outputs["attention-maps"]["maps"][0]["cat"]
    assert heat.shape == plain.shape == (16, 16)
    assert not torch.allclose(heat, plain)
    for order in list(itertools.permutations([AttentionMaps(), *others]))[::7]:
        assert torch.equal(pipe("a cat", use=list(order), **RUN).latents, watched.latents)


def test_pag_with_a_low_rank_addition_is_that_of_diffusers(pipe, stock):
    from diffusers import StableDiffusionPAGPipeline

    reference = stock(StableDiffusionPAGPipeline)
    with LowRank().patch_unet(reference.unet):
        expected = reference(
            "a cat",
            negative_prompt="",
            num_inference_steps=4,
            guidance_scale=5.0,
            pag_scale=3.0,
            generator=[torch.Generator("cpu").manual_seed(3)],
            output_type="latent",
        ).images
    assert torch.equal(pipe("a cat", negative="", use=[LowRank(), PAG()], **RUN).latents, expected)


@pytest.mark.parametrize(
    ("extensions", "sentence"),
    [
        (
            [APG(), CFGZero()],
            "hook point guidance takes one extension, and two claim it: apg .* and cfg-zero",
        ),
        (
            [PAG(), SAG()],
            "pag .* replaces the attention of mid.*, so attention_probe of sag .* cannot act there",
        ),
        ([TGate(), PAG()], "tgate .* declares a conflict with pag"),
        ([SkipScale(blocks="down.0")], "no skip connection enters down.0"),
        ([SkipScale(blocks="up.7")], "skip-scale .* matches no place"),
        ([PAG(layers="mid.**.attn3")], "pag .* matches no place"),
        ([PAG(layers="mid.**.attn2")], "pag: mid.*attn2 attends to the text; name layers of self-attention"),
    ],
)
def test_what_cannot_be_combined_is_refused_by_name(pipe, extensions, sentence):
    with pytest.raises(PlanError, match=sentence):
        pipe("a cat", use=extensions, **RUN)


def test_a_second_perturbed_pass_is_refused_before_anything_runs(pipe):
    with pytest.raises(PlanError, match="pag .* may be used once in a run"):
        pipe.plan("a cat", use=[PAG(), PAG(layers="up.0.**.attn1")])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"start": 0.9, "end": 0.1}, "start 0.9 is after end 0.1"),
        ({"sigma_low": 5, "sigma_high": 1}, "sigma_low 5 is above sigma_high 1"),
    ],
)
def test_an_interval_that_holds_nothing_by_mistake_is_said(options, sentence):
    with pytest.raises(RequestError, match=sentence):
        CFGInterval(**options)


@pytest.mark.parametrize("extension", ALONE, ids=str)
def test_each_leaves_nothing(pipe, extension):
    before = fingerprint(pipe)
    plain = pipe("a cat", **RUN).latents
    pipe("a cat", use=[extension], **RUN)
    assert fingerprint(pipe).diff(before) == []
    assert torch.equal(pipe("a cat", **RUN).latents, plain)


EVERYTHING = [
    AttentionMaps(),
    FreeU(),
    PAG(),
    APG(),
    CFGInterval(end=0.75),
    CFGRescale(),
    DynamicThresholding(),
    SkipScale(0.9),
    BlockNorms(),
    FeatureMaps(),
    Trace(),
    LowRank(),
    Tokens(),
]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("step", range(RUN["steps"]))
def test_nothing_is_left_after_an_error_or_ctrl_c_at_any_step(pipe, step, error):
    before = fingerprint(pipe)
    with pytest.raises(error):
        pipe("a cat", use=[*EVERYTHING, Fails(step=step, error=error)], **RUN)
    assert fingerprint(pipe).diff(before) == []


@pytest.mark.parametrize("step", [0, 2])
def test_nothing_is_left_after_ctrl_c_inside_a_second_evaluation(pipe, step):
    class Interrupts(Extension, name="interrupts"):
        @hookimpl
        def unet_output(self, run):
            if run.step.index == step and run.passes[0].name == "degraded":
                raise KeyboardInterrupt

    before = fingerprint(pipe)
    plain = pipe("a cat", **RUN).latents
    with pytest.raises(KeyboardInterrupt):
        pipe("a cat", use=[SAG(), Interrupts()], **RUN)
    assert fingerprint(pipe).diff(before) == []
    assert torch.equal(pipe("a cat", **RUN).latents, plain)


def test_cancelling_leaves_nothing(pipe):
    before = fingerprint(pipe)
    with pytest.raises(RunCancelled):
        pipe("a cat", use=EVERYTHING, on_step=lambda progress: progress.cancel(), **RUN)
    assert fingerprint(pipe).diff(before) == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_attaching_in_every_order_gives_the_same_bits_and_leaves_nothing(pipe, order):
    used = [LowRank(), PAG(), FreeU(), AttentionMaps()]
    before = fingerprint(pipe)
    expected = pipe("a cat", use=used, **{**RUN, "steps": 2}).latents
    a, b, c, d = (used[k] for k in order)
    with pipe.using(a), pipe.using(b), pipe.using(c):
        assert torch.equal(pipe("a cat", use=[d], **{**RUN, "steps": 2}).latents, expected)
    assert fingerprint(pipe).diff(before) == []
