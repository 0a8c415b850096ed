"""A step put back as it was, byte for byte, whatever happened to it in between.

    with kept(step):
        step()                        # weights move, moments build up, numbers are drawn
    # weights, buffers, gradients, modes, optimizers, random states, pools, states, counters: all as before

Tensors and containers stay the same objects: whoever holds a weight or a list of the step still holds it afterwards.
What a module keeps in plain attributes is kept too; what it writes elsewhere (a global, a file) is not.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn


@contextlib.contextmanager
def kept(step: Any) -> Iterator[None]:
    """Everything that an iteration of a step changes is as before afterwards, data apart, which nobody can rewind.

    Costs a copy of the weights, and of the optimizers' moments where there are some.
    """
    memory = Memory()
    for root in (step.networks, step.optimizers, step.states, step.pools, step.counters):
        memory.visit(root)
    for source in (step.randomness, step.random, step.randomness.own):
        memory.visit_object(source)
    for optimizer in step.optimizers.values():
        memory.visit_object(optimizer)
    memory.visit_object(step.counters)
    with random_states(step.device):
        try:
            yield
        finally:
            memory.restore()


@contextlib.contextmanager
def random_states(device: torch.device) -> Iterator[None]:
    """Torch's generators of the CPU and of this kind of device, Python's and NumPy's."""
    cuda = list(range(torch.cuda.device_count())) if device.type == "cuda" else []
    mps = torch.mps.get_rng_state() if device.type == "mps" else None
    python, numpy = random.getstate(), sys.modules.get("numpy")
    theirs = numpy.random.get_state() if numpy is not None else None
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(theirs)
        if mps is not None:
            torch.mps.set_rng_state(mps)


class Memory:
    """What was there: each tensor, container and module once, and how to put it back."""

    def __init__(self) -> None:
        self.seen: dict[int, Any] = {}  # the objects themselves: an id may not be given to another meanwhile
        self.storages: set[int] = set()
        self.undo: list[Callable[[], None]] = []

    def restore(self) -> None:
        with torch.no_grad():
            for undo in self.undo:
                undo()

    def visit(self, value: Any) -> None:
        """Remember a value and what is in it."""
        stack = [value]
        while stack:
            found = stack.pop()
            if id(found) in self.seen:
                continue
            match found:
                case Tensor():
                    stack += self.tensor(found)
                case nn.Module():
                    stack.append(vars(found))
                case dict():
                    stack += self.mapping(found)
                case list() | deque() | set():
                    stack += self.sequence(found)
                case tuple():
                    stack += found
                case Generator():
                    self.undo.append(partial(found.set_state, found.get_state()))
                case random.Random():
                    self.undo.append(partial(found.setstate, found.getstate()))
                case _ if hasattr(found, "bit_generator"):  # NumPy's
                    self.undo.append(partial(setattr, found.bit_generator, "state", found.bit_generator.state))
                case _:
                    continue
            self.seen[id(found)] = found

    def visit_object(self, value: Any) -> None:
        """Remember an object's attributes, and what is in them."""
        if hasattr(value, "__dict__"):
            self.visit(vars(value))

    def mapping(self, found: dict[Any, Any]) -> list[Any]:
        items = dict(found)

        def undo() -> None:
            found.clear()
            found.update(items)

        self.undo.append(undo)
        return list(items.values())

    def sequence(self, found: Any) -> list[Any]:
        items = list(found)
        put = found.update if isinstance(found, set) else found.extend

        def undo() -> None:
            found.clear()
            put(items)

        self.undo.append(undo)
        return items

    def tensor(self, found: Tensor) -> list[Any]:
        leaf, grad = found.is_leaf, found.grad if found.is_leaf else None
        asks, same = found.requires_grad, found.detach()
        dense = not found.is_meta and found.layout == torch.strided
        if dense:
            self.storage(same)

        def undo() -> None:
            if dense and (found.data_ptr(), found.shape, found.stride()) != (
                same.data_ptr(),
                same.shape,
                same.stride(),
            ):
                found.data = same
            if leaf:
                (found if found.is_leaf else found.detach_()).requires_grad_(asks).grad = grad

        self.undo.append(undo)
        return [] if grad is None else [grad]

    def storage(self, tensor: Tensor) -> None:
        """The bytes behind a tensor, once for all that share them."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() in self.storages:
            return
        self.storages.add(storage.data_ptr())
        bytes_ = storage.clone()

        def undo() -> None:
            if storage.nbytes() != bytes_.nbytes():
                storage.resize_(bytes_.nbytes())
            storage.copy_(bytes_)

        self.undo.append(undo)
