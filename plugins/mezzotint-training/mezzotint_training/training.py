"""The training loop that LoRA and ControlNet share."""

from __future__ import annotations

import itertools
import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from torch import Tensor

from .attention import AttentionOfFewPlaces
from .averaging import averaged
from .batches import Batch, Batches
from .chance import seed_torch
from .checkpoints import Checkpoints, read_state, write_state
from .data.order import Draw
from .encoding.caches import make_encoders
from .errors import CheckpointError, DataError, TrainingError
from .interrupts import stopping
from .locking import alone_in_process, locked
from .narrowing import TooLarge
from .noising import Objective
from .optimizers import make_optimizer, make_schedule, never_arrives, set_rates
from .outputs import NOT_FOR_TRAINING, check_not_begun, training_folder
from .preparing import TrainingData
from .processes import compiling_every_shape, make_accelerator
from .progress import Progress, showing
from .prompts import read_prompts
from .resuming import check_same
from .running_mean import RunningMean
from .trainee import Facts, Trainee
from .watching import Validation, draw_samples, evaluating

LOG_EVERY = 10


@dataclass(frozen=True)
class Trained:
    """What a training gave."""

    path: Path
    """The file or folder to use."""
    step: int
    finished: bool
    """False where it was interrupted; `resume` goes on."""
    losses: tuple[tuple[int, float], ...]
    """(step, mean loss since the last one), of this process's run."""
    validation: tuple[tuple[int, float], ...]
    """(step, loss on pictures held out)."""
    images_per_second: float


logger = logging.getLogger("mezzotint")


def train(
    trainee: Trainee,
    data: TrainingData,
    output: Path | str,
    *,
    folder: Path | str | None = None,
    resume: bool = False,
    quiet: bool = False,
    on_step: Callable[[int, float], None] | None = None,
) -> Trained:
    """Train to the last step, with checkpoints on the way. In a process one training runs at a time, in a folder too.

    Args:
        output: where `trainee.export` writes at the end.
        folder: of checkpoints, logs and samples; default: `NAME-training` beside the output.
        resume: go on from the last checkpoint, to the same bits as a training that was not interrupted.
        quiet: show nothing.
        on_step: called after each step with its number and its loss.

    Raises:
        TrainingError: a setting does not fit, the loss or a weight is no finite number any more, there is a training in
            `folder` already and `resume` is false, or another is running in `folder` or in this process.
        DataError: a picture cannot be read.
        CheckpointError: a checkpoint cannot be written or read, or belongs to another training.
    """
    output = Path(output)
    folder = Path(folder) if folder is not None else training_folder(output)
    with (
        alone_in_process(),
        torch.random.fork_rng(devices=[]),
        Training(trainee, data, output, folder) as training,
    ):
        training.begin(resume=resume)
        return training.run(quiet=quiet, on_step=on_step)


