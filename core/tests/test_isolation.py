"""Pipelines share nothing; one pipeline serves one run at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from mezzotint import Extension, hookimpl
from mezzotint.errors import RequestError
from mezzotint.testing import tiny_pipeline

RUN = {"steps": 3, "guidance": 5.0}


class Doubles(Extension, name="doubles"):
    @hookimpl
    def step_end(self, latents):
        return latents * 1.1


class WithDoubles:
    @hookimpl
    def extensions(self):
        return [Doubles]


def test_two_pipelines_with_different_plugins(tiny_model):
    plain, rich = tiny_pipeline(tiny_model), tiny_pipeline(tiny_model, plugins=[WithDoubles])
    assert "doubles" not in plain.registry.extensions
    assert "doubles" in rich.registry.extensions
    alone = plain("a cat", seed=1, **RUN).latents
    assert not torch.equal(rich("a cat", seed=1, use=[Doubles()], **RUN).latents, alone)
    assert torch.equal(plain("a cat", seed=1, **RUN).latents, alone)


def test_two_threads_with_two_pipelines_give_what_they_give_alone(tiny_model):
    pipes = [tiny_pipeline(tiny_model), tiny_pipeline(tiny_model, plugins=[WithDoubles])]
    uses = [[], [Doubles()]]
    alone = [pipe("a cat", seed=1, use=use, **RUN).latents for pipe, use in zip(pipes, uses, strict=True)]
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(lambda k: pipes[k]("a cat", seed=1, use=uses[k], **RUN).latents, k)
            for _ in range(4)
            for k in range(2)
        ]
    for position, run in enumerate(runs):
        assert torch.equal(run.result(), alone[position % 2])


def test_a_second_thread_waits_its_turn(pipe):
    inside, most = 0, 0
    lock = threading.Lock()

    class Watches(Extension, name="watches"):
        @hookimpl
        def step_begin(self):
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)

        @hookimpl
        def step_end(self):
            nonlocal inside
            with lock:
                inside -= 1

    alone = [pipe("a cat", seed=seed, **RUN).latents for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(pipe, "a cat", seed=seed, use=[Watches()], **RUN) for seed in range(4)]
    assert most == 1
    for run, expected in zip(runs, alone, strict=True):
        assert torch.equal(run.result().latents, expected)


def test_a_run_does_not_touch_the_pipelines_own_scheduler_or_a_given_one(pipe):
    from diffusers import DPMSolverMultistepScheduler

    given = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    config, state = dict(given.config), {key: str(value) for key, value in vars(given).items()}
    own = {key: str(value) for key, value in vars(pipe.scheduler).items()}
    pipe("a cat", seed=1, scheduler=given, **RUN)
    pipe("a cat", seed=1, **RUN)
    assert dict(given.config) == config
    assert {key: str(value) for key, value in vars(given).items()} == state
    assert {key: str(value) for key, value in vars(pipe.scheduler).items()} == own


def test_a_resource_is_made_once_and_freed(pipe):
    made = []
    for _ in range(2):
        pipe.resource("key", lambda: made.append(1) or "thing")
    assert made == [1]
    pipe.free()
    assert pipe.resource("key", lambda: "other") == "other"


def test_an_image_of_a_batch_has_the_noise_that_it_has_alone(pipe):
    seen = {}

    class Sees(Extension, name="sees"):
        @hookimpl
        def initial_latents(self, noise, run):
            seen[run.n] = noise

    pipe("a cat", seed=5, n=3, use=[Sees()], **RUN)
    pipe("a cat", seed=7, n=1, use=[Sees()], **RUN)
    assert torch.equal(seen[3][2:], seen[1])


def test_the_same_call_gives_the_same_bits(pipe):
    first, second = (pipe("a cat", seed=5, n=2, **RUN) for _ in range(2))
    assert torch.equal(first.latents, second.latents)
    assert first.recipe == second.recipe


def test_a_run_inside_a_run_is_refused(pipe):
    def on_step(progress):
        pipe("a dog", seed=1, **RUN)

    with pytest.raises(RequestError, match="in the middle of a run"):
        pipe("a cat", seed=1, on_step=on_step, **RUN)
    pipe("a cat", seed=1, **RUN)


def test_extensions_may_hand_something_back_beside_the_pictures(pipe):
    class Publishes(Extension, name="publishes"):
        @hookimpl
        def step_end(self, latents, run):
            run.publish(self, last=float(latents.std()))

    outputs = pipe("a cat", seed=1, use=[Publishes(), Publishes()], **RUN).outputs
    assert set(outputs) == {"publishes", "publishes#2"}
    assert outputs["publishes"]["last"] > 0


def test_an_encoder_may_build_on_the_pipelines_own(pipe):
    class Same(Extension, name="same"):
        @hookimpl
        def encode_prompt(self, prompts, run):
            return run.encode(prompts)

    plain = pipe("a cat", seed=1, **RUN).latents
    assert torch.equal(pipe("a cat", seed=1, use=Same(), **RUN).latents, plain)


def test_progress_tells_time_and_shows_a_preview(pipe):
    seen = []

    def on_step(progress):
        seen.append((progress.index, progress.seconds_left, progress.preview()[0].size))

    pipe("a cat", seed=1, on_step=on_step, **RUN)
    assert [(index, size) for index, _, size in seen] == [(k, (32, 32)) for k in range(3)]
    assert seen[0][1] > 0
    assert seen[-1][1] == 0
