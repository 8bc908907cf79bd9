"""The loop: what each option does, and that nothing is lost when it is interrupted."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bias_trainee import Biases, training_biases
from mezzotint.testing import fingerprint
from mezzotint_training import (
    CheckpointError,
    Checkpoints,
    DataError,
    TrainingError,
    TrainingSettings,
    prepare,
    train,
)
from mezzotint_training.locking import alone_in_process, locked
from mezzotint_training.training import Training
from safetensors.torch import load_file


@pytest.fixture
def run(pipe, pictures, tmp_path):
    """Trains biases; returns the trained weights."""
    folder = pictures((32, 32), (32, 32), (48, 32), (32, 32), (32, 48))

    def run(name="a", *, resume=False, data=folder, stop_after=None, **options):
        settings = TrainingSettings(
            **{"batch_size": 2, "learning_rate": 1e-2, "steps": 6, "tensorboard": False} | options
        )
        prepared = prepare(data, settings, pipe)
        with training_biases(pipe, prepared.settings) as trainee:
            run.result = train(
                trainee,
                prepared,
                tmp_path / f"{name}.safetensors",
                resume=resume,
                quiet=True,
                on_step=stop_after,
            )
        return load_file(run.result.path) if run.result.finished else None

    return run


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a)


class Killed(BaseException):
    """As kill -9: nothing of the training's own runs after it."""


def killer(step: int):
    def stop(done: int, loss: float) -> None:
        if done == step:
            raise Killed

    return stop


# What a step is.


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(run):
    first = run("a")
    assert equal(first, run("b"))
    assert not equal(first, run("c", seed=1))


def test_accumulated_batches_equal_one_large_batch(run, pictures):
    folder = pictures(*[(32, 32)] * 4, name="four")
    whole = run("a", data=folder, batch_size=4, steps=3, weight_decay=0)
    # All four come in every epoch, in whatever batches.
    parts = run("b", data=folder, batch_size=1, accumulate=4, steps=3, weight_decay=0)
    assert distance(whole, parts) < 1e-5


class OneLayer(Biases):
    """A network that is compiled in seconds."""

    def __init__(self, pipe, settings):
        super().__init__(pipe, settings)
        torch.manual_seed(0)
        self.networks = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3, padding=1), torch.nn.GroupNorm(4, 8))
        self.networks.append(torch.nn.Conv2d(8, 4, 3, padding=1))
        forward = self.networks.forward
        self.networks.forward = lambda noisy, timesteps, text, conditioning=None: forward(noisy)


def test_compiled_networks_learn_the_same_and_go_on_to_the_same_bits(pipe, pictures, tmp_path):
    """With two shapes, each compiled."""
    from torch._dynamo.utils import counters

    folder = pictures((32, 32), (32, 32), (48, 32))

    def learn(name, *, resume=False, stop_after=None, **options):
        settings = TrainingSettings(
            batch_size=2, steps=4, save_every=1, learning_rate=1e-2, tensorboard=False, **options
        )
        losses = []
        trainee = OneLayer(pipe, settings)
        path = tmp_path / f"{name}.safetensors"
        on_step = stop_after or (lambda step, loss: losses.append(loss))
        train(trainee, prepare(folder, settings, pipe), path, resume=resume, quiet=True, on_step=on_step)
        return load_file(path), losses

    _, losses = learn("a")
    torch._dynamo.reset()
    counters.clear()
    compiled, same = learn("b", compile=True)
    assert same == pytest.approx(losses, rel=1e-4)
    assert counters["stats"]["unique_graphs"] == 2
    with pytest.raises(Killed):
        learn("c", compile=True, stop_after=killer(1))
    torch._dynamo.reset()
    assert equal(compiled, learn("c", compile=True, resume=True)[0])


def test_torch_goes_on_compiling_whatever_the_number_of_shapes():
    from mezzotint_training.processes import compiling_every_shape
    from torch._dynamo.utils import counters

    def double(tensor):
        return tensor * 2

    torch._dynamo.reset()
    counters.clear()
    with compiling_every_shape():
        compiled = torch.compile(double, backend="eager", dynamic=False)
        for size in range(1, 31):
            compiled(torch.ones(size))
    assert counters["stats"]["unique_graphs"] == 30


