"""Processes that read ahead, and what becomes of them: signals, deaths, the end of the run.

for value in read_ahead(reader, keys, workers=2, generator=generator):      # reader[key], in the order of the keys
    ...
"""

from __future__ import annotations

import atexit
import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader

from ganflow.errors import GanflowError

ENDING = (signal.SIGINT, signal.SIGTERM)  # what Ctrl-C and a cluster send to every process of a run


def read_ahead(reader: Any, keys: Sequence[Any], *, workers: int, generator: torch.Generator) -> Iterator[Any]:
    """``reader[key]`` for each key, read by other processes.

    Ctrl-C and SIGTERM reach them, too, and they go on: the main process finishes its iteration and then ends them.

    Args:
        generator: seeds the workers; without one, torch's global stream would be drawn from.

    Raises:
        GanflowError: ``worker-died``, status 1: a worker was killed or ended itself.
    """
    with _held_back(), _child_handler_kept():
        source: Any = iter(
            DataLoader(
                reader, None, sampler=keys, num_workers=workers, generator=generator,  # type: ignore[arg-type]
                worker_init_fn=_undisturbed,
            )
        )  # fmt: skip
    processes = list(source._workers)
    end = partial(_end, source, processes)
    atexit.register(end)  # before those of torch and of multiprocessing, who wait for what ignores them
    try:
        yield from source
    except RuntimeError as error:
        dead = [process.exitcode for process in processes if not process.is_alive()]
        if not dead or "DataLoader worker" not in str(error):
            raise
        raise _died(dead) from None
    finally:
        atexit.unregister(end)
        end()


def _end(source: Any, processes: Sequence[Any]) -> None:
    source._shutdown_workers()
    for process in processes:
        if process.is_alive():  # in the middle of a long read
            process.kill()


def _undisturbed(_: int) -> None:
    """In a worker, first of all."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Signals wait, here and in workers that begin here: one that came before they ignore it would end them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _child_handler_kept() -> Iterator[None]:
    """Torch's handler raises wherever the main process happens to be, such as in a backward pass or while it saves;
    without it, a death is noticed when the worker's batch is asked for."""
    number = getattr(signal, "SIGCHLD", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(number)
    try:
        yield
    finally:
        signal.signal(number, before)


def _died(codes: Sequence[int | None]) -> GanflowError:
    killed = next((-code for code in codes if code is not None and code < 0), 0)
    how = f"was killed by {signal.Signals(killed).name}" if killed else f"ended itself with status {codes[0]}"
    why = {
        "SIGKILL": "the system kills what needs more memory than there is: give Trainer.workers a smaller number",
        "SIGBUS": "shared memory is full: give Trainer.workers or Trainer.batch_size a smaller number",
    }
    hint = why.get(signal.Signals(killed).name if killed else "", "Trainer.workers = 0 reads in the main process,"
                   " where what went wrong can be seen")  # fmt: skip
    return GanflowError(f"a process that reads data {how}", hint=hint, code="worker-died", status=1)