class Training:
    """One training: what it consists of, and where it is.

    Its state is the trained weights, their average, the optimizer, the learning-rate schedule and `step`. Everything
    else that a step needs, order, captions, noise, timesteps and dropout, is a function of the seed and the step.
    """

    def __init__(self, trainee: Trainee, data: TrainingData, output: Path, folder: Path) -> None:
        settings = data.settings
        self.trainee, self.data, self.settings, self.output = trainee, data, settings, output
        self.folder = folder
        self.accelerator = make_accelerator(
            trainee.pipe.device, settings.mixed_precision, compiles=settings.compile
        )
        self.objective = Objective.of(settings, trainee.pipe.scheduler, self.accelerator.device)
        self.checkpoints = Checkpoints(folder / "checkpoints", settings.keep)
        self.step = 0
        self.started = time.time()
        self.losses: list[tuple[int, float]] = []
        self.validation: list[tuple[int, float]] = []
        self._held = ExitStack()
        self._prompts = read_prompts(settings.sample_prompts) if settings.sample_prompts else []

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.close()

    @property
    def is_main(self) -> bool:
        """Whether this process writes files."""
        return self.accelerator.is_main_process

    @property
    def epoch(self) -> int:
        """How many times every picture has come."""
        return (
            self.step
            * self.settings.accumulate
            * self.accelerator.num_processes
            // self.order.batches_per_epoch
        )

    def begin(self, *, resume: bool) -> None:
        """Claim the folder, encode what is encoded once, make the optimizer, and read the last checkpoint to go on."""
        settings, trainee = self.settings, self.trainee
        self._claim_folder(resume)
        trainee.check(self.data.training)
        process, count = self.accelerator.process_index, self.accelerator.num_processes
        encoders = make_encoders(trainee, settings)
        training = encoders.fill(self.data.training, process, count, self.accelerator.wait_for_everyone)
        held_out = encoders.fill(self.data.held_out, process, count, self.accelerator.wait_for_everyone)
        if all(item.is_prior for item in training.items):
            raise DataError("no picture of what is to be learned can be used; see the warnings")
        if self.data.held_out.items and not held_out.items:
            logger.warning("no picture that was held out can be used, so nothing is validated")
        self.dataset, self._digest = training, training.digest(encoders.latents.digest_of)
        self.order = training.order(settings.batch_size, settings.seed)
        self.batches = Batches(training, encoders.latents, encoders.text, trainee, settings.prior_weight)
        self.last = settings.steps_of(self.order.batches_per_epoch, count)
        if never_arrives(settings, self.last) and self.is_main:
            logger.warning(
                "warmup_steps is %d and the training takes %d steps, so the learning rate never comes to what is set",
                settings.warmup_steps,
                self.last,
            )
        self._validate = None
        if len(held_out):
            watched = Batches(held_out, encoders.latents, encoders.text, trainee, settings.prior_weight)
            self._validate = Validation(watched, self.objective, settings.batch_size, settings.seed)

        self.parameters = [p for p in trainee.networks.parameters() if p.requires_grad]
        self.names = [name for name, p in trainee.networks.named_parameters() if p.requires_grad]
        self._optimizer = make_optimizer(settings, trainee.parameter_groups())
        self.schedule = make_schedule(settings, self._optimizer, self.last)
        self.ema = EMAModel(self.parameters, decay=settings.ema) if settings.ema else None
        checkpoint = self._last_checkpoint() if resume else None
        if checkpoint is not None:
            self._load(checkpoint)
        if self.is_main:
            self._write_settings()
        if resume and self.is_main:
            logger.info("%s", self._where_it_stands())
        if settings.compile:
            self._held.enter_context(compiling_every_shape())
            logger.info("compiling; the first step with each size of picture and of batch takes minutes")
        self.networks, self.optimizer = self.accelerator.prepare(trainee.networks, self._optimizer)
        if hasattr(self._optimizer, "train"):
            self._optimizer.train()
        self._writer = self._make_writer()

    def _where_it_stands(self) -> str:
        if self.step == 0:
            return f"{self.folder} has no checkpoint; it begins at step 0"
        if self.step > self.last:
            return f"{self.folder} is at step {self.step}, beyond the {self.last} that are asked for; it is finished as it is"
        if self.step == self.last:
            return f"{self.folder} is at step {self.step} of {self.last} already; more steps go on"
        return f"{self.folder} goes on at step {self.step} of {self.last}"

    def run(self, *, quiet: bool, on_step: Callable[[int, float], None] | None) -> Trained:
        """Take the steps that are left, then export."""
        began, first = time.perf_counter(), self.step
        pictures = self.settings.batch_size * self.settings.accumulate * self.accelerator.num_processes
        mean, since = RunningMean(), RunningMean()
        with (
            showing(first, self.last, pictures, quiet=quiet or not self.is_main) as progress,
            stopping() as stop,
        ):
            if first == 0:
                self._watch(progress)
            batches = self.batches.ahead(self._draws())
            with closing(batches):
                while self.step < self.last and not stop.is_set():
                    loss = self._take_step(batches)
                    mean.add(loss, keep=0.98)
                    since.add(loss)
                    if on_step is not None:
                        on_step(self.step, float(loss))
                    saves = self.step % self.settings.save_every == 0 and self.step < self.last
                    if self.step % LOG_EVERY == 0 or saves or self.step == self.last:
                        self._log(since)
                    progress.step(self.step, mean.fetch)
                    self._watch(progress)
                    if saves:
                        self.save()
        seconds = time.perf_counter() - began
        finished = self.step >= self.last
        self.save()
        if finished and self.is_main:
            with averaged(self.parameters, self.ema, self._optimizer):
                self.trainee.export(self.output, self.facts())
        self.accelerator.wait_for_everyone()
        return Trained(
            self.output,
            self.step,
            finished,
            tuple(self.losses),
            tuple(self.validation),
            (self.step - first) * pictures / max(seconds, 1e-9),
        )

    def facts(self) -> Facts:
        """What an exported file's metadata tells."""
        return Facts(
            self.settings, self.step, self.epoch, self.dataset, self.accelerator.num_processes, self.started
        )

    def save(self) -> None:
        """Write a checkpoint, with the exported file in it, if there is none of this step.

        Raises:
            CheckpointError: it cannot be written; earlier ones stay.
            TrainingError: a weight is no finite number, or does not fit the type of the exported file; in that case the
                checkpoint is written without that file.
        """
        self._check_weights()
        if self.is_main:
            too_large = self.checkpoints.save(self.step, self._write)
            if too_large is not None:
                raise TrainingError(
                    f"{too_large}; step {self.step} is saved, and resume with that goes on from it"
                )
        self.accelerator.wait_for_everyone()

    def _draws(self) -> Iterator[tuple[Draw, ...]]:
        """The batches of this process, from where the training is."""
        for step in itertools.count(self.step):
            for part in range(self.settings.accumulate):
                yield self.order.batch(self._number(step, part, self.accelerator.process_index))

    def _number(self, step: int, part: int, process: int) -> int:
        return (step * self.settings.accumulate + part) * self.accelerator.num_processes + process

    def _take_step(self, batches: Iterator[Batch]) -> Tensor:
        """One step of the optimizer; returns the mean loss of its samples, those of other processes as well."""
        settings, accelerator = self.settings, self.accelerator
        # The last batch of a bucket may be smaller: samples count the same, not batches.
        samples = sum(
            len(self.order.batch(self._number(self.step, part, process)))
            for part in range(settings.accumulate)
            for process in range(accelerator.num_processes)
        )
        total = torch.zeros((), device=accelerator.device)
        for part in range(settings.accumulate):
            seed_torch("step", settings.seed, self._number(self.step, part, accelerator.process_index))
            batch = next(batches)
            is_last = part == settings.accumulate - 1
            with nullcontext() if is_last else accelerator.no_sync(self.networks), AttentionOfFewPlaces():
                losses = self._losses(batch)
                # Gradients are averaged over processes.
                accelerator.backward(losses.sum() * accelerator.num_processes / samples)
            total = total + losses.detach().sum()
        if settings.max_grad_norm:
            accelerator.clip_grad_norm_(self.parameters, settings.max_grad_norm)
        self.optimizer.step()
        if not accelerator.optimizer_step_was_skipped:
            self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.step(self.parameters)
        self.step += 1
        mean: Tensor = accelerator.reduce(total, "sum") / samples
        return mean

    def _losses(self, batch: Batch) -> Tensor:
        noised = self.objective.noised(batch.latents, batch.keys)
        prediction = self.networks(noised.noisy, noised.timesteps, batch.text, batch.conditioning)
        return batch.weights * self.objective.losses(prediction, noised, batch.mask)

    def _log(self, since: RunningMean) -> None:
        loss = since.fetch()
        since.clear()
        if not math.isfinite(loss):
            raise self._diverged(f"the loss is {loss}")
        self._check_weights()
        self.losses.append((self.step, loss))
        if self._writer is not None:
            self._writer.add_scalar("loss", loss, self.step)
            for group in self._optimizer.param_groups:
                self._writer.add_scalar(f"learning rate/{group['name']}", group["lr"], self.step)

    def _check_weights(self) -> None:
        """Weights that are no numbers would take the place of good ones."""
        averages = [] if self.ema is None else self.ema.shadow_params
        finite = [weights.isfinite().all() for weights in (*self.parameters, *averages)]
        if not torch.stack(finite).all():
            raise self._diverged("a weight is not a finite number")

    def _diverged(self, what: str) -> TrainingError:
        good = [step for step in self.checkpoints.steps() if step < self.step]
        kept = (
            f"; the checkpoint of step {good[-1]} is good: {self.checkpoints.path(good[-1])}" if good else ""
        )
        return TrainingError(f"{what} at step {self.step}; lower the learning rate and begin again{kept}")

    def _watch(self, progress: Progress) -> None:
        """Measure and draw, if it is time. Only the first process does; the others wait at the next step."""
        settings = self.settings
        ends = self.step == self.last
        validates = self._validate is not None and (self.step % settings.validate_every == 0 or ends)
        samples = bool(self._prompts) and (self.step % settings.sample_every == 0 or ends)
        if not (validates or samples) or not self.is_main:
            return
        with averaged(self.parameters, self.ema, self._optimizer), evaluating(self.trainee.networks):
            if validates and self._validate is not None:
                loss = self._validate(self.trainee.networks)
                self.validation.append((self.step, loss))
                progress.say(f"step {self.step}: loss on pictures held out {loss:.4f}")
                if self._writer is not None:
                    self._writer.add_scalar("loss held out", loss, self.step)
            if samples:
                images = draw_samples(self.trainee, self._prompts, self.folder / "samples", self.step)
                progress.say(f"step {self.step}: samples in {self.folder / 'samples'}")
                if self._writer is not None:
                    for prompt, image in zip(self._prompts, images, strict=True):
                        self._writer.add_image(prompt.prompt, np.asarray(image), self.step, dataformats="HWC")

    def _write(self, folder: Path) -> TooLarge | None:
        """Fill a checkpoint's folder; returns why the exported file is not among it, as the state is good without."""
        write_state(
            folder,
            state=self._state(),
            weights=dict(zip(self.names, self.parameters, strict=True)),
            average=None if self.ema is None else dict(zip(self.names, self.ema.shadow_params, strict=True)),
            optimizer={
                "optimizer": self._optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
            },
        )
        try:
            with averaged(self.parameters, self.ema, self._optimizer):
                self.trainee.export(folder / self.output.name, self.facts())
        except TooLarge as error:
            return error
        return None

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "processes": self.accelerator.num_processes,
            "started": self.started,
            "average_step": None if self.ema is None else self.ema.optimization_step,
            "model": self.trainee.pipe.fingerprint,
            "data": self._digest,
            "settings": self.settings.model_dump(mode="json"),
        }

    def _load(self, folder: Path) -> None:
        state, weights, average, optimizer = read_state(folder)
        check_same(
            folder, state, self._state(), type(self.settings).model_construct().model_dump(mode="json")
        )
        if sorted(weights) != sorted(self.names):
            raise CheckpointError(f"{folder} holds other weights than this training has")
        with torch.no_grad():
            for name, parameter in zip(self.names, self.parameters, strict=True):
                parameter.copy_(weights[name])
        self._optimizer.load_state_dict(optimizer["optimizer"])
        self.schedule.load_state_dict(optimizer["schedule"])
        set_rates(self.schedule)
        if self.accelerator.scaler and optimizer["scaler"]:
            self.accelerator.scaler.load_state_dict(optimizer["scaler"])
        if self.ema is not None and average is not None:
            self.ema.shadow_params = [
                average[name].to(p.device) for name, p in zip(self.names, self.parameters, strict=True)
            ]
            self.ema.optimization_step = state["average_step"]
        self.step, self.started = state["step"], state["started"]

    def _last_checkpoint(self) -> Path | None:
        self.checkpoints.clear_parts()
        steps = self.checkpoints.steps()
        return self.checkpoints.path(steps[-1]) if steps else None

    def _claim_folder(self, resume: bool) -> None:
        if self.is_main:
            self._held.enter_context(locked(self.folder))
        if not resume:
            check_not_begun(self.folder)

    def _write_settings(self) -> None:
        try:
            (self.folder / NOT_FOR_TRAINING).touch()
            (self.folder / "settings.json").write_text(
                json.dumps(self.settings.model_dump(mode="json", exclude_unset=True), indent=2)
            )
        except OSError as error:
            raise TrainingError(f"{self.folder} cannot be written: {error.strerror}") from None

    def _make_writer(self) -> Any:
        if not (self.settings.tensorboard and self.is_main):
            return None
        from torch.utils.tensorboard import SummaryWriter

        # What a killed run logged after its last checkpoint comes again.
        writer = SummaryWriter(str(self.folder / "log"), purge_step=self.step or None)
        self._held.callback(writer.close)
        return writer
