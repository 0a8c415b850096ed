"""Datasets in HDF5 files, read sample by sample or from memory.

    data = HDF5Dataset("pairs.h5", "train")
    data[0]["real_A"].shape              # (3, 64, 64), uint8
    data.batch([4, 2, 9])["real_A"]      # (3, 3, 64, 64), uint8

What is in such a file: :mod:`ganflow.data.layout`; how one is made: :mod:`ganflow.data.writing`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch.utils.data import Dataset

from ganflow.data.fields import Field
from ganflow.data.layout import DAMAGE, damaged, layouts, open_file, split_group

MEMORY_LIMIT = 512 * 2**20


class HDF5Dataset(Dataset):
    """One split of a file, map-style.

        HDF5Dataset("pairs.h5", "val", fields=["real_A"])[7]["real_A"]

    Samples are dicts of uint8 tensors, images C x H x W. Each process opens its own handle when it first
    reads, so the object may be pickled or forked. A split smaller than ``memory_limit`` is read once.

    Args:
        path: a file in the layout above.
        split: the name of a group in it.
        fields: which fields; None: all.
        memory_limit: in bytes; 0 reads every sample from the file.

    Raises:
        GanflowError: no such file, split or field; a file of another kind; a damaged file. When reading:
            the sample that cannot be read, by file, split and index.
    """

    deterministic = True  # nothing is drawn when it is read

    def __init__(
        self,
        path: str | os.PathLike[str],
        split: str = "train",
        fields: Sequence[str] | None = None,
        *,
        memory_limit: int = MEMORY_LIMIT,
    ) -> None:
        self.path, self.split = Path(path), split
        with open_file(self.path) as file:
            group = split_group(file, self.path, split)
            self.layouts, self.length = layouts(group, fields, f"{self.path}, split `{split}`")
        size = sum(int(np.prod(layout.shape)) for layout in self.layouts.values())
        self.in_memory = size * self.length <= memory_limit
        self._forget()

    @property
    def fields(self) -> dict[str, Field]:
        """What a step sees of each field: images as float32 C x H x W in [-1, 1]."""
        return {n: Field(_channels_first(x.shape), "float32", x.domain) for n, x in self.layouts.items()}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: value[0] for name, value in self.batch([index]).items()}

    def batch(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """Several samples as one uint8 tensor per field, N x C x H x W."""
        for i in indices:
            if not 0 <= i < self.length:
                raise IndexError(f"{self.path}, split `{self.split}`: sample {i} of {self.length}")
        if self.in_memory:
            where = torch.as_tensor(indices, dtype=torch.int64)
            # ten times as fast as values[where]
            return {name: values.index_select(0, where) for name, values in self._all().items()}
        return {name: self._read(name, indices) for name in self.layouts}

    def index(self, name: str) -> np.ndarray:
        """All rows of an ``index`` array, such as ``position``."""
        try:
            return self._handle()[self.split][name][...]
        except DAMAGE as error:
            raise damaged(self.path, f"`{name}` of split `{self.split}` cannot be read", error) from error

    def _read(self, name: str, indices: Iterable[int]) -> torch.Tensor:
        """One read per sample: giving h5py the list is hundreds of times slower."""
        stored = self._stored(name)
        samples = [torch.from_numpy(self._sample(stored, name, int(i) % self.length)) for i in indices]
        return torch.stack(samples).permute(0, 3, 1, 2).contiguous()

    def _sample(self, stored: h5py.Dataset, name: str, index: int) -> np.ndarray:
        try:
            return stored[index]
        except DAMAGE as error:
            what = f"`{name}` of sample {index} in split `{self.split}` cannot be read"
            raise damaged(self.path, what, error) from error

    def _stored(self, name: str) -> h5py.Dataset:
        try:
            return self._handle()[self.split][name]
        except DAMAGE as error:
            raise damaged(self.path, f"`{name}` of split `{self.split}` cannot be read", error) from error

    def _all(self) -> dict[str, torch.Tensor]:
        if self._memory is None:
            self._memory = {name: self._whole(name) for name in self.layouts}
        return self._memory

    def _whole(self, name: str) -> torch.Tensor:
        try:
            values = self._stored(name)[...]
        except DAMAGE:  # sample by sample, to name the bad one
            return self._read(name, range(self.length))
        return torch.from_numpy(values).permute(0, 3, 1, 2).contiguous()

    def _handle(self) -> h5py.File:
        """This process's own handle: one inherited by a fork may share its place in the file."""
        if self._file is None or self._owner != os.getpid():
            self._file, self._owner = open_file(self.path), os.getpid()
        return self._file

    def _forget(self) -> None:
        self._file: h5py.File | None = None
        self._memory: dict[str, torch.Tensor] | None = None
        self._owner = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_memory": None, "_owner": 0}


def _channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[2], shape[0], shape[1])
