"""The layout of a dataset in an HDF5 file, version 1, and what is checked before one is read.

::

    /                 attributes: format "ganflow", version 1, provenance (JSON)
    /SPLIT            a group for each split
    /SPLIT/FIELD      uint8 N x H x W x C, one sample a chunk, with a checksum
                      attributes: kind "image", domain, range (stored values that become -1 and 1)
    /SPLIT/NAME       kind "index": facts about the samples, such as where a tile was cut; not a field

Samples stay uint8 until a whole batch of them is on the device: a quarter of the bytes, and one conversion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ganflow.errors import GanflowError, did_you_mean

FORMAT, VERSION = "ganflow", 1
# What h5py raises on a damaged file, depending on which bytes are damaged.
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError)


@dataclass(frozen=True)
class Layout:
    """How a field is stored.

    Args:
        shape: of one sample, ``(height, width, channels)``.
        kind: ``image``; other kinds are for later versions.
        domain: as in :class:`ganflow.data.fields.Field`.
        range: the stored values that become -1 and 1.
    """

    shape: tuple[int, ...]
    kind: str = "image"
    domain: str = ""
    range: tuple[int, int] = (0, 255)


def open_file(path: Path) -> h5py.File:
    """The file for reading, its format and version checked."""
    if not path.is_file():
        raise GanflowError(f"no dataset at {path}", code="no-dataset")
    try:
        # Files are replaced, never changed, so a lock says nothing, and network disks may not have them.
        file = h5py.File(path, "r", locking=False)
        kind, version = file.attrs.get("format"), file.attrs.get("version")
    except PermissionError as error:
        raise GanflowError(f"{path} cannot be read: permission denied", code="no-dataset") from error
    except DAMAGE as error:
        raise damaged(path, "is not a readable HDF5 file", error) from error
    if kind != FORMAT or version != VERSION:
        file.close()
        given = f"{kind} {version}" if kind == FORMAT else "no ganflow dataset"
        raise GanflowError(f"{path} is {given}; this version reads {FORMAT} {VERSION}", code="bad-dataset")
    return file


def split_group(file: h5py.File, path: Path, split: str) -> h5py.Group:
    """The group of a split."""
    try:
        names = list(file)
        if split not in names:
            known = ", ".join(f"`{name}`" for name in names)
            hint = did_you_mean(split, names) or f"it has {known}"
            raise GanflowError(f"{path} has no split `{split}`", hint=hint, code="unknown-split")
        return _inside(file, split)
    except DAMAGE as error:
        raise damaged(path, f"split `{split}` cannot be read", error) from error


def layouts(group: h5py.Group, wanted: Sequence[str] | None, where: str) -> tuple[dict[str, Layout], int]:
    """How the fields are stored, and how many samples each of them has."""
    try:
        stored = {name: _inside(group, name) for name in group}
        known = {n: d for n, d in stored.items() if d.attrs["kind"] != "index"}
        for name in wanted or ():
            if name not in known:
                hint = did_you_mean(name, known) or "it has " + ", ".join(f"`{n}`" for n in known)
                raise GanflowError(f"{where} has no field `{name}`", hint=hint, code="unknown-field")
        chosen = {name: known[name] for name in (known if wanted is None else wanted)}
        found = {name: _layout(values, f"{where}, `{name}`") for name, values in chosen.items()}
        counts = {name: len(values) for name, values in chosen.items()}
    except DAMAGE as error:
        raise damaged(where, "cannot be read", error) from error
    if len(set(counts.values())) != 1:
        raise GanflowError(
            f"{where}: its fields do not have one and the same number of samples: {counts}",
            code="bad-dataset",
        )
    return found, next(iter(counts.values()))


def _inside(group: h5py.Group, name: str) -> Any:
    """A member that is stored in this very file; a link may lead anywhere on the disk."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"`{name}` is a link, which is not followed")
    return group[name]


def _layout(stored: h5py.Dataset, where: str) -> Layout:
    attributes = stored.attrs
    if stored.dtype != np.uint8 or stored.ndim != 4 or attributes["kind"] != "image":
        given = f"{attributes['kind']}, {stored.dtype} {stored.shape}"
        raise GanflowError(f"{where} is {given}, not an image, uint8 (N, H, W, C)", code="bad-dataset")
    if stored.external or stored.is_virtual:
        raise GanflowError(f"{where} is stored in another file, which is not followed", code="bad-dataset")
    low, high = (int(v) for v in attributes["range"])
    return Layout(tuple(map(int, stored.shape[1:])), "image", str(attributes["domain"]), (low, high))


def damaged(path: object, what: str, error: Exception) -> GanflowError:
    """The error for bytes that are not what they were when they were written."""
    reason = str(error).strip("'\"") or type(error).__name__
    return GanflowError(
        f"{path}: {what} ({reason})",
        hint="delete the file; a dataset that the gin file names is made anew by the next run",
        code="damaged-dataset",
    )
