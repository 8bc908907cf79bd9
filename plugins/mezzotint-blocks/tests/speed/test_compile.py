"""Compiled blocks: one program for equal blocks, none anew for the same shapes, and what is changed is not compiled."""

from __future__ import annotations

import pytest
import torch
from mezzotint.errors import PlanError
from mezzotint.models.compiler import MISSING, has_compiler
from mezzotint.testing import fingerprint
from mezzotint_blocks.caches import DeepCache, TokenMerging
from mezzotint_blocks.speed import Compile
from mezzotint_blocks.speed.regions import Region, Regions
from speed_stand_ins import RUN, Weights
from torch._inductor import config


@pytest.fixture
def no_inductor(monkeypatch):
    """Exported graphs run as they are: what is shared and what is left alone does not need the compiler."""
    from torch._inductor import compile_fx

    monkeypatch.setattr("mezzotint.models.compiler.has_compiler", lambda device: True)
    monkeypatch.setattr(compile_fx, "compile_fx", lambda graph, inputs: graph)


def test_blocks_of_one_form_share_a_program_and_later_runs_compile_nothing(pipe, no_inductor):
    plain = pipe("a cat", **RUN).latents
    first = pipe("a cat", use=[Compile()], **RUN)
    again = pipe("a cat", use=[Compile()], **RUN)
    blocks = sum(type(m).__name__ in ("ResnetBlock2D", "BasicTransformerBlock") for m in pipe.unet.modules())
    assert torch.allclose(first.latents, plain, atol=1e-5)
    assert first.outputs["compile"]["compilations"] == first.outputs["compile"]["programs"] < blocks
    assert first.outputs["compile"]["compiled_calls"] == blocks * RUN["steps"]
    assert again.outputs["compile"]["compilations"] == 0
    assert torch.equal(again.latents, first.latents)


def test_another_batch_is_compiled_once(pipe, no_inductor):
    counts = [
        pipe("a cat", use=[Compile()], **{**RUN, "n": n}).outputs["compile"]["compilations"]
        for n in (2, 1, 2, 1)
    ]
    assert counts[0] > 0
    assert counts[1] > 0
    assert counts[2:] == [0, 0]


def test_weights_are_read_at_every_call(pipe, no_inductor):
    plain = pipe("a cat", use=[Weights()], **RUN).latents
    pipe("a cat", use=[Compile()], **RUN)
    result = pipe("a cat", use=[Compile(), Weights()], **RUN)
    assert torch.allclose(result.latents, plain, atol=1e-5)
    assert result.outputs["compile"]["compilations"] == 0


def test_blocks_that_others_change_inside_run_uncompiled(pipe, no_inductor):
    plain = pipe("a cat", use=[TokenMerging()], **RUN).latents
    result = pipe("a cat", use=[Compile(), TokenMerging()], **RUN)
    assert torch.allclose(result.latents, plain, atol=1e-5)
    assert result.outputs["compile"]["uncompiled_calls"] > 0


def test_an_adapter_that_is_not_fused_runs_uncompiled(pipe, no_inductor):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False)
    peft.inject_adapter_in_model(config, pipe.unet)
    plain = pipe("a cat", **RUN).latents
    result = pipe("a cat", use=[Compile()], **RUN)
    assert torch.allclose(result.latents, plain, atol=1e-5)
    assert result.outputs["compile"]["uncompiled_calls"] == 6 * RUN["steps"]


def test_block_hooks_act_around_compiled_blocks(pipe, no_inductor):
    plain = pipe("a cat", use=[DeepCache(2)], **RUN)
    result = pipe("a cat", use=[Compile(), DeepCache(2)], **RUN)
    assert torch.allclose(result.latents, plain.latents, atol=1e-5)
    assert result.outputs["deepcache"] == plain.outputs["deepcache"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_an_error(pipe, no_inductor, error):
    before = fingerprint(pipe)

    def stop(progress):
        if progress.index == 2:
            raise error("stop")

    with pytest.raises(error):
        pipe("a cat", use=[Compile()], on_step=stop, **RUN)
    assert fingerprint(pipe).diff(before) == []


def test_a_machine_without_a_compiler_is_told_so(pipe):
    with (
        config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(PlanError, match=r"compile needs a C\+\+ compiler, and none is installed here"),
    ):
        pipe("a cat", use=[Compile()], **RUN)


@pytest.mark.slow
@torch.no_grad()
def test_inductor_itself_gives_the_block_to_rounding(pipe):
    """The one real compilation: it takes as long as the C++ compiler does."""
    if not has_compiler(torch.device("cpu")):
        pytest.skip(MISSING)
    block = pipe.unet.mid_block.resnets[0]
    plain, regions = block.forward, Regions()
    hidden_states, emb = torch.randn(2, 16, 8, 8), torch.randn(2, 32)
    block.forward = Region(block, regions)
    try:
        assert torch.allclose(block(hidden_states, emb), plain(hidden_states, emb), atol=1e-5)
    finally:
        del block.forward
    assert regions.outputs() == {"compilations": 1, "programs": 1, "compiled_calls": 1, "uncompiled_calls": 0}
