"""A run's logs put back to an earlier iteration, so that what is logged from there on stands once.

    rewind("runs/pix2pix", 300)                  # a checkpoint of step 300 is resumed
    with Logs("runs/pix2pix", resumed_at=300) as logs:
        ...                                      # series, tables and samples go on as if never interrupted

A killed run has logged more than its last checkpoint knows of, perhaps with half a record at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ganflow.data.sink import whole_or_nothing
from ganflow.eventfiles import Record, records, written_in
from ganflow.files import cannot_write
from ganflow.logs import table_bytes

SESSION_END = "_hparams_/session_end_info"
OWN = r"metrics\.(csv|jsonl)|events\.out\.tfevents\..*|\d{6,}\.png|weights\.pt|probe\.txt|(config|plan|step)[-.].*"
LEFTOVER = re.compile(rf"\.({OWN})\.writing-\d+")


def rewind(run_dir: str | os.PathLike[str], step: int) -> None:
    """``rewind("runs/pix2pix", 300)``: drop everything that was logged of the iterations after 300.

    ``metrics.jsonl`` loses the later rows, and ``metrics.csv`` becomes what those rows make, without columns that
    came later; event files lose the later records and what was said of the run's end; of the samples, later ones
    are deleted. Each file is changed whole or not at all, and only where there is something to drop: doing it again
    changes nothing, and after a failure or a kill it can be done again. What a run does not write stays as it is.

    Args:
        run_dir: of a run that no process is writing.
        step: the last iteration that stays; -1: nothing does.

    Raises:
        GanflowError: ``cannot-write``, ``disk-full`` (status 1): the folder is gone or cannot be written to.
    """
    folder = Path(run_dir)
    try:
        _clean(folder)
        _clean(folder / "samples")
        _cut_tables(folder / "metrics.jsonl", folder / "metrics.csv", step)
        for path in written_in(folder):
            _cut_events(path, step)
        for path in _later_samples(folder / "samples", step):
            path.unlink()
    except OSError as error:
        place = Path(os.fsdecode(error.filename)) if error.filename else folder
        after = "what was logged after the checkpoint is not yet dropped; resuming again drops it"
        raise cannot_write(place, error, after=after, status=1) from error


def _clean(folder: Path) -> None:
    """Delete files that a killed process had begun."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if LEFTOVER.fullmatch(path.name):
            path.unlink()


def _cut_tables(lines: Path, table: Path, step: int) -> None:
    """The lines decide: a row is written there first."""
    if not lines.is_file():
        return
    written = lines.read_bytes()
    kept = [line for line in written.splitlines(keepends=True) if (row := _row(line)) and row["step"] <= step]
    _become(lines, written, b"".join(kept))
    if table.is_file():
        _become(table, table.read_bytes(), table_bytes([json.loads(line) for line in kept]))


def _row(line: bytes) -> Mapping[str, Any] | None:
    """Half a line is no row."""
    try:
        row = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None


def _become(path: Path, old: bytes, new: bytes) -> None:
    if old.startswith(new):
        _shorten(path, len(new))
    else:
        with _named(path), whole_or_nothing(path) as sink:
            sink.write(new)


def _cut_events(path: Path, step: int) -> None:
    kept = [record for record in records(path) if _stays(record, step)]
    size = sum(record.stop - record.start for record in kept)
    if not kept or kept[-1].stop == size:  # all that stays stands before all that goes
        _shorten(path, size)
        return
    with _named(path), open(path, "rb") as file, whole_or_nothing(path) as sink:
        for record in kept:
            file.seek(record.start)
            sink.write(file.read(record.stop - record.start))


def _stays(record: Record, step: int) -> bool:
    return record.has_version or (record.step <= step and SESSION_END not in record.tags)


def _shorten(path: Path, size: int) -> None:
    """In place: a full disk does not stand in the way."""
    if path.stat().st_size == size:
        return
    with open(path, "r+b") as file:
        file.truncate(size)
        os.fsync(file.fileno())


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """An error says which file it was about."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _later_samples(folder: Path, step: int) -> list[Path]:
    found = folder.glob("*.png") if folder.is_dir() else ()
    return sorted(path for path in found if (number := _number(path)) is not None and number > step)


def _number(path: Path) -> int | None:
    """Of a name that the run gave; somebody's own picture has none."""
    return int(path.stem) if path.stem.isdecimal() and path.stem == f"{int(path.stem):06}" else None
