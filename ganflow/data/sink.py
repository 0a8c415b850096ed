"""A file that is written whole or not at all, by a library that cannot bear a full disk.

with whole_or_nothing(Path("pairs.h5")) as sink, h5py.File(sink, "w") as file:
    file["x"] = values
    sink.check()
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ganflow.data.cache import unfinished


class Sink(io.FileIO):
    """A file that keeps its first error to itself until it is asked.

    HDF5 flushes again when its objects are closed and freed. If that fails once more it prints every failure
    and may take the interpreter down, so from the first error on everything seems to be written.
    """

    error: OSError | None = None

    def check(self) -> None:
        """Raise the first error there was."""
        if self.error is not None:
            raise self.error

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        self._unless_failed(lambda: self._write_all(view))
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        wanted = self.tell() if size is None else size
        self._unless_failed(lambda: super(Sink, self).truncate(wanted))
        return wanted

    def _write_all(self, view: memoryview) -> None:
        done = 0
        while done < len(view):
            done += super().write(view[done:]) or 0

    def _unless_failed(self, action: Callable[[], object]) -> None:
        if self.error is None:
            try:
                action()
            except OSError as error:
                self.error = error


@contextlib.contextmanager
def whole_or_nothing(path: Path) -> Iterator[Sink]:
    """Written beside ``path`` under another name, brought to the disk, then renamed.

    Raises:
        OSError: the disk is full, the folder cannot be written to; ``path`` is then as it was before.
    """
    temporary = unfinished(path)
    try:
        with Sink(temporary, "w+") as sink:
            yield sink
            sink.check()
            os.fsync(sink.fileno())
        os.replace(temporary, path)
        _names_to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _names_to_disk(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
