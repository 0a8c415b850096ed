"""Batches for a training step: dicts of tensors on the device, images as float32 in [-1, 1].

    batches = loader(earth(), "train", batch_size=16, shuffle=True, seed=1)
    for batch in batches:                # one epoch; the next loop is the next epoch, in another order
        batch["real_A"]                  # (16, 3, 64, 64)

The order depends on (seed, split, epoch) and on nothing else. What a dataset draws from the generators of torch,
Python and NumPy, or from ones that it keeps, depends on (seed, split, epoch, place of the batch): it is the same with
any number of workers, and when an epoch is gone on with in the middle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import Dataset, default_collate

from ganflow.data.seeding import generators_in, is_deterministic, seed_of, seeded
from ganflow.data.workers import read_ahead
from ganflow.errors import GanflowError, Terminated, raised_at

Batch = dict[str, torch.Tensor]
Key = tuple[str, list[int]]  # which reading this is, from which all that is drawn follows; the samples


def loader(
    dataset: Any,
    split: str = "train",
    *,
    batch_size: int,
    shuffle: bool = False,
    seed: int = 0,
    drop_last: bool = False,
    device: str | torch.device = "cpu",
    workers: int = 0,
) -> Batches:
    """Batches of one split.

    Args:
        dataset: has ``open(split)``, which gives a map-style dataset of dicts, or is one itself (and then
            is all training data). What is opened may have ``batch(indices)`` for many samples at once, and
            ``augment(batch, generator)``, which changes a batch at random; ``deterministic = True`` says that
            it draws nothing else, which saves some 50 µs a batch.
        split: ``train``, ``val``, ``test`` or whatever else the dataset has.
        batch_size: samples in a batch.
        shuffle: a new order in each epoch; otherwise the order of the dataset.
        seed: of the order.
        drop_last: leave out the last batch when it is not full.
        device: where batches are wanted.
        workers: processes that read ahead; 0 reads in this one, which is fastest for data in memory.

    Raises:
        GanflowError: no such split, an empty one, or fewer samples than a batch with ``drop_last``. When reading:
            a sample that cannot be read or does not fit; ``worker-died``.
    """
    samples = _opened(dataset, split)
    _check_size(split, len(samples), batch_size, drop_last)
    return Batches(
        samples,
        split=split,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        drop_last=drop_last,
        device=torch.device(device),
        workers=workers,
    )


def splits(dataset: Any) -> tuple[str, ...]:
    """The splits a dataset says it has; a plain map-style dataset is all training data."""
    return tuple(getattr(dataset, "splits", ("train",)))


class Batches:
    """An iterable of batches; every ``iter()`` is the next epoch. Made by :func:`loader`.

    Attributes:
        samples: the open split.
        next_epoch, next_place: the epoch that the next ``iter()`` gives, and the batch that it begins with.
        position: epoch and place of the batch that comes next, as :meth:`resume` takes them.
    """

    def __init__(
        self,
        samples: Any,
        *,
        split: str,
        batch_size: int,
        shuffle: bool,
        seed: int,
        drop_last: bool,
        device: torch.device,
        workers: int,
    ) -> None:
        self.samples, self.split, self.batch_size = samples, split, batch_size
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        self.device, self.workers = device, workers
        self.known = is_deterministic(samples)
        self.resume(0, 0)

    def resume(self, epoch: int, place: int) -> None:
        """``batches.resume(*position)``: the next ``iter()`` goes on there; the one after it is a whole epoch."""
        self.next_epoch, self.next_place = epoch, place
        self.position = (epoch, place)

    def __len__(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self.samples), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        epoch, place = self.next_epoch, self.next_place
        self.next_epoch, self.next_place = epoch + 1, 0
        return self._counted(epoch, place)

    def _counted(self, epoch: int, start: int) -> Iterator[Batch]:
        for place, batch in enumerate(self.epoch(epoch, start=start), start):
            self.position = (epoch, place + 1)
            yield batch

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch ``number`` from batch ``start`` on; does not count as an ``iter()``."""
        for place, batch in enumerate(self._fetched(number, start), start):
            if isinstance(batch, GanflowError):
                raise batch
            batch = self._augmented(batch, number, place)
            yield {name: to_float(_moved(value, self.device)) for name, value in batch.items()}

    def order(self, epoch: int) -> list[list[int]]:
        """Which samples are in each batch of an epoch."""
        count = len(self.samples)
        if self.shuffle:
            indices = torch.randperm(count, generator=self._generator("order", epoch)).tolist()
        else:
            indices = list(range(count))
        return [indices[i * self.batch_size : (i + 1) * self.batch_size] for i in range(len(self))]

    def _fetched(self, epoch: int, start: int) -> Iterator[Batch | GanflowError]:
        order = self.order(epoch)
        keys: list[Key] = [(f"{epoch}/{place}", order[place]) for place in range(start, len(order))]
        fetch = _Fetch(self.samples, f"{self.seed}/{self.split}/read", known=self.known)
        if not self.workers:
            return map(fetch.__getitem__, keys)
        return read_ahead(fetch, keys, workers=self.workers, generator=self._generator("workers", epoch))

    def _augmented(self, batch: Batch, epoch: int, place: int) -> Batch:
        augment = getattr(self.samples, "augment", None)
        if augment is None:
            return batch
        purpose = f"augment/{place}"
        generator = self._generator(purpose, epoch)
        if self.known:
            return augment(batch, generator)  # type: ignore[no-any-return]
        with seeded(seed_of(self.seed, self.split, purpose, epoch), generators_in(self.samples)):
            return augment(batch, generator)  # type: ignore[no-any-return]

    def _generator(self, purpose: str, epoch: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed_of(self.seed, self.split, purpose, epoch))