def test_compile_says_what_it_needs(pipe, pictures, tmp_path):
    from torch._inductor import config

    settings = TrainingSettings(compile=True)
    prepared = prepare(pictures(), settings, pipe)
    with (
        training_biases(pipe, settings) as trainee,
        config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(TrainingError, match="needs a C.. compiler"),
    ):
        train(trainee, prepared, tmp_path / "a.safetensors", quiet=True)


def test_samples_of_a_smaller_last_batch_count_as_much_as_others(run, pictures):
    folder = pictures(*[(32, 32)] * 3, name="three")
    whole = run("a", data=folder, batch_size=3, steps=1, weight_decay=0, optimizer="schedule-free")
    parts = run(
        "b", data=folder, batch_size=2, accumulate=2, steps=1, weight_decay=0, optimizer="schedule-free"
    )
    assert distance(whole, parts) < 1e-5


def gradients(pipe, folder, tmp_path, **options) -> list[torch.Tensor]:
    """Of the first step, as the optimizer sees them."""
    settings = TrainingSettings(batch_size=4, steps=1, tensorboard=False, **options)
    prepared = prepare(folder, settings, pipe)
    seen: list[torch.Tensor] = []
    with (
        training_biases(pipe, settings) as trainee,
        Training(
            trainee, prepared, tmp_path / "g.safetensors", tmp_path / f"g{len(list(tmp_path.iterdir()))}"
        ) as training,
    ):
        training.begin(resume=False)
        real = training._optimizer.step

        def step(*arguments, **more):
            seen.extend(p.grad.clone() for p in training.parameters)
            return real(*arguments, **more)

        training._optimizer.step = step
        training.run(quiet=True, on_step=None)
    return seen


def norm(tensors: list[torch.Tensor]) -> float:
    return float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(t) for t in tensors])))


def test_clipping_clips(pipe, pictures, tmp_path):
    """diffusers' script handed an iterator that was used up to `clip_grad_norm_`, which then clips nothing."""
    folder = pictures(*[(32, 32)] * 4)
    free = gradients(pipe, folder, tmp_path, max_grad_norm=0)
    clipped = gradients(pipe, folder, tmp_path, max_grad_norm=0.01)
    assert norm(free) > 0.02
    assert norm(clipped) == pytest.approx(0.01, rel=1e-3)
    for a, b in zip(free, clipped, strict=True):
        assert torch.allclose(a * 0.01 / norm(free), b, atol=1e-7)
    # The mechanism of the defect, for whoever wonders.
    parameters = filter(lambda p: True, [torch.nn.Parameter(torch.ones(3))])
    torch.optim.SGD(parameters, lr=1.0)
    assert torch.nn.utils.clip_grad_norm_(parameters, 0.01) == 0


def test_pictures_of_the_class_count_with_their_weight(pipe, pictures, tmp_path):
    subject = pictures((32, 32), name="subject")
    prior = pictures((32, 32), name="prior")
    (prior / "0.png").write_bytes((pictures((32, 32), (32, 32), name="other") / "1.png").read_bytes())

    def of(weight):
        options = {"prior_data": prior, "prior_weight": weight, "max_grad_norm": 0}
        return gradients(pipe, subject, tmp_path, **options)

    none, half, whole = of(0.0), of(0.5), of(1.0)
    for a, b, c in zip(none, half, whole, strict=True):
        # The gradient is linear in the weight.
        assert torch.allclose(b, (a + c) / 2, atol=1e-6)
    assert norm([c - a for a, c in zip(none, whole, strict=True)]) > 1e-4


def test_masks_change_what_is_learned(run, pictures):
    from PIL import Image

    folder = pictures(*[(32, 32)] * 2, name="masked")
    plain = run("a", data=folder)
    for name in "01":
        mask = Image.new("L", (32, 32))
        mask.paste(255, (0, 0, 16, 32))
        mask.save(folder / f"{name}.mask.png")
    masked = run("b", data=folder, masks=True)
    assert distance(plain, masked) > 1e-4
    assert equal(plain, run("c", data=folder, masks=False))
    for name in "01":
        Image.new("L", (32, 32), 255).save(folder / f"{name}.mask.png")
    assert distance(plain, run("d", data=folder, masks=True)) < 1e-5


