"""`fast` picks by what the machine has, and says what it picked."""

from __future__ import annotations

import logging

import pytest
from conftest import RUN
from mezzotint.errors import PlanError
from mezzotint_blocks.speed import Fast
from mezzotint_blocks.speed.fast import choose
from mezzotint_blocks.speed.machine import Machine


def machine(**facts):
    known = {"device": "cpu", "name": "a CPU", "flags": (), "threads": 2, "fast_bf16": False, "onednn": True, "load": 0.0}
    return Machine(**{**known, **facts})


def names(choice):
    return [part.extension_name for part in choice.parts]


def test_a_cpu_without_native_bfloat16_stays_exact():
    choice = choose(machine(flags=("avx2",)), exact=False, compile_blocks=False)
    assert names(choice) == ["packed-weights", "fused-qkv", "text-kv"]


def test_a_cpu_with_native_bfloat16_uses_it_unless_exactness_is_asked_for():
    amx = machine(flags=("amx_bf16",), fast_bf16=True)
    assert "bf16" in names(choose(amx, exact=False, compile_blocks=False))
    assert "bf16" not in names(choose(amx, exact=True, compile_blocks=False))


def test_a_gpu_gets_channels_last_and_no_weights_of_onednn():
    choice = choose(machine(device="cuda"), exact=False, compile_blocks=False)
    assert names(choice) == ["channels-last", "fused-qkv", "text-kv"]


def test_without_onednn_nothing_is_packed():
    assert "packed-weights" not in names(choose(machine(onednn=False), exact=False, compile_blocks=False))


def test_compiling_takes_the_place_of_what_cannot_be_compiled():
    assert names(choose(machine(), exact=False, compile_blocks=True)) == ["compile"]


def test_what_is_picked_is_said_and_published(pipe, caplog):
    with caplog.at_level(logging.INFO, logger="mezzotint"):
        result = pipe("a cat", use=[Fast(exact=True)], **RUN)
    assert "fast: packed-weights (oneDNN on a CPU), fused-qkv" in caplog.text
    assert list(result.outputs["fast"]["chosen"]) == ["packed-weights", "fused-qkv", "text-kv"]


def test_what_fast_brings_is_not_brought_twice(pipe):
    from mezzotint_blocks.caches import TextKV

    with pytest.raises(PlanError, match="fast .* declares a conflict with text-kv"):
        pipe("a cat", use=[Fast(), TextKV()], **RUN)