def some(dataset: Any, split: str, count: int, *, device: str | torch.device = "cpu") -> Batch:
    """``some(earth(), "val", 8)``: that many samples, or all of a smaller split, evenly spread; always the same."""
    samples = _opened(dataset, split)
    if len(samples) == 0:
        raise GanflowError(f"split `{split}` has no samples", code="empty-split")
    count = min(count, len(samples))
    fetch = _Fetch(samples, f"some/{split}", known=is_deterministic(samples))
    found = fetch[("", [i * len(samples) // count for i in range(count)])]
    if isinstance(found, GanflowError):
        raise found
    return {name: to_float(_moved(value, torch.device(device))) for name, value in found.items()}


def held_out(dataset: Any) -> str:
    """The split that samples and metrics are made on: ``val``, else ``test``, else what there is."""
    known = splits(dataset)
    return next((name for name in ("val", "test") if name in known), known[0])


def to_float(value: Any) -> Any:
    """uint8 images (N x C x H x W or C x H x W) as float32 in [-1, 1]; everything else unchanged."""
    if isinstance(value, torch.Tensor) and value.dtype == torch.uint8 and value.ndim >= 3:
        return value.float().div_(127.5).sub_(1)
    return value


class _Fetch(Dataset):
    """Whole batches by lists of indices. An error is a result: a worker's exception would be a traceback."""

    def __init__(self, samples: Any, purpose: str, *, known: bool) -> None:
        self.samples, self.purpose, self.known = samples, purpose, known
        self.own: list[Any] | None = None  # found where it reads: a worker has its own

    def __getitem__(self, key: Key) -> Any:
        reading, indices = key
        if self.known:
            return self.read(indices)
        if self.own is None:
            self.own = generators_in(self.samples)
        with seeded(seed_of(self.purpose, reading), self.own):
            return self.read(indices)

    def read(self, indices: list[int]) -> Any:
        """A batch, or what is wrong with it."""
        try:
            if hasattr(self.samples, "batch"):
                return _read(self.samples.batch, indices)
            return _collated([_read(self.samples.__getitem__, i) for i in indices], indices)
        except GanflowError as error:
            return error


def _read(read: Any, which: Any) -> Any:
    try:
        return read(which)
    except (GanflowError, Terminated, MemoryError, torch.OutOfMemoryError):
        raise
    except (Exception, SystemExit) as error:
        many = f"samples {which}" if isinstance(which, list) else f"sample {which}"
        message = f"{many} of the dataset cannot be read: {type(error).__name__}: {error}"
        code = "exit" if isinstance(error, SystemExit) else "bad-sample"
        raise GanflowError(message, hint=raised_at(error), code=code) from error


def _collated(samples: list[Any], indices: list[int]) -> dict[str, Any]:
    first = samples[0]
    for index, sample in zip(indices, samples, strict=True):
        if not isinstance(sample, Mapping):
            given = type(sample).__name__
            raise GanflowError(f"sample {index} of the dataset is a {given}, not a dict of tensors", code="bad-sample")
        if sample.keys() != first.keys():
            raise GanflowError(
                f"sample {index} has the fields {sorted(sample)}, sample {indices[0]} has {sorted(first)}",
                code="bad-sample",
            )
    return {name: _stacked(name, [s[name] for s in samples], indices) for name in first}


def _stacked(name: str, values: list[Any], indices: list[int]) -> Any:
    try:
        return default_collate(values)
    except (RuntimeError, TypeError) as error:
        given = ", ".join(f"{i}: {_described(v)}" for i, v in zip(indices, values, strict=True))
        raise GanflowError(
            f"the values of field `{name}` do not fit in one batch ({given})",
            hint="give each sample a tensor, array or number, of one shape and dtype for all samples",
            code="bad-sample",
        ) from error


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{value.dtype} {tuple(shape)}"


def _moved(value: Any, device: torch.device) -> Any:
    if not isinstance(value, torch.Tensor) or value.device == device:
        return value
    if device.type == "cuda" and value.device.type == "cpu":
        return value.pin_memory().to(device, non_blocking=True)
    return value.to(device)


def _opened(dataset: Any, split: str) -> Any:
    if hasattr(dataset, "open"):
        return dataset.open(split)
    if split != "train":
        raise GanflowError(
            f"the dataset {type(dataset).__name__} has no split `{split}`: all of it is training data",
            hint="a dataset with splits has a method open(split) and a tuple `splits`",
            code="unknown-split",
        )
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise GanflowError(
            f"{type(dataset).__name__} is not a dataset",
            hint="give it __len__ and __getitem__ (a dict of tensors), or open(split)",
            code="bad-dataset",
        )
    return dataset


def _check_size(split: str, count: int, batch_size: int, drop_last: bool) -> None:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise GanflowError(f"batch_size = {batch_size!r}: must be a whole number from 1", code="bad-parameter")
    if count == 0:
        raise GanflowError(f"split `{split}` has no samples", code="empty-split")
    if drop_last and count < batch_size:
        raise GanflowError(
            f"split `{split}` has {count} samples, fewer than one batch of {batch_size}",
            hint="make batch_size smaller",
            code="bad-parameter",
        )
