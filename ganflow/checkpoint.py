"""Checkpoints that are written while training goes on.

store = Store(run_dir / "checkpoints")
writer = Writer(store)
writer.put(100, snapshot(state), metrics={"psnr": 13.9}, then=[lambda: store.prune(3)])
...
writer.close()                                  # raises what went wrong and was not asked for yet
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganflow.errors import GanflowError
from ganflow.snapshots import Spare, copied, on_cpu_later, snapshot
from ganflow.store import Store

__all__ = ["Store", "Writer", "snapshot"]

# Of its time that the writer works while nobody waits for it. Chosen with tools/bench_checkpoint.py on two busy cores:
# without rests, steps beside a writer take about half as long again; at a tenth, the difference is near the noise.
SHARE = 0.1


@dataclass(frozen=True)
class _Job:
    step: int
    payload: Mapping[str, Any]
    fetch: Callable[[], Any]
    metrics: Mapping[str, float]
    before: Sequence[Callable[[], object]]
    then: Sequence[Callable[[], object]]
    keep: bool


class _Lent(dict[str, Any]):
    """A snapshot in memory that the writer uses again."""


class Writer:
    """Writes checkpoints in a thread of its own, which is there while there is something to write.

        writer.put(100, writer.snapshot(state), then=[lambda: store.prune(3)])

    What goes wrong there is kept until :meth:`check`, :meth:`wait` or :meth:`close` gives it. One thread calls these.

    Args:
        store: where to.
        share: of its time that it works while nobody waits for it; it rests for the other part.
    """

    def __init__(self, store: Store, *, share: float = SHARE) -> None:
        self.store, self.share = store, share
        self._lock, self._hurry = threading.Lock(), threading.Event()
        self._pending: list[_Job] = []
        self._thread: threading.Thread | None = None
        self._errors: list[GanflowError] = []
        self._spare = Spare()

    def snapshot(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """``writer.put(100, writer.snapshot(state))``: the memory is used again, so it is for :meth:`put` alone.

        On the CPU about half of the time of a :func:`snapshot`, for memory that is kept as long as the writer.

        Raises:
            GanflowError: ``cannot-save``, naming the place of what a checkpoint cannot hold.
        """
        return _Lent(copied(value, self._spare.clone))

    def put(
        self, step: int, payload: Mapping[str, Any], *, metrics: Mapping[str, float] | None = None,
        before: Sequence[Callable[[], object]] = (), then: Sequence[Callable[[], object]] = (), keep: bool = False,
    ) -> None:  # fmt: skip
        """Write this when what is being written is done; returns at once.

        It takes the place of one that was put earlier and not begun, which is then never written, nor its callables
        called.

        Args:
            payload: a snapshot: nobody may change it any more, nor read what :meth:`snapshot` made but ``then``.
            before: called in the thread first; where one fails, nothing is written.
            then: called in the thread, all of them, once the checkpoint is on the disk.
            keep: a newer one waits for this one, in memory, and does not take its place: it may be the best.
        """
        job = _Job(step, payload, on_cpu_later(payload), dict(metrics or {}), tuple(before), tuple(then), keep)
        with self._lock:
            self._pending = [*(j for j in self._pending if j.keep), job]
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._work, name="checkpoints")
        try:
            self._thread.start()
        except RuntimeError:  # no more threads to be had
            self._work()

    @property
    def busy(self) -> bool:
        """Whether something is not written yet."""
        return self._thread is not None

    def check(self) -> GanflowError | None:
        """What went wrong since it was last asked, once."""
        with self._lock:
            errors, self._errors = self._errors, []
        if len(errors) < 2:
            return errors[0] if errors else None
        first, others = errors[0], "; ".join(dict.fromkeys(e.message for e in errors[1:]))
        message = f"{first.message}; later: {others}"
        return GanflowError(message, hint=first.hint, code=first.code, status=first.status)

    def wait(self) -> None:
        """Until all that was put is written, without rests.

        Raises:
            GanflowError: what went wrong.
        """
        self._hurry.set()
        try:
            thread = self._thread
            if thread is not None:
                thread.join()
        finally:
            self._hurry.clear()
        if error := self.check():
            raise error

    def close(self) -> None:
        """As :meth:`wait`; no thread is left then. It may be called again."""
        self.wait()

    def _work(self) -> None:
        while job := self._next():
            self._write(job)

    def _next(self) -> _Job | None:
        with self._lock:
            job = self._pending.pop(0) if self._pending else None
            if job is None:
                self._thread = None
        return job

    def _write(self, job: _Job) -> None:
        def write() -> None:
            for action in job.before:
                action()
            self.store.write(job.step, job.fetch(), metrics=job.metrics, rest=self._rest)

        if self._tried(job, write):
            for action in job.then:
                self._tried(job, action)
        if isinstance(job.payload, _Lent):
            self._spare.give(job.payload)

    def _tried(self, job: _Job, action: Callable[[], object]) -> bool:
        try:
            action()
        except BaseException as error:
            with self._lock:
                self._errors.append(_told(job.step, error))
            return False
        return True

    def _rest(self, worked: float) -> None:
        self._hurry.wait(worked * (1 / self.share - 1))


def _told(step: int, error: BaseException) -> GanflowError:
    if isinstance(error, GanflowError):
        return error
    told = GanflowError(f"the checkpoint of step {step}: {type(error).__name__}: {error}", code="checkpoint", status=1)
    told.__cause__ = error
    return told
