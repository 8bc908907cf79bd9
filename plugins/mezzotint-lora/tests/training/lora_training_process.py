"""`mezzotint lora train` in processes of their own, as a launcher starts them, without importing torch in each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from collections.abc import Sequence

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["mezzotint_lora.training.command", "mezzotint_lora.training.trainee"])


def launch(
    arguments: Sequence[str], *, processes: int = 1, kill_at: int | None = None, seconds: float = 120
) -> list[int]:
    """Run the command in processes that train together; their exit codes, negative for a signal.

    Args:
        kill_at: the first process is killed while it writes the checkpoint of this step.
        seconds: after which those that are left are killed.
    """
    port = free_port()
    together = []
    for rank in range(processes):
        environment = {"OMP_NUM_THREADS": "1"}
        if processes > 1:
            # What torchrun and accelerate launch set.
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank)}
            environment |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
            environment |= {"LOCAL_WORLD_SIZE": str(processes)}
        process = SERVER.Process(
            target=_train, args=(list(arguments), environment, kill_at if rank == 0 else None)
        )
        process.start()
        together.append(process)
    for process in together:
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in together]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _train(arguments: list[str], environment: dict[str, str], kill_at: int | None) -> None:
    import torch
    from mezzotint_lora.training.command import command
    from mezzotint_training import training

    os.environ.update(environment)
    torch.set_num_threads(1)
    whole = training.write_state

    def write_half(folder, *, state, **more):
        # In the middle of writing a checkpoint, the worst moment there is.
        if state["step"] == kill_at:
            (folder / "weights.safetensors").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        whole(folder, state=state, **more)

    training.write_state = write_half
    command(arguments)