def test_an_average_is_what_is_saved_and_follows_its_closed_form(pipe, run, tmp_path):
    trained: list[dict[str, torch.Tensor]] = []

    def remember(step: int, loss: float) -> None:
        trained.append(
            {f"unet.{n}": p.detach().clone() for n, p in pipe.unet.named_parameters() if p.requires_grad}
        )

    start = {f"unet.{n}": p.detach().clone() for n, p in pipe.unet.named_parameters()}
    averaged = run("a", ema=0.5, steps=4, stop_after=remember)
    for name, value in averaged.items():
        mean = start[name]
        for step, weights in enumerate(trained):
            # diffusers' warm-up: min(decay, (1 + k) / (10 + k)), none at the first step.
            decay = min(0.5, (1 + step) / (10 + step)) if step else 0.0
            mean = decay * mean + (1 - decay) * weights[name]
        assert torch.allclose(value, mean, atol=1e-6)
    assert distance(averaged, trained[-1]) > 1e-4


@pytest.fixture(scope="module")
def plain() -> dict[str, torch.Tensor]:
    """What is trained without any option, filled by whoever needs it first."""
    return {}


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "prodigy", "learning_rate": 1.0},
        {"optimizer": "schedule-free"},
        {"schedule": "cosine", "warmup_steps": 2},
        {"weight_decay": 10.0},
        {"min_snr_gamma": 0.05},
        {"noise_offset": 0.3},
        {"input_perturbation": 0.5},
        {"zero_terminal_snr": True, "prediction_type": "v_prediction"},
        {"prediction_type": "sample"},
        {"caption_dropout": 1.0},
        {"shuffle_captions": True},
        {"tag_dropout": 0.9},
        {"flip": True},
        {"timestep_range": (0.5, 1.0)},
        {"timestep_sampling": "logit-normal"},
        {"clip_skip": 1},
        {"resolution": (48, 48)},
        {"buckets": False},
        {"background": (0, 0, 0)},
    ],
    ids=str,
)
def test_each_option_changes_the_result(options, run, pictures, plain):
    from PIL import Image

    folder = pictures((32, 32), (48, 32), name="some")
    Image.new("RGBA", (32, 32), (200, 0, 0, 100)).save(folder / "0.png")
    if not plain:
        plain.update(run("a", data=folder, steps=3))
    assert not equal(plain, run("b", data=folder, steps=3, **options))


@pytest.mark.parametrize("name", ["linear", "cosine", "cosine_with_restarts", "polynomial"])
def test_the_learning_rate_warms_up_and_falls(name, run, pipe, pictures, tmp_path):
    folder = pictures((32, 32), name="one")
    settings = TrainingSettings(steps=8, warmup_steps=2, schedule=name, learning_rate=1.0, tensorboard=False)
    rates = []
    with (
        training_biases(pipe, settings) as trainee,
        Training(trainee, prepare(folder, settings, pipe), tmp_path / "x", tmp_path / "f") as training,
    ):
        training.begin(resume=False)
        training.run(
            quiet=True, on_step=lambda step, loss: rates.append(training._optimizer.param_groups[0]["lr"])
        )
    assert rates[0] == 0.5
    assert rates[1] == 1.0
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] < 0.01


# What is seen meanwhile.


def test_a_warmup_that_never_ends_is_told(run, caplog):
    run("a", steps=2, warmup_steps=1)
    assert "warmup" not in caplog.text
    run("b", steps=2, warmup_steps=2)
    assert "warmup_steps is 2 and the training takes 2 steps" in caplog.text


def test_schedule_free_arrives_with_the_last_step_of_its_warmup(run, caplog):
    run("a", steps=2, warmup_steps=2, optimizer="schedule-free")
    assert "warmup" not in caplog.text


