"""What event files hold, read back: the records of one file, and which files of a folder a run wrote.

for record in records(path):                 # half a record that a killed run left at the end is not there
    record.step, record.wall_time, record.tags
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

OURS = re.compile(r"events\.out\.tfevents\.\d{10,}\.\d+\.\d+")
ANYONES = re.compile(r"events\.out\.tfevents\.(\d{10})\b.*")
HEADER, FOOTER = 12, 4  # bytes: length and its checksum; the checksum of the message


@dataclass(frozen=True)
class Record:
    """What is known of one record.

    Args:
        start, stop: where it lies in the file, in bytes.
        wall_time: in seconds since 1970.
        step: the iteration.
        tags: of what it holds.
        has_version: whether it is the record that begins a file.
    """

    start: int
    stop: int
    wall_time: float
    step: int
    tags: tuple[str, ...]
    has_version: bool


def written_in(folder: Path) -> list[Path]:
    """The event files that runs wrote into ``folder``, in the order in which TensorBoard reads them."""
    return sorted(path for path in folder.iterdir() if OURS.fullmatch(path.name) and path.is_file())


def newest_number(folder: Path) -> int:
    """The number in the name of the last event file in ``folder``, whoever wrote it; -1 where there is none."""
    found = (ANYONES.fullmatch(path.name) for path in folder.iterdir())
    return max((int(match[1]) for match in found if match), default=-1)


def last_time(folder: Path) -> float:
    """The latest wall time, in seconds since 1970, that a run wrote into ``folder``; 0 where there is none."""
    return max((r.wall_time for path in written_in(folder) for r in records(path)), default=0.0)


def records(path: Path) -> Iterator[Record]:
    """The whole records of a file, up to the first that is not: TensorBoard reads no further either.

    The checksum of a message is not computed, which takes a second for a picture; that of its length is.
    """
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    with open(path, "rb") as file:
        start = 0
        while (message := _message(file)) is not None:
            try:
                event = Event.FromString(message)
            except DecodeError:
                return
            stop = start + HEADER + len(message) + FOOTER
            tags = tuple(value.tag for value in event.summary.value)
            yield Record(start, stop, event.wall_time, event.step, tags, event.HasField("file_version"))
            start = stop


def _message(file: IO[bytes]) -> bytes | None:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    header = file.read(HEADER)
    if len(header) < HEADER or struct.unpack("<I", header[8:])[0] != masked_crc32c(header[:8]):
        return None
    (length,) = struct.unpack("<Q", header[:8])
    body = file.read(length + FOOTER)
    return body[:length] if len(body) == length + FOOTER else None
