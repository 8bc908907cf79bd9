"""`fast` picks by what the machine has, and says what it picked."""

from __future__ import annotations

import logging

import pytest
from mezzotint.errors import PlanError
from mezzotint_blocks.speed import Fast
from mezzotint_blocks.speed.fast import choose
from mezzotint_blocks.speed.machine import Machine
from speed_stand_ins import RUN


def machine(**facts):
    known = {
        "device": "cpu",
        "name": "a CPU",
        "flags": (),
        "threads": 2,
        "fast_bf16": False,
        "onednn": True,
        "load": 0.0,
    }
    return Machine(**{**known, **facts})


def chosen(here, exact=False, compile_blocks=False, small=False):
    return names(choose(here, exact=exact, compile_blocks=compile_blocks, small=small))


def names(choice):
    return [part.extension_name for part in choice.parts]


def test_a_cpu_without_native_bfloat16_stays_exact():
    assert chosen(machine(flags=("avx2",))) == ["packed-weights", "fused-qkv", "text-kv"]


def test_a_small_model_is_recorded_as_python_costs_most_there():
    assert chosen(machine(), small=True) == ["recorded-unet"]


def test_a_cpu_with_native_bfloat16_uses_it_unless_exactness_is_asked_for():
    amx = machine(flags=("amx_bf16",), fast_bf16=True)
    assert chosen(amx)[:2] == ["bf16", "channels-last"]
    for small in (True, False):
        # The same bits as on a machine without.
        assert chosen(amx, exact=True, small=small) == chosen(machine(), exact=True, small=small)


def test_a_gpu_gets_channels_last_and_no_weights_of_onednn():
    assert chosen(machine(device="cuda")) == ["channels-last", "fused-qkv", "text-kv"]


def test_without_onednn_nothing_is_packed():
    assert "packed-weights" not in chosen(machine(onednn=False))


def test_compiling_takes_the_place_of_what_cannot_be_compiled():
    assert chosen(machine(), compile_blocks=True, small=True) == ["compile"]


@pytest.mark.parametrize(
    "facts", [{}, {"fast_bf16": True}, {"device": "cuda"}, {"device": "mps"}, {"onednn": False}]
)
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("compile_blocks", [True, False])
@pytest.mark.parametrize("small", [True, False])
def test_no_two_of_what_is_picked_conflict(facts, exact, compile_blocks, small):
    parts = choose(machine(**facts), exact=exact, compile_blocks=compile_blocks, small=small).parts
    together = {part.extension_name for part in parts}
    assert together
    for part in parts:
        assert not together & set(part.conflicts), part


def test_what_is_picked_is_said_and_published(pipe, caplog):
    with caplog.at_level(logging.INFO, logger="mezzotint"):
        result = pipe("a cat", use=[Fast(exact=True)], **RUN)
    assert "fast: recorded-unet (a small model)" in caplog.text
    assert result.outputs["fast"]["chosen"] == {"recorded-unet": "a small model"}


def test_what_fast_brings_is_not_brought_twice(pipe):
    from mezzotint_blocks.caches import TextKV

    with pytest.raises(PlanError, match="fast .* declares a conflict with text-kv"):
        pipe("a cat", use=[Fast(), TextKV()], **RUN)
