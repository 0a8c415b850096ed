"""Write a dataset to an HDF5 file, whole or not at all.

    write("pairs.h5", {"real_A": Layout((64, 64, 3))}, {"train": Split(len(pictures), pictures)})

What is in such a file: :mod:`ganflow.data.layout`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ganflow.data.layout import FORMAT, VERSION, Layout
from ganflow.data.sink import whole_or_nothing
from ganflow.errors import GanflowError


@dataclass(frozen=True)
class Split:
    """What is written as one split.

    Args:
        count: how many samples there are.
        samples: as many mappings of field to uint8 array; may be a generator, one sample is held at a time.
        index: arrays with ``count`` rows, facts about the samples.
    """

    count: int
    samples: Iterable[Mapping[str, np.ndarray]]
    index: Mapping[str, np.ndarray] = field(default_factory=dict)


def write(
    path: str | os.PathLike[str],
    fields: Mapping[str, Layout],
    splits: Mapping[str, Split],
    *,
    provenance: Mapping[str, Any] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Write a dataset so that ``path`` is whole or does not exist, whenever the process is killed.

    It is written under another name in the same folder, brought to the disk, then renamed.

    Args:
        path: the file; one that is there is replaced at the end.
        fields: how each field is stored.
        splits: the samples.
        provenance: where they come from; anything JSON can say.
        advance: called after each sample.

    Raises:
        GanflowError: a sample lacks a field or does not have its shape and dtype.
        OSError: the disk is full, the folder cannot be written to.
    """
    target = Path(path)
    with whole_or_nothing(target) as sink, h5py.File(sink, "w", libver=("v110", "v110")) as file:
        for name, split in splits.items():
            group = file.create_group(name)
            for _ in _write_split(group, fields, split, f"{target}, split `{name}`"):
                sink.check()
                advance()
        file.attrs.update(format=FORMAT, version=VERSION, provenance=json.dumps(provenance or {}))


def _write_split(group: h5py.Group, fields: Mapping[str, Layout], split: Split, where: str) -> Iterator[None]:
    """Write one split; yields after each sample."""
    stored = {name: _create(group, name, layout, split.count) for name, layout in fields.items()}
    written = 0
    for i, sample in enumerate(split.samples):
        for name, layout in fields.items():
            stored[name][i] = _checked(sample, name, layout, f"{where}, sample {i}")
        written = i + 1
        yield
    if written != split.count:
        raise GanflowError(f"{where}: {split.count} samples announced, {written} given", code="bad-sample")
    for name, values in split.index.items():
        group.create_dataset(name, data=values).attrs["kind"] = "index"


def _create(group: h5py.Group, name: str, layout: Layout, count: int) -> h5py.Dataset:
    # HDF5 has no chunks for a dataset without samples.
    chunked: dict[str, Any] = {"chunks": (1, *layout.shape), "fletcher32": True} if count else {}
    stored = group.create_dataset(name, (count, *layout.shape), np.uint8, **chunked)
    stored.attrs.update(kind=layout.kind, domain=layout.domain, range=layout.range)
    return stored


def _checked(sample: Mapping[str, np.ndarray], name: str, layout: Layout, where: str) -> np.ndarray:
    value = sample.get(name)
    if value is None:
        raise GanflowError(f"{where}: field `{name}` is missing", code="bad-sample")
    if value.shape != layout.shape or value.dtype != np.uint8:
        given = f"{value.dtype} {value.shape}"
        raise GanflowError(
            f"{where}: `{name}` is {given}, not uint8 {layout.shape}; every sample of a field has the same",
            code="bad-sample",
        )
    return value
