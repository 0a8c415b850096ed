"""Copies of state to be written while training goes on: nested containers of tensors, numbers and text.

    state = snapshot({"G": G.state_dict(), "step": 100})        # training may change G now

Names that share a storage share one in the copy as well, as they will in the file.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ganflow.errors import GanflowError

EXACT = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)  # all that torch.load gives back


def snapshot(value: Any) -> Any:
    """``snapshot(state)``: a copy on the same device; on one other than the CPU nothing waits for it.

    Args:
        value: dicts, lists and tuples of tensors, numbers, strings, bytes and None.

    Raises:
        GanflowError: ``cannot-save``, naming the place of what a checkpoint cannot hold.
    """
    return copied(value, _clone)


def on_cpu_later(value: Any) -> Callable[[], Any]:
    """``fetch = on_cpu_later(state)``: ``fetch()`` gives ``state`` on the CPU, in any thread.

    On CUDA it waits for what was asked of the device before this call, and for nothing that is asked of it afterwards.
    """
    held = [value]
    devices = {tensor.device for tensor in tensors(value) if tensor.is_cuda}
    done = {device: torch.cuda.current_stream(device).record_event() for device in devices}

    def fetch() -> Any:
        with contextlib.ExitStack() as stack:
            for device, event in done.items():
                beside = torch.cuda.Stream(device)
                beside.wait_event(event)
                stack.enter_context(torch.cuda.stream(beside))
            return copied(held.pop(), Tensor.cpu)  # once; the device has its memory back then

    return fetch


def copied(value: Any, copy: Callable[[Tensor], Tensor]) -> Any:
    """``value`` with ``copy(tensor)`` in place of every tensor; those that share a storage go on sharing one."""
    uses = Counter(key for tensor in tensors(value) if (key := _storage(tensor)))
    with torch.no_grad():
        return _Copies(copy, {key for key, count in uses.items() if count > 1}).of(value, "")


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested containers, as often as they are there."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from tensors(part)


def _clone(tensor: Tensor) -> Tensor:
    try:
        return tensor.clone()
    except torch.OutOfMemoryError:  # slower, but training needs no more of the device than it has
        return tensor.cpu()


def _storage(tensor: Tensor) -> int:
    """What two tensors have in common that share their numbers; 0 for those that share none."""
    plain = tensor.layout == torch.strided and not (tensor.is_meta or tensor.is_conj() or tensor.is_neg())
    return tensor.untyped_storage().data_ptr() if plain else 0


class Spare:
    """Memory on the CPU for the next snapshot: fresh memory takes about twice as long to fill.

    spare = Spare()
    state = copied(value, spare.clone)
    spare.give(state)                           # nobody reads it any more
    """

    def __init__(self) -> None:
        self.storages: dict[int, list[torch.UntypedStorage]] = {}

    def clone(self, tensor: Tensor) -> Tensor:
        """A copy of ``tensor``, in memory that was given if there is some of its size."""
        dense = _storage(tensor) and tensor.device.type == "cpu" and tensor.is_contiguous()
        fitting = self.storages.get(tensor.nbytes) if dense else None
        if not fitting:
            return _clone(tensor)
        empty = torch.empty(0, dtype=tensor.dtype)
        return empty.set_(fitting.pop(), 0, tensor.size(), tensor.stride()).copy_(tensor)

    def give(self, value: Any) -> None:
        """The memory of one snapshot is kept, and no other."""
        found = {key: t.untyped_storage() for t in tensors(value) if t.device.type == "cpu" and (key := _storage(t))}
        storages: dict[int, list[torch.UntypedStorage]] = {}
        for storage in found.values():
            storages.setdefault(storage.nbytes(), []).append(storage)
        self.storages = storages


class _Copies:
    """Copies made so far: storages by what they were."""

    def __init__(self, copy: Callable[[Tensor], Tensor], shared: set[int]) -> None:
        self.copy, self.shared, self.made = copy, shared, dict[int, torch.UntypedStorage]()

    def of(self, value: Any, path: str) -> Any:
        match value:
            case Tensor():
                return self.tensor(value.detach())
            case Mapping():
                return {self.of(k, path): self.of(v, f"{path}.{k}" if path else str(k)) for k, v in value.items()}
            case list():
                return [self.of(v, f"{path}[{i}]") for i, v in enumerate(value)]
            case tuple():
                return tuple(self.of(v, f"{path}[{i}]") for i, v in enumerate(value))
            case _ if type(value) in EXACT:
                return value
            case int() | float():  # a NumPy number, an enumeration: the file would hold its class
                return int(value) if isinstance(value, int) else float(value)
        raise GanflowError(
            f"a checkpoint cannot hold {path or 'this'}, which is a {type(value).__name__}", code="cannot-save",
            hint="it holds tensors, numbers, strings, bytes, None, and dicts, lists and tuples of them",
        )  # fmt: skip

    def tensor(self, tensor: Tensor) -> Tensor:
        key = _storage(tensor)
        if key not in self.shared:
            return self.copy(tensor)
        if key not in self.made:
            flat = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())
            self.made[key] = self.copy(flat).untyped_storage()
        empty = torch.empty(0, dtype=tensor.dtype, device=self.made[key].device)
        return empty.set_(self.made[key], tensor.storage_offset(), tensor.size(), tensor.stride())
