"""The training loop that the VAE and the U-Net share: resumable, averaged, logged.

All chance of step k is drawn from a generator seeded with (seed, k), and the order of the data from
(seed, epoch). The weights, the optimizer and k are therefore the whole state, and a run that is killed and
started again gives the same bits as one that was not.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from .checkpoint import load_checkpoint, put_weights, save_checkpoint, state_file
from .parallel import Loss, Shares

FALL = 0.4


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; `ema` is the decay per step of the averaged weights."""

    steps: int
    batch: int
    learning_rate: float
    warmup: int = 200
    ema: float = 0.999
    weight_decay: float = 0.01
    seed: int = 0
    save_every_s: float = 180.0

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, constant, and a fall to 2 % over the last two fifths of the steps.

        Until that fall, the bits do not depend on how many steps there will be: a run can be made longer, or be
        brought to an end, at any time (Hägele et al. 2024).
        """
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        left = (self.steps - step) / (FALL * self.steps)
        return self.learning_rate * (0.02 + 0.98 * min(1.0, left))


@dataclass(frozen=True)
class Batch:
    """What step `step` sees: `indices` (batch,) into the data, and generators for all else that is random."""

    step: int
    indices: np.ndarray
    generator: torch.Generator
    random: np.random.Generator


def batch_at(step: int, schedule: Schedule, weights: np.ndarray) -> Batch:
    """The batch of one step. Item i comes `weights[i]` times an epoch; each epoch is shuffled anew."""
    items = np.repeat(np.arange(len(weights)), weights)
    first = step * schedule.batch
    indices: list[np.ndarray] = []
    while (missing := schedule.batch - sum(map(len, indices))) > 0:
        epoch, offset = divmod(first + schedule.batch - missing, len(items))
        order = np.random.default_rng([schedule.seed, 0, epoch]).permutation(items)
        indices.append(order[offset : offset + missing])
    generator = torch.Generator().manual_seed(schedule.seed * 1_000_003 + step)
    return Batch(step, np.concatenate(indices), generator, np.random.default_rng([schedule.seed, 1, step]))


class Training:
    """A network with its optimizer, its averaged copy and the number of steps done."""

    def __init__(self, network: nn.Module, schedule: Schedule, folder: Path) -> None:
        self.network, self.schedule, self.folder = network, schedule, folder
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=0.0, betas=(0.9, 0.99), weight_decay=schedule.weight_decay, fused=True
        )
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        if state := load_checkpoint(state_file(folder)):
            network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            put_weights(self.average, state["average"])
            self.step = state["step"]

    def save(self) -> None:
        """Write the whole state, atomically."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "step": self.step,
        }
        save_checkpoint(state_file(self.folder), state)

    def use_average(self) -> None:
        """Put the averaged weights into the network."""
        put_weights(self.parameters, self.average)

    def advance(self) -> None:
        """One step of the optimizer, with the gradients that are there, and of the average."""
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate_at(self.step)
        self.optimizer.step()
        decay = min(self.schedule.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        self.step += 1


def train(
    training: Training,
    inputs_of: Callable[[Batch], tuple[Tensor, ...]],
    loss: Loss,
    weights: np.ndarray,
    after_save: Callable[[int], None] | None = None,
    until: int | None = None,
    threads: int = 1,
) -> None:
    """Train to the last step of the schedule (or `until`), saving every few minutes and at the end.

    `loss(network, *inputs)` gives named scalars; the one called "loss" is minimised. The bits do not depend on
    `threads`.
    """
    schedule = training.schedule
    last = min(schedule.steps, until or schedule.steps)
    if training.step >= last:
        print(f"{training.folder} is at step {training.step} of {last}: nothing to do", flush=True)
        return
    shares = Shares(training.network, threads)
    writer = SummaryWriter(training.folder / "log", purge_step=training.step)
    bar = tqdm(total=last, initial=training.step, unit="step", disable=None)  # only on a terminal
    saved = time.monotonic()
    prepared = _ahead(lambda step: inputs_of(batch_at(step, schedule, weights)), range(training.step, last))
    for (speed, seconds_left), inputs in zip(_pace(training.step, last), prepared, strict=True):
        scalars = shares.backward(loss, inputs)
        training.advance()
        bar.update()
        if training.step % 20 == 0 or training.step == last:
            values = {name: value.item() for name, value in scalars.items()}
            for name, value in values.items():
                writer.add_scalar(name, value, training.step)
            bar.set_postfix({name: f"{value:.4f}" for name, value in values.items()})
            if bar.disable:
                shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
                print(
                    f"step {training.step}/{last}  {shown}  {speed * schedule.batch:.1f} images/s  "
                    f"{seconds_left / 60:.1f} min left",
                    flush=True,
                )
        if time.monotonic() - saved > schedule.save_every_s or training.step == last:
            training.save()
            if after_save:
                after_save(training.step)
            saved = time.monotonic()
    bar.close()
    writer.close()


def _ahead(prepare: Callable[[int], tuple[Tensor, ...]], steps: range) -> Iterator[tuple[Tensor, ...]]:
    """`prepare(step)` for each of `steps`, the next one made in a thread meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        coming = [pool.submit(prepare, step) for step in steps[:1]]
        for step in steps:
            inputs = coming.pop().result()
            if step + 1 in steps:
                coming.append(pool.submit(prepare, step + 1))
            yield inputs


def _pace(step: int, last: int) -> Iterator[tuple[float, float]]:
    """Count steps; give steps a second, averaged over about 50, and seconds left."""
    mean, begin, first = 0.0, time.monotonic(), step
    while step < last:
        yield (1 / mean if mean else 0.0), mean * (last - step)
        step, now = step + 1, time.monotonic()
        if step <= first + 2:  # the first steps compile
            mean = now - begin
        mean += 0.02 * (now - begin - mean)
        begin = now
