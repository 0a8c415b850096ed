"""What a training step really does, counted below autograd: live bytes, weight gradients, FLOPs."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten


class PeakBytes(TorchDispatchMode):
    """``with PeakBytes() as memory: step(batch)``, then ``memory.peak``: most bytes alive at one time.

    Counted are the storages that operators allocate inside the block, each once however many views it has, from
    the operator that returns it to the death of its last owner: a variable, a gradient, or a graph that saved
    it. ``live`` are those still alive. What existed before the block counts nothing, so run one step before it:
    the first makes the optimizer's state. Not seen are a kernel's own scratch memory and tensors that wrap
    foreign memory (NumPy); a storage counts what it had when it was returned, resized or not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self.live = 0
        # By address. A storage dies, and its entry goes, before the address can be given to another.
        self._storages: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __enter__(self) -> PeakBytes:
        gc.collect()  # or garbage from before would be collected in one step and not in the other
        super().__enter__()
        return self

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        given: set[int] = set()
        if func is not aten.lift_fresh.default:  # torch.tensor(…) allocates unseen and is first met here
            given = {storage.data_ptr() for storage in storages((args, kwargs))}
        out = func(*args, **kwargs)
        for storage in storages(out):
            # A view, or a tensor written in place, is what was given: known already, or from before the block.
            if storage.data_ptr() not in given and storage.data_ptr() not in self._storages:
                self._add(storage)
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()

        def dead(_: object) -> None:
            del self._storages[address]
            self.live -= size

        self._storages[address] = weakref.ref(storage, dead)
        self.live += size
        self.peak = max(self.peak, self.live)


def storages(tree: Any) -> Iterator[torch.UntypedStorage]:
    """Of all tensors in ``tree``, but the empty ones."""
    for leaf in tree_leaves(tree):
        if isinstance(leaf, Tensor) and leaf.layout is torch.strided:
            storage = leaf.untyped_storage()
            if storage.nbytes():
                yield storage


class ConvolutionBackward(NamedTuple):
    """One ``aten.convolution_backward``: the shape of its weight and which gradients it was asked for."""

    weight: tuple[int, ...]
    input_grad: bool
    weight_grad: bool
    bias_grad: bool


class _Convolutions(TorchDispatchMode):
    def __init__(self, calls: list[ConvolutionBackward]) -> None:
        super().__init__()
        self.calls = calls

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is aten.convolution_backward.default:
            weight = kwargs["weight"] if "weight" in kwargs else args[2]
            mask = kwargs["output_mask"] if "output_mask" in kwargs else args[10]
            self.calls.append(ConvolutionBackward(tuple(weight.shape), *mask))
        return func(*args, **kwargs)


@contextmanager
def convolution_backward_masks() -> Iterator[list[ConvolutionBackward]]:
    """``with convolution_backward_masks() as calls: step(batch)``, then ``calls[0].weight_grad``, in order of call.

    A transposed convolution is in it too: its weight is in×out×H×W.
    """
    calls: list[ConvolutionBackward] = []
    with _Convolutions(calls):
        yield calls


def flops() -> FlopCounterMode:
    """``with flops() as counter: step(batch)``, then ``counter.get_total_flops()``.

    Matrix products and convolutions, forward and backward; a multiplication and its addition are two.
    """
    return FlopCounterMode(display=False)
