"""Files that grow by whole records, and the one that TensorBoard reads.

    events = EventFile("runs/pix2pix")
    events.scalars(100, {"loss/G": 1.5})
    events.close()

``torch.utils.tensorboard`` writes from a thread of its own, where a full disk is a traceback and perhaps half a
record, and names its files after the host. Here a record is on its way to the disk when the call returns, or
there is an error and the file is as it was.
"""

from __future__ import annotations

import io
import itertools
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ganflow import protos
from ganflow.eventfiles import last_time, newest_number
from ganflow.pictures.graphdef import Operation


class Records:
    """``Records(path).append(b"one line\\n")``: a file to which whole records are added, or nothing.

    Args:
        path: is made if it is not there; half a line that a killed run left at its end is cut off.
        lines: whether records are lines.
    """

    def __init__(self, path: Path, *, lines: bool = True) -> None:
        self.path = path
        self.file = open(path, "a+b", buffering=0)  # noqa: SIM115 - closed by close()
        self.size = self.file.seek(0, os.SEEK_END)
        if lines and self.size:
            self._cut_off_half_a_line()

    def append(self, record: bytes) -> None:
        """Raises OSError, and the file is as it was."""
        view = memoryview(record)
        try:
            while view:
                view = view[self.file.write(view) or 0 :]
        except OSError as error:
            self.file.truncate(self.size)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self.size += len(record)

    def flush(self) -> None:
        """Bring it to the disk itself, where it survives a power cut."""
        os.fsync(self.file.fileno())

    def close(self) -> None:
        self.file.close()

    def _cut_off_half_a_line(self) -> None:
        self.file.seek(0)
        whole = self.file.read().rfind(b"\n") + 1
        if whole != self.size:
            self.file.truncate(whole)
            self.size = whole


class EventFile:
    """A new event file in ``folder``; TensorBoard reads several in one folder as one run.

    It is read after those that are there, and its wall times are not before theirs, whatever the clock says. Its
    methods raise OSError when the disk is full; what was written before is whole.

    Args:
        folder: an existing directory.
        resumed_at: the iteration that the run goes on from. A TensorBoard that is looking drops what it has read of
            later ones.
    """

    def __init__(self, folder: str | os.PathLike[str], *, resumed_at: int | None = None) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        folder = Path(folder)
        self.latest = last_time(folder)
        self.records = Records(_new_file(folder), lines=False)
        self._write(Event(wall_time=self.now(), file_version="brain.Event:2"))
        if resumed_at is not None:
            begun = SessionLog(status=SessionLog.START)
            for _ in range(2):  # TensorBoard takes the first that it sees in a run for its beginning, and drops nothing
                self._write(Event(wall_time=self.now(), step=resumed_at + 1, session_log=begun))

    def now(self) -> float:
        """Seconds since 1970; never less than before in this run."""
        self.latest = max(self.latest, time.time())
        return self.latest

    @property
    def path(self) -> Path:
        return self.records.path

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One record with all of ``values``."""
        self.write(step, [protos.scalar(tag, value) for tag, value in values.items()])

    def write(self, step: int, values: Sequence[protos.Value]) -> None:
        """One record with all of ``values``, as :mod:`ganflow.protos` makes them."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(**value) for value in values])
        self._write(Event(wall_time=self.now(), step=step, summary=summary))

    def graph(self, operations: Iterable[Operation]) -> None:
        """What the Graphs tab shows; there is one in a run."""
        from tensorboard.compat.proto.event_pb2 import Event

        self._write(Event(wall_time=self.now(), graph_def=protos.graph_bytes(operations)))

    def flush(self) -> None:
        self.records.flush()

    def close(self) -> None:
        self.records.close()

    def _write(self, event: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        framed = io.BytesIO()
        RecordWriter(framed).write(event.SerializeToString())
        self.records.append(framed.getvalue())


def _new_file(folder: Path) -> Path:
    """A name that TensorBoard knows as an event file. It reads them in the order of their names, so this one is last,
    even where the clock has been put back."""
    number = max(int(time.time()), newest_number(folder) + 1)
    for count in itertools.count():
        path = folder / f"events.out.tfevents.{number:010d}.{os.getpid()}.{count}"
        try:
            with open(path, "x"):
                return path
        except FileExistsError:
            continue
    raise AssertionError("not reached")