def test_more_steps_have_the_rates_of_the_longer_schedule_at_once(run, tmp_path):
    run("a", steps=2, schedule="linear")
    run("a", steps=4, schedule="linear", save_every=1, keep=9, resume=True)
    folder = tmp_path / "a-training" / "checkpoints"
    second, third = (load_file(folder / f"step-00000{step}" / "weights.safetensors") for step in (2, 3))
    # Half of the rate, where two steps alone had come to 0.
    assert distance(second, third) == pytest.approx(5e-3, rel=0.1)


def test_half_precision_of_a_gpu_is_refused_on_a_cpu(run):
    with pytest.raises(TrainingError, match="fp16 needs a GPU"):
        run("a", steps=1, mixed_precision="fp16")


@pytest.mark.parametrize("cache", ["memory", "disk", "off"])
def test_pictures_of_the_class_alone_are_not_trained_on(cache, run, pictures, tmp_path):
    broken, of_class = pictures((32, 32), name="broken"), pictures((32, 32), name="class")
    content = (broken / "0.png").read_bytes()
    (broken / "0.png").write_bytes(content[: len(content) // 2])
    options = {"cache_folder": tmp_path / "kept"} if cache == "disk" else {}
    with pytest.raises(DataError, match="no picture of what is to be learned can be used"):
        run("a", data=broken, prior_data=of_class, bad_images="skip", cache=cache, **options)


def test_zero_terminal_snr_is_refused_for_a_model_that_predicts_noise(run):
    with pytest.raises(TrainingError, match="use v_prediction"):
        run("a", steps=1, zero_terminal_snr=True)


def test_timesteps_that_would_all_count_nothing_are_refused(run):
    options = {"zero_terminal_snr": True, "prediction_type": "v_prediction", "timestep_range": (0.999, 1)}
    with pytest.raises(TrainingError, match="so that min_snr_gamma gives them no weight"):
        run("a", steps=1, min_snr_gamma=5, **options)
    run("b", steps=1, **options)


def without_spread(vae) -> None:
    """A random VAE says that a picture may be anything, so there would be nothing to learn."""
    half = vae.config.latent_channels
    with torch.no_grad():
        vae.quant_conv.weight[half:] = 0
        vae.quant_conv.bias[half:] = -20


def test_the_loss_on_one_picture_falls(run, pipe, pictures):
    without_spread(pipe.vae)
    folder = pictures((32, 32), name="one")
    run("a", data=folder, steps=30, learning_rate=6e-2, prediction_type="sample")
    losses = [loss for _, loss in run.result.losses]
    assert losses[-1] < 0.6 * losses[0]


def test_the_loss_on_pictures_held_out_depends_on_the_weights_alone(run, pictures):
    folder = pictures(*[(32, 32)] * 5, name="five")
    run("a", data=folder, validation=0.4, validate_every=2, steps=4)
    first = run.result.validation
    assert [step for step, _ in first] == [0, 2, 4]
    run("b", data=folder, validation=0.4, validate_every=2, steps=4)
    assert run.result.validation == first
    # The noise is fixed: with weights that stay, so does the loss.
    run("c", data=folder, validation=0.4, validate_every=2, steps=4, learning_rate=1e-12, weight_decay=0)
    losses = [loss for _, loss in run.result.validation]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


def test_nothing_is_dropped_out_while_watching_and_modules_keep_their_modes(run, pipe, pictures, monkeypatch):
    dropout = next(module for module in pipe.unet.modules() if isinstance(module, torch.nn.Dropout))
    monkeypatch.setattr(dropout, "p", 0.9)
    monkeypatch.setattr(dropout, "training", True)
    before = [module.training for module in pipe.unet.modules()]
    seen = []
    run(
        data=pictures(*[(32, 32)] * 3, name="three"),
        validation=0.4,
        validate_every=1,
        steps=2,
        learning_rate=1e-12,
        weight_decay=0,
        stop_after=lambda step, loss: seen.append([module.training for module in pipe.unet.modules()]),
    )
    losses = [loss for _, loss in run.result.validation]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    assert seen == [before, before]


@pytest.mark.parametrize("options", [{}, {"ema": 0.5}, {"optimizer": "schedule-free"}], ids=str)
def test_watching_does_not_change_what_is_learned(options, run, pictures, tmp_path):
    folder = pictures(*[(32, 32)] * 5, name="five")
    (tmp_path / "prompts.txt").write_text("# comment\na cat --d 3 --s 1\n\na dog --s 1 --n ugly\n")
    options = {"data": folder, "validation": 0.2, **options}
    plain = run("a", validate_every=100, **options)
    watched = run("b", validate_every=1, sample_every=2, sample_prompts=tmp_path / "prompts.txt", **options)
    assert equal(plain, watched)
    drawn = sorted(path.name for path in (tmp_path / "b-training" / "samples").iterdir())
    assert drawn == [f"step-{step:06d}-{k}.png" for step in (0, 2, 4, 6) for k in (0, 1)]


def test_the_callers_random_numbers_go_on_as_if_nothing_had_been_trained(run):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run("a", steps=2)
    assert torch.equal(torch.rand(3), expected)


def test_tensorboard_has_the_loss(run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run("a", steps=20, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "a-training" / "log"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [10, 20]
    assert events.Scalars("learning rate/unet")[0].value == pytest.approx(1e-2)


# What is kept.

EVERYTHING = {
    "save_every": 2,
    "ema": 0.9,
    "accumulate": 2,
    "schedule": "cosine",
    "warmup_steps": 2,
    "caption_dropout": 0.2,
    "shuffle_captions": True,
    "noise_offset": 0.1,
    "flip": True,
}


@pytest.mark.parametrize(
    "options",
    [EVERYTHING, {"save_every": 2, "optimizer": "prodigy"}, {"save_every": 2, "optimizer": "schedule-free"}],
    ids=["adamw with everything", "prodigy", "schedule-free"],
)
def test_a_training_that_is_killed_goes_on_to_the_same_bits(options, run, tmp_path):
    """In the middle of an epoch, which diffusers' script would begin again."""
    whole = run("a", steps=7, **options)
    with pytest.raises(Killed):
        run("b", steps=7, stop_after=killer(5), **options)
    assert not (tmp_path / "b.safetensors").exists()
    seen = []
    resumed = run("b", steps=7, resume=True, stop_after=lambda step, loss: seen.append(step), **options)
    assert seen == [5, 6, 7]
    assert equal(whole, resumed)


def test_resuming_a_finished_training_changes_nothing(run, tmp_path):
    first = run("a", steps=3, keep=1)
    state = tmp_path / "a-training" / "checkpoints" / "step-000003" / "state.json"
    before = state.stat().st_mtime_ns
    assert equal(first, run("a", steps=3, keep=1, resume=True))
    assert state.stat().st_mtime_ns == before


def test_a_training_that_is_past_the_steps_asked_for_is_finished(run, caplog):
    first = run("a", steps=2)
    with caplog.at_level("INFO", "mezzotint"):
        again = run("a", steps=1, resume=True)
    assert (run.result.step, run.result.finished) == (2, True)
    assert equal(first, again)
    assert "is at step 2, beyond the 1 that are asked for" in caplog.text


def test_samples_inside_the_folder_of_the_data_are_not_trained_on(run, tmp_path):
    (tmp_path / "prompts.txt").write_text("a cat --s 1")
    options = {"sample_prompts": tmp_path / "prompts.txt", "sample_every": 1}
    run("pictures/a", steps=1, **options)
    assert (tmp_path / "pictures" / "a-training" / "samples" / "step-000001-0.png").exists()
    run("pictures/a", steps=2, resume=True, **options)
    assert run.result.step == 2


def test_a_finished_training_can_be_lengthened(run):
    run("a", steps=3)
    assert equal(run("a", steps=6, resume=True), run("b", steps=6))


def test_resume_without_a_checkpoint_begins(run, caplog):
    with caplog.at_level("INFO", "mezzotint"):
        assert equal(run("a", resume=True), run("b"))
    assert "has no checkpoint; it begins at step 0" in caplog.text


def test_a_training_does_not_begin_over_another(run):
    run("a", steps=2)
    with pytest.raises(TrainingError, match=r"holds a training that came to step 2; go on with it"):
        run("a", steps=2)


def test_a_training_holds_its_folder_and_its_process_until_it_ends(run, tmp_path):
    folder = tmp_path / "a-training"
    refused = []

    def another(step: int, loss: float) -> None:
        for claim in (locked(folder), alone_in_process()):
            with pytest.raises(TrainingError, match="another training") as caught, claim:
                pass
            refused.append(str(caught.value))

    run("a", steps=1, stop_after=another)
    assert f"is writing into {folder}; let it end, or name another output" in refused[0]
    assert "runs in this process" in refused[1]
    with locked(folder), alone_in_process():
        pass


def test_resuming_with_other_pixels_in_files_of_the_same_size_is_refused(run, tmp_path):
    from PIL import Image

    folder = tmp_path / "bitmaps"
    folder.mkdir()
    Image.new("RGB", (32, 32), "red").save(folder / "a.bmp")
    run("a", data=folder, steps=1, caption="a square")
    Image.new("RGB", (32, 32), "blue").save(folder / "a.bmp")
    with pytest.raises(CheckpointError, match="the pictures or captions changed"):
        run("a", data=folder, steps=2, caption="a square", resume=True)


def test_resuming_with_other_settings_or_pictures_is_refused(run, pictures, tmp_path):
    run("a", steps=2)
    said = (tmp_path / "a-training" / "settings.json").read_text()
    with pytest.raises(CheckpointError, match="was trained with compile=False, not True"):
        run("a", steps=4, compile=True, resume=True)
    with pytest.raises(CheckpointError, match="was trained with batch_size=2, not 1"):
        run("a", steps=4, batch_size=1, resume=True)
    with pytest.raises(CheckpointError, match="the pictures or captions changed"):
        run("a", steps=4, resume=True, data=pictures((32, 32), name="others"))
    assert (tmp_path / "a-training" / "settings.json").read_text() == said


def test_as_many_checkpoints_stay_as_are_asked_for(run, tmp_path):
    run("a", steps=7, save_every=1, keep=3)
    assert Checkpoints(tmp_path / "a-training" / "checkpoints", 3).steps() == [5, 6, 7]


def test_what_a_killed_process_left_half_written_is_no_checkpoint_and_goes(run, tmp_path):
    with pytest.raises(Killed):
        run("a", steps=6, save_every=2, stop_after=killer(5))
    part = tmp_path / "a-training" / "checkpoints" / ".step-000006.part"
    part.mkdir()
    (part / "weights.safetensors").write_bytes(b"half")
    assert equal(run("a", steps=6, save_every=2, resume=True), run("b", steps=6, save_every=2))
    assert not part.exists()


def test_settings_that_a_checkpoint_does_not_know_yet_had_their_defaults(run, tmp_path):
    whole = run("a", steps=4)
    run("b", steps=2)
    state = tmp_path / "b-training" / "checkpoints" / "step-000002" / "state.json"
    said = json.loads(state.read_text())
    del said["settings"]["compile"]
    state.write_text(json.dumps(said))
    assert equal(whole, run("b", steps=4, resume=True))


def marked(text: str):
    return lambda folder: (folder / "mark").write_text(text)


def test_a_checkpoint_is_never_taken_away_to_be_written_again(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(2, marked("first"))

    def die(*arguments):
        raise Killed

    monkeypatch.setattr("os.replace", die)
    checkpoints.save(2, marked("second"))
    assert (checkpoints.path(2) / "mark").read_text() == "first"


def test_a_checkpoint_that_is_half_removed_is_none(tmp_path, monkeypatch):
    import shutil

    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(2, marked("old"))

    def die(path, **options):
        raise Killed

    monkeypatch.setattr(shutil, "rmtree", die)
    with pytest.raises(Killed):
        checkpoints.save(4, marked("new"))
    monkeypatch.undo()
    assert checkpoints.steps() == [4]
    checkpoints.clear_parts()
    assert [path.name for path in tmp_path.iterdir()] == ["step-000004"]


@pytest.mark.parametrize("fails", ["write_text", "save_file", "torch.save", "os.replace", "os.fsync"])
def test_a_full_disk_loses_nothing(fails, run, tmp_path, monkeypatch):
    import os

    from mezzotint_training import checkpoints

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    def fill(step: int, loss: float) -> None:
        if step == 3:
            targets = {
                "write_text": (Path, "write_text"),
                "save_file": (checkpoints, "save_file"),
                "torch.save": (torch, "save"),
                "os.replace": (os, "replace"),
                "os.fsync": (os, "fsync"),
            }
            monkeypatch.setattr(*targets[fails], full)

    with pytest.raises(
        CheckpointError,
        match=r"step-000004 cannot be written: No space left on device; the checkpoint of step 2 is whole",
    ):
        run("a", steps=6, save_every=2, stop_after=fill)
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "a-training" / "checkpoints").iterdir()] == ["step-000002"]
    assert equal(run("a", steps=6, save_every=2, resume=True), run("b", steps=6, save_every=2))


def test_a_checkpoint_without_a_file_is_refused_by_name(run, tmp_path):
    run("a", steps=2)
    folder = tmp_path / "a-training" / "checkpoints" / "step-000002"
    (folder / "optimizer.pt").write_bytes(b"\x80")
    with pytest.raises(CheckpointError, match="step-000002 is no whole checkpoint"):
        run("a", steps=4, resume=True)


def test_a_checkpoint_that_is_a_program_is_not_run(run, tmp_path):
    import pickle

    class Program:
        def __reduce__(self):
            return Path.touch, (tmp_path / "was run",)

    run("a", steps=2)
    (tmp_path / "a-training" / "checkpoints" / "step-000002" / "optimizer.pt").write_bytes(
        pickle.dumps(Program())
    )
    with pytest.raises(CheckpointError):
        run("a", steps=4, resume=True)
    assert not (tmp_path / "was run").exists()


def test_a_checkpoint_holds_the_file_to_use_and_the_settings(run, tmp_path):
    run("a", steps=2)
    folder = tmp_path / "a-training"
    assert equal(
        load_file(folder / "checkpoints" / "step-000002" / "a.safetensors"),
        load_file(tmp_path / "a.safetensors"),
    )
    assert json.loads((folder / "settings.json").read_text())["learning_rate"] == 1e-2


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_the_checkpoint(run, pipe, tmp_path):
    def ruin(step: int, loss: float) -> None:
        if step == 5:
            with torch.no_grad():
                next(p for p in pipe.unet.parameters() if p.requires_grad).fill_(float("nan"))

    with pytest.raises(
        TrainingError,
        match=r"the loss is nan at step 8; lower the learning rate .* step 4 is good: .*step-000004",
    ):
        run("a", steps=12, save_every=4, stop_after=ruin)


def test_weights_that_are_no_numbers_are_not_saved(run, pipe, tmp_path):
    with pytest.raises(
        TrainingError, match="a weight is not a finite number at step 1; lower the learning rate and begin"
    ):
        run("a", steps=1, learning_rate=1e38, save_every=1)
    assert not (tmp_path / "a.safetensors").exists()
    assert not Checkpoints(tmp_path / "a-training" / "checkpoints", 1).steps()


def test_after_weights_that_are_no_numbers_the_checkpoint_that_is_good_is_named(run, pipe, tmp_path):
    import os
    import signal

    def ruin(step: int, loss: float) -> None:
        if step == 3:
            with torch.no_grad():
                next(p for p in pipe.unet.parameters() if p.requires_grad).fill_(float("inf"))
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingError, match="not a finite number at step 3; .* checkpoint of step 2 is good"):
        run("a", steps=4, save_every=2, stop_after=ruin)
    assert Checkpoints(tmp_path / "a-training" / "checkpoints", 2).steps() == [2]


def test_ctrl_c_saves_and_resume_goes_on(run, caplog):
    import os
    import signal

    whole = run("a", steps=6)

    def interrupt(step: int, loss: float) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with caplog.at_level("INFO", "mezzotint"):
        assert run("b", steps=6, stop_after=interrupt) is None
    assert "stops after this step, which is saved; a second time stops at once" in caplog.text
    assert (run.result.step, run.result.finished) == (3, False)
    assert equal(whole, run("b", steps=6, resume=True))


def test_the_model_is_as_it_was(run, pipe):
    before = fingerprint(pipe)
    run("a", steps=2)
    with pytest.raises(Killed):
        run("b", steps=4, stop_after=killer(1))
    assert not before.diff(fingerprint(pipe))


# Settings.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stepz": 3}, "no option 'stepz'; did you mean steps"),
        ({"steps": 0}, "option 'steps': input should be greater than or equal to 1, got 0"),
        ({"optimizer": "sgd"}, "option 'optimizer': input should be 'adamw'"),
        ({"optimizer": "schedule-free", "schedule": "cosine"}, "leave schedule=constant"),
        ({"optimizer": "schedule-free", "ema": 0.9}, "leave out ema"),
        ({"timestep_range": (0.5, 0.5)}, "two rising numbers"),
        ({"zero_terminal_snr": True, "prediction_type": "epsilon"}, "use v_prediction"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_sentence(options, said):
    with pytest.raises(TrainingError, match=said) as caught:
        TrainingSettings(**options)
    assert "\n" not in str(caught.value)


def test_prodigy_refuses_two_learning_rates():
    from mezzotint_training import ParameterGroup, make_optimizer

    groups = [
        ParameterGroup(name, (torch.nn.Parameter(torch.ones(1)),), rate)
        for name, rate in (("a", 1.0), ("b", 0.5))
    ]
    with pytest.raises(TrainingError, match="prodigy finds one learning rate"):
        make_optimizer(TrainingSettings(optimizer="prodigy"), groups)


def test_8_bit_says_what_it_needs(monkeypatch):
    import sys

    from mezzotint_training import ParameterGroup, make_optimizer

    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    group = ParameterGroup("a", (torch.nn.Parameter(torch.ones(1)),), 1.0)
    with pytest.raises(TrainingError, match="adamw-8bit needs bitsandbytes: pip install"):
        make_optimizer(TrainingSettings(optimizer="adamw-8bit"), [group])


def test_sizes_that_the_model_cannot_take_are_refused(pipe, pictures):
    folder = pictures((32, 32))
    with pytest.raises(TrainingError, match="width is 33; this model needs multiples of 4"):
        prepare(folder, TrainingSettings(buckets=False, resolution=(33, 32)), pipe)
    with pytest.raises(TrainingError, match="bucket_step is 10; this model needs multiples of 4"):
        prepare(folder, TrainingSettings(bucket_step=10), pipe)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a --x 1", "line 1: no option --x"),
        ("a --w big", "line 1: --w 'big' is no number"),
        ("# a", "has no prompts in it"),
    ],
)
def test_a_malformed_prompt_file_is_explained(line, said, tmp_path):
    from mezzotint_training.prompts import read_prompts

    (tmp_path / "p.txt").write_text(line)
    with pytest.raises(DataError, match=said):
        read_prompts(tmp_path / "p.txt")


def test_a_size_may_be_written_as_people_write_it():
    assert TrainingSettings(resolution="512x768").resolution == (512, 768)
    assert TrainingSettings(resolution=512).resolution == (512, 512)


def test_a_view_is_mirrored_half_of_the_times(pipe, pictures):
    data = prepare(pictures((32, 32)), TrainingSettings(flip=True), pipe).training
    order = data.order(1)
    mirrored = [data.view(order.batch(number)[0]).mirrored for number in range(200)]
    assert 70 < sum(mirrored) < 130
    assert replace(data.view(order.batch(0)[0]), mirrored=False).mirrored is False


def test_a_skipped_picture_is_said_once(run, pictures, caplog):
    folder = pictures(*[(32, 32)] * 3, name="bad")
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:100])
    with caplog.at_level(logging.WARNING, "mezzotint"):
        run("a", data=folder, bad_images="skip", flip=True, steps=2)
    assert caplog.text.count("1.png is broken") == 1
