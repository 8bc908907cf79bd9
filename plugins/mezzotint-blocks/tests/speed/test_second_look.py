"""A second evaluation of the U-Net within a step, as self-attention guidance makes it, beside caches."""

from __future__ import annotations

import pytest
import torch
from mezzotint import Extension, Pass, hookimpl
from mezzotint_blocks import SAG, DeepCache, EasyCache, FirstBlockCache, TGate
from speed_stand_ins import RUN

CACHES = [DeepCache(interval=3), FirstBlockCache(threshold=10), EasyCache(threshold=10), TGate(gate=0.5)]


class Looks(Extension, name="looks"):
    """Evaluates other latents at every step and does nothing with what comes."""

    @hookimpl
    def prediction(self, latents, run):
        run.evaluate(latents.flip(-1) * 3, (Pass("second", conditioning="negative"),))


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("cache", CACHES, ids=lambda cache: cache.extension_name)
def test_a_second_look_does_not_change_what_a_cache_gives_the_step(pipe, cache, guidance):
    run = {**RUN, "guidance": guidance, "steps": 8}
    expected = pipe("a cat", use=[cache], **run).latents
    assert not torch.equal(expected, pipe("a cat", **run).latents)
    assert torch.equal(pipe("a cat", use=[cache, Looks()], **run).latents, expected)


@pytest.mark.parametrize("cache", CACHES, ids=lambda cache: cache.extension_name)
def test_self_attention_guidance_may_begin_at_a_step_that_a_cache_shortens(pipe, cache):
    for start in (0.3, 0.7):
        assert pipe("a cat", use=[cache, SAG(start=start)], **RUN).latents.isfinite().all()


def test_a_step_with_a_second_look_is_listed_once(pipe):
    outputs = pipe("a cat", use=[DeepCache(interval=3), SAG()], **RUN).outputs["deepcache"]
    assert outputs["computed_steps"] == [0, 3]
