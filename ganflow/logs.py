"""What a run reports: TensorBoard, ``metrics.jsonl`` and ``metrics.csv``.

    averages = Averages()
    with Logs("runs/pix2pix") as logs:
        logs.text("config", gin_text)
        for step in range(1, 1001):
            averages.add(train_step())           # no host sync
            if step % 100 == 0:
                logs.scalars(step, averages.means())

``pandas.read_csv("runs/pix2pix/metrics.csv")`` and ``pandas.read_json(".../metrics.jsonl", lines=True)`` read
the files. Each call of ``scalars`` is a row; a tag that a row does not have is an empty field.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ganflow import protos
from ganflow.board_layout import Section
from ganflow.data.sink import whole_or_nothing
from ganflow.errors import GanflowError
from ganflow.events import EventFile, Records
from ganflow.files import cannot_write
from ganflow.pictures.graphdef import Operation

if TYPE_CHECKING:
    import numpy as np

Layout = Callable[[Sequence[str]], Sequence[Section]]


class Logs:
    """The files of one run that grow with it; appends to what is there.

    Args:
        run_dir: an existing directory; event files, ``metrics.jsonl`` and ``metrics.csv`` lie in it.
        tensorboard: whether to write event files.
        layout: from the tags of all scalars so far to the charts of TensorBoard's Custom Scalars tab; asked whenever
            there is a tag that was not there before.
        resumed_at: the iteration that a resumed run goes on from, to which :func:`ganflow.rewind.rewind` has put back
            what is there.

    Raises:
        GanflowError: status 1, from every method that writes: the disk is full or the directory cannot be
            written to. What was written before is whole and can be read.
    """

    def __init__(
        self, run_dir: str | os.PathLike[str], *, tensorboard: bool = True, layout: Layout | None = None,
        resumed_at: int | None = None,
    ) -> None:  # fmt: skip
        self.run_dir, self._last, self._layout = Path(run_dir), "nothing was written yet", layout
        with self._errors():
            self._lines = Records(self.run_dir / "metrics.jsonl")
            self._table = Table(self.run_dir / "metrics.csv")
            self._events = EventFile(self.run_dir, resumed_at=resumed_at) if tensorboard else None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """``logs.scalars(100, {"loss/G": 1.5, "lr/G": 2e-4})``; NaN and infinities stay what they are.

        In the lines they are ``NaN`` and ``Infinity``, as Python's json writes and reads them.
        """
        with self._errors():
            known = len(self._table.columns)
            self._lines.append((json.dumps({"step": step, **values}) + "\n").encode())
            self._table.append({"step": step, **values})
            if self._events:
                self._events.scalars(step, values)
                if self._layout is not None and len(self._table.columns) > known:
                    tags = [name for name in self._table.columns if name != "step"]
                    self._events.write(step, [protos.layout(self._layout(tags))])
        self._last = f"the last whole record is step {step}"

    def text(self, tag: str, text: str, *, step: int = 0) -> None:
        """``logs.text("plan", str(graph))``: shown letter by letter under TensorBoard's Text."""
        self._write(step, lambda: [protos.text(tag, text)])

    def images(self, step: int, tag: str, pixels: np.ndarray) -> None:
        """``logs.images(100, "images/val", numpy.asarray(grid))``: uint8 H x W x C with C 1, 3 or 4."""
        self._write(step, lambda: [protos.image(tag, pixels)])

    def histograms(self, step: int, found: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """``logs.histograms(100, {"weights/G/conv": (counts, edges)})``: as ``numpy.histogram`` gives them."""
        self._write(step, lambda: [protos.histogram(tag, counts, edges) for tag, (counts, edges) in found.items()])

    def graph(self, operations: Sequence[Operation]) -> None:
        """``logs.graph(operations_of(graph))``: TensorBoard's Graphs; once in a run."""
        if self._events:
            with self._errors():
                self._events.graph(operations)

    def begins(self, parameters: protos.Parameters, *, metrics: Sequence[str], first: Sequence[str] = ()) -> None:
        """A row of TensorBoard's HParams: ``logs.begins({"lambda_A": 100.0}, metrics=["metric/psnr"])``.

        Args:
            metrics: tags of scalars; their last values stand in the row.
            first: parameters that stand to the left of the others.
        """
        self._write(0, lambda: protos.hparams(parameters, metrics, first))

    def ends(self, how: protos.Ended) -> None:
        """What the row says of how the run ended."""
        self._write(0, lambda: [protos.hparams_end(how)])

    def _write(self, step: int, values: Callable[[], list[protos.Value]]) -> None:
        """For TensorBoard alone."""
        if self._events:
            with self._errors():
                self._events.write(step, values())

    def flush(self) -> None:
        """Bring all of it to the disk; a killed process loses nothing without this, a power cut might."""
        with self._errors():
            for file in self._files():
                file.flush()

    def close(self) -> None:
        with self._errors():
            for file in self._files():
                file.close()

    def __enter__(self) -> Logs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _files(self) -> list[Records | Table | EventFile]:
        return [self._lines, self._table, *([self._events] if self._events else [])]

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            after = f"{self._last}, and nothing that was written before is harmed"
            place = Path(os.fsdecode(error.filename)) if error.filename else self.run_dir
            raise cannot_write(place, error, after=after, status=1) from error


class Table:
    """A CSV file whose columns may become more: ``Table(path).append({"step": 1, "loss/G": 0.5})``.

    A new column rewrites the file, whole or not at all, with empty fields in the earlier rows.
    """

    def __init__(self, path: Path) -> None:
        self.records = Records(path)
        self.columns = _header(path)

    def append(self, row: Mapping[str, float]) -> None:
        """Add a row. Raises OSError, and the file is as it was."""
        new = [name for name in row if name not in self.columns]
        if new:
            self._widen(new)
        self.records.append(_fields(row, self.columns))

    def flush(self) -> None:
        self.records.flush()

    def close(self) -> None:
        self.records.close()

    def _widen(self, new: list[str]) -> None:
        path, columns = self.records.path, [*self.columns, *new]
        rows = path.read_bytes().splitlines()[1:]
        try:
            with whole_or_nothing(path) as sink:
                sink.write(_row(columns) + b"".join(row + b"," * len(new) + b"\n" for row in rows))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        self.records.close()
        self.records, self.columns = Records(path), columns


def table_bytes(rows: Sequence[Mapping[str, float]]) -> bytes:
    """What is in the file once a :class:`Table` was given these rows, one after the other."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return b"".join([_row(columns), *(_fields(row, columns) for row in rows)]) if rows else b""


def _fields(row: Mapping[str, float], columns: Sequence[str]) -> bytes:
    return _row([repr(row[name]) if name in row else "" for name in columns])


def _header(path: Path) -> list[str]:
    with open(path, newline="", encoding="utf-8") as file:
        try:
            return next(csv.reader(file), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise GanflowError(f"{path} is not a table that ganflow wrote: {error}", code="bad-table") from error


def _row(fields: Sequence[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(fields)
    return line.getvalue().encode()
