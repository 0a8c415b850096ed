"""The checkpoints of a run on the disk: each whole or not there, known by its digest.

    store = Store(run_dir / "checkpoints")
    store.write(100, {"networks": ...}, metrics={"psnr": 13.9})
    state = store.read(store.latest()[0])

A checkpoint is ``000100.pt``, which torch loads as plain data, and ``000100.json`` with its size and SHA-256. The
JSON is there first and gone last: a ``.pt`` beside a ``.json`` that agrees with it is whole, wherever the process was
killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ganflow.build import read_saved
from ganflow.data.sink import Sink, whole_or_nothing
from ganflow.errors import GanflowError
from ganflow.files import cannot_write, write_whole
from ganflow.snapshots import copied

PIECE = 1 << 20  # bytes that are written and hashed before the writer rests
MOST_JSON = 1 << 20  # bytes; a larger one is none of ours
LEFT = re.compile(r"\.(?P<step>\d{6,})\.(pt|json)\.writing-(?P<pid>\d{1,9})")


@dataclass(frozen=True)
class Summary:
    """What ``000100.json`` says about ``000100.pt``."""

    sha256: str
    bytes: int
    step: int
    metrics: Mapping[str, float]


class Store:
    """The checkpoints in a folder, which is made when the first is written.

        Store(Path("runs/pix2pix/checkpoints")).read(100)["networks"]

    One process writes to it at a time; any number may read.

    Args:
        folder: where they lie; the one above it is there.
        check: called before anything in it is made or deleted; raises where the folder is no longer this run's.
    """

    def __init__(self, folder: str | os.PathLike[str], *, check: Callable[[], object] = lambda: None) -> None:
        self.folder, self.check = Path(folder), check
        self._writing: set[int] = set()

    def __repr__(self) -> str:
        return f"Store({str(self.folder)!r})"

    def file(self, step: int) -> Path:
        """Where the checkpoint of a step lies, or would."""
        return self.folder / f"{step:06}.pt"

    # -- writing --------------------------------------------------------------------------------------------

    def write(
        self, step: int, payload: Mapping[str, Any], *, metrics: Mapping[str, float] | None = None,
        rest: Callable[[float], object] | None = None,
    ) -> Path:  # fmt: skip
        """``store.write(100, {"networks": ...}, metrics={"psnr": 13.9})``: on the disk when this returns.

        One of the same step that is there is deleted once all of this is on the disk but its name; the others are not
        touched, whatever happens.

        Args:
            payload: dicts, lists and tuples of tensors, numbers, strings, bytes and None.
            metrics: by which the best one is chosen; kept in the JSON.
            rest: called now and then with the seconds worked since, for the writer to leave the machine to others.

        Raises:
            GanflowError: ``disk-full`` or ``cannot-write``, status 1; ``cannot-save`` for what cannot be loaded again.
        """
        path, payload = self.file(step), copied(payload, torch.Tensor.cpu)
        self.check()
        self._writing.add(step)
        try:
            self.folder.mkdir(exist_ok=True)
            with whole_or_nothing(path) as sink:
                out = _Hashing(sink, rest)
                with _no_checksums(), io.BufferedWriter(out, PIECE) as pieces:  # or a call for every few bytes
                    torch.save(payload, pieces)
                sink.check()
                os.fsync(sink.fileno())
                self.check()
                self.remove(step)  # a new JSON beside the old file would look like damage
                self._summarize(Summary(out.digest.hexdigest(), out.bytes, step, dict(metrics or {})))
        except OSError as error:
            with contextlib.suppress(OSError):
                if not path.exists():
                    self._json(step).unlink(missing_ok=True)
            raise cannot_write(path, error, status=1) from error
        finally:
            self._writing.discard(step)
        return path

    def _summarize(self, found: Summary) -> None:
        numbers = {name: float(value) for name, value in found.metrics.items()}
        metrics = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        text = json.dumps({**vars(found), "metrics": metrics}, indent=2, allow_nan=False) + "\n"
        write_whole(self._json(found.step), text, status=1)

    def remove(self, step: int) -> None:
        """Delete a checkpoint, or what is left of one: the large file first.

        Raises:
            OSError: it cannot be deleted.
        """
        self.file(step).unlink(missing_ok=True)
        self._json(step).unlink(missing_ok=True)

    def prune(self, keep_last: int, keep: Collection[int] = ()) -> None:
        """``store.prune(3, {best})``: delete all but the last three and the best, and what killed writers left.

        Files of the wrong size do not count as one of the last, and only go with those before the last whole one.

        Raises:
            GanflowError: ``cannot-write``, status 1.
        """
        assert keep_last > 0
        self.check()
        sized = [step for step in self.steps() if not self._wrong_size(step)]
        kept = {*sized[-keep_last:], *keep}
        try:
            for step in self.steps():
                if sized and step < sized[-1] and step not in kept:
                    self.remove(step)
            for path in self._left_over():
                path.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(Path(error.filename or self.folder), error, status=1) from error

    def _left_over(self) -> Iterator[Path]:
        """Files of writers that are dead, and summaries of what they did not come to write."""
        busy = set(self._writing)
        for path in list(self.folder.glob(".*.writing-*")):
            if found := LEFT.fullmatch(path.name):
                step, pid = int(found["step"]), int(found["pid"])
                if step not in self._writing and (pid == os.getpid() or not _alive(pid)):
                    yield path
                else:
                    busy.add(step)
        for path in list(self.folder.glob("*.json")):
            known = (step := _step_of(path)) is not None and step not in busy | self._writing
            if known and not path.with_suffix(".pt").exists():
                yield path

    # -- reading --------------------------------------------------------------------------------------------

    def steps(self) -> tuple[int, ...]:
        """Ascending; those with both files, damaged or not."""
        try:
            names = {path.name: step for path in self.folder.iterdir() if (step := _step_of(path)) is not None}
        except OSError:
            return ()
        return tuple(sorted(step for name, step in names.items() if f"{name[:-2]}json" in names and name[-3:] == ".pt"))

    def alone(self) -> tuple[int, ...]:
        """Ascending; files whose JSON is gone, so that nobody can say whether they are whole."""
        names = {path.name for path in self.folder.glob("*")}
        files = (Path(name) for name in names if name.endswith(".pt") and f"{name[:-3]}.json" not in names)
        return tuple(sorted(step for path in files if (step := _step_of(path)) is not None))

    def latest(self) -> tuple[int, ...]:
        """Newest first: the one to read, and those to fall back to."""
        return self.steps()[::-1]

    def read(self, step: int) -> dict[str, Any]:
        """``store.read(100)``: what was written, tensors on the CPU, after its size and digest were compared.

        Raises:
            GanflowError: ``no-checkpoint``, with those there are; ``bad-checkpoint``, with what is wrong and the
                newest whole one before it.
        """
        if not self.file(step).exists() and not self._json(step).exists():
            there = f"there are {_listed(self.steps())}" if self.steps() else "nothing was saved there yet"
            raise GanflowError(f"no checkpoint of step {step} in {self.folder}", code="no-checkpoint", hint=there)
        try:
            return self._load(step)
        except _Damaged as error:
            raise self._bad(step, str(error)) from error

    def metrics(self, step: int) -> dict[str, float]:
        """What it was written with; NaN where it was not finite.

        Raises:
            GanflowError: ``bad-checkpoint`` where the JSON cannot be read.
        """
        try:
            return dict(self._summary(step).metrics)
        except _Damaged as error:
            raise self._bad(step, str(error)) from error

    def best(self, metric: str, *, larger: bool) -> int | None:
        """``store.best("psnr", larger=True)``: the step, the earlier of equals; None where none has that metric."""
        found = {step: value for step in self.steps() if (value := self._metric(step, metric)) is not None}
        return (max if larger else min)(found, key=found.__getitem__, default=None)

    def is_whole(self, step: int) -> bool:
        """Whether size and digest are as they were written; reads the file, but loads nothing."""
        try:
            with self._opened(step):
                return True
        except _Damaged:
            return False

    def _metric(self, step: int, name: str) -> float | None:
        with contextlib.suppress(_Damaged):
            value = self._summary(step).metrics.get(name, math.nan)
            return value if math.isfinite(value) else None
        return None

    def _load(self, step: int) -> dict[str, Any]:
        with self._opened(step) as file:
            try:
                found = read_saved(file)
            except Exception as error:  # torch raises many kinds, for text that it did not write
                reason = str(error).strip().split("\n")[0]
                raise _Damaged(f"it cannot be read: {reason or type(error).__name__}") from error
        if not isinstance(found, dict):
            raise _Damaged(f"it holds a {type(found).__name__}, not the state of a run")
        return found

    @contextlib.contextmanager
    def _opened(self, step: int) -> Iterator[BinaryIO]:
        """The file at its begin, size and digest compared."""
        summary = self._summary(step)
        if wrong := self._wrong_size(step):
            raise _Damaged(wrong)
        try:
            with open(self.file(step), "rb") as file:
                digest = hashlib.sha256()
                while piece := file.read(PIECE):
                    digest.update(piece)
                if digest.hexdigest() != summary.sha256:
                    raise _Damaged("its content has changed since it was written (SHA-256)")
                file.seek(0)
                yield file
        except OSError as error:
            raise _Damaged(f"it cannot be read: {error.strerror or error}") from error

    def _wrong_size(self, step: int) -> str:
        try:
            path, wanted = self.file(step), self._summary(step).bytes
            if not path.is_file():
                return "it is no file" if path.exists() else "it is not there, only its .json"
            size = path.stat().st_size
        except (_Damaged, OSError) as error:
            return str(error)
        return "" if size == wanted else f"it has {size:,} bytes and was written with {wanted:,}"

    def _summary(self, step: int) -> Summary:
        path = self._json(step)
        try:
            with open(path, "rb") as file:
                found = json.loads(file.read(MOST_JSON))
            return _checked(found, step)
        except FileNotFoundError as error:
            raise _Damaged(f"{path.name}, which says what it should be, is missing") from error
        except OSError as error:
            raise _Damaged(f"{path.name} cannot be read: {error.strerror or error}") from error
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise _Damaged(f"{path.name} is not as it was written") from error

    def _bad(self, step: int, reason: str) -> GanflowError:
        earlier = next((s for s in self.latest() if s < step and self.is_whole(s)), None)
        hint = (
            "there is no whole one before it" if earlier is None else f"the newest whole one before it: step {earlier}"
        )
        return GanflowError(f"{self.file(step)} is damaged: {reason}", code="bad-checkpoint", hint=hint)

    def _json(self, step: int) -> Path:
        return self.file(step).with_suffix(".json")


class _Damaged(Exception):
    """What is wrong with a checkpoint."""


class _Hashing(io.RawIOBase):
    """Passes what is written on in pieces, adds it to the digest, and rests after each."""

    def __init__(self, sink: Sink, rest: Callable[[float], object] | None) -> None:
        self.sink, self.rest = sink, rest
        self.digest, self.bytes, self.since = hashlib.sha256(), 0, time.perf_counter()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = memoryview(data).cast("B")[:PIECE]
        self.digest.update(piece)
        self.sink.write(piece)
        self.bytes += len(piece)
        if self.rest is not None and len(piece) == PIECE:
            self.rest(time.perf_counter() - self.since)
            self.since = time.perf_counter()
        return len(piece)


@contextlib.contextmanager
def _no_checksums() -> Iterator[None]:
    """Torch's own of each tensor take as long as all else, in one go; the digest says more."""
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        yield
    finally:
        torch.serialization.set_crc32_options(before)


def _checked(found: Any, step: int) -> Summary:
    """Raises: ValueError, TypeError, KeyError, OverflowError for what is no summary of this step."""
    metrics = {str(k): math.nan if v is None else float(v) for k, v in dict(found["metrics"]).items()}
    sha256, size, its = found["sha256"], found["bytes"], found["step"]
    if type(sha256) is not str or type(size) is not int or type(its) is not int or its != step:
        raise ValueError
    return Summary(sha256, size, its, metrics)


def _step_of(path: Path) -> int | None:
    """100 for ``000100.pt`` and ``000100.json``."""
    stem, suffix = path.stem, path.suffix
    if suffix not in (".pt", ".json") or not re.fullmatch(r"\d{6,18}", stem, re.ASCII):
        return None
    return int(stem) if f"{int(stem):06}" == stem else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    return True


def _listed(steps: Sequence[int]) -> str:
    shown = [str(s) for s in steps[-10:]]
    return ", ".join(["…", *shown] if len(steps) > 10 else shown)
