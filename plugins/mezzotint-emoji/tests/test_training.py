from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from mezzotint_emoji.recipe.networks import make_scheduler
from mezzotint_emoji.recipe.parallel import Shares
from mezzotint_emoji.recipe.train_unet import VelocityLoss
from mezzotint_emoji.recipe.trainer import Batch, Schedule, Training, batch_at, train
from torch import nn

SCHEDULE = Schedule(steps=6, batch=4, learning_rate=1e-2, warmup=2)
WEIGHTS = np.ones(10, int)


def make_training(folder) -> Training:
    torch.manual_seed(0)
    return Training(nn.Linear(3, 3), SCHEDULE, folder)


def inputs_of(batch: Batch) -> tuple[torch.Tensor]:
    return (torch.randn(len(batch.indices), 3, generator=batch.generator) + float(batch.random.random()),)


def loss(network: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"loss": (network(x) - x).square().mean()}


def run(folder, until: int | None = None, threads: int = 2) -> Training:
    training = make_training(folder)
    train(training, inputs_of, loss, WEIGHTS, until=until, threads=threads)
    return training


def test_a_resumed_run_gives_the_same_bits(tmp_path):
    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", until=3)
    parts = run(tmp_path / "parts")
    assert parts.step == whole.step == 6
    for a, b in zip([*whole.parameters, *whole.average], [*parts.parameters, *parts.average], strict=True):
        assert torch.equal(a, b)


def test_an_interrupted_write_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    training = run(tmp_path, until=3)
    training.step = 5

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            training.save()
    assert make_training(tmp_path).step == 3


def test_each_epoch_holds_every_item_as_often_as_its_weight():
    weights = np.array([1, 2, 1, 2])
    seen = np.concatenate([batch_at(step, SCHEDULE, weights).indices for step in range(3)])
    assert np.bincount(seen).tolist() == [2, 4, 2, 4]


def test_learning_rate_rises_stays_and_falls():
    schedule = Schedule(steps=100, batch=4, learning_rate=1e-2, warmup=10)
    rates = [schedule.learning_rate_at(step) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert set(rates[10:60]) == {1e-2}
    assert rates[60:] == sorted(rates[60:], reverse=True)
    assert rates[-1] < 0.1 * rates[10]


def test_a_longer_schedule_begins_with_the_same_bits(tmp_path):
    short = Training(nn.Linear(3, 3), replace(SCHEDULE, steps=10), tmp_path / "short")
    assert [short.schedule.learning_rate_at(k) for k in range(6)] == [
        replace(SCHEDULE, steps=20).learning_rate_at(k) for k in range(6)
    ]


def test_the_bits_do_not_depend_on_the_number_of_threads(tmp_path):
    one, two = run(tmp_path / "one", threads=1), run(tmp_path / "two", threads=2)
    for a, b in zip(one.parameters, two.parameters, strict=True):
        assert torch.equal(a, b)


def test_shares_of_a_batch_give_the_gradients_of_the_whole(monkeypatch):
    monkeypatch.setattr("mezzotint_emoji.recipe.parallel.autocast", nullcontext)  # for exact numbers
    x = torch.randn(4, 3)
    gradients = []
    for count in (1, 2):
        torch.manual_seed(0)
        network = nn.Linear(3, 3)
        Shares(network, count=count).backward(loss, (x,))
        gradients.append(network.weight.grad)
    assert torch.allclose(*gradients, atol=1e-6)


def test_v_and_noise_are_those_of_the_scheduler():
    velocity, latents = VelocityLoss(), torch.randn(8, 32, 8, 8)
    noisy, timesteps, target = velocity.draw(latents, torch.Generator().manual_seed(0))
    scheduler = make_scheduler()
    # The noise is what is left of the noisy latents.
    alpha, sigma = (table[timesteps].view(-1, 1, 1, 1) for table in (velocity.alpha, velocity.sigma))
    noise = (noisy - alpha * latents) / sigma
    assert torch.allclose(noisy, scheduler.add_noise(latents, noise, timesteps), atol=1e-5)
    assert torch.allclose(target, scheduler.get_velocity(latents, noise, timesteps), atol=2e-3)


def test_averaged_weights_follow_and_lag(tmp_path):
    training = run(tmp_path)
    average, weights = training.average[0], training.parameters[0].detach()
    torch.manual_seed(0)
    first = nn.Linear(3, 3).weight
    assert not torch.equal(average, first)
    assert not torch.equal(average, weights)
    assert (average - weights).norm() < (first - weights).norm()


def test_a_run_that_is_at_its_end_says_so(tmp_path, capsys):
    run(tmp_path)
    capsys.readouterr()
    run(tmp_path, until=2)
    assert "is at step 6 of 2: nothing to do" in capsys.readouterr().out
