"""What a dataset draws is decided by where a batch stands in the run, not by who reads it or when.

with seeded(seed_of(3, "train", epoch, place), generators_in(dataset)):
    sample = dataset[7]                      # the same numbers in this process, in a worker, after a resumption
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from inspect import getclosurevars
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

MOST = 2000  # objects of a dataset that are looked at; what holds more than this is data


def seed_of(*words: object) -> int:
    """``seed_of(3, "train", "order", 0)``: 56 bits."""
    digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
    return int.from_bytes(digest[:7], "little")


def is_deterministic(samples: Any) -> bool:
    """Whether a dataset says, by an attribute ``deterministic``, that it draws no numbers of its own accord.

    What a class says does not hold for a subclass that reads or augments in another way.
    """
    if "deterministic" in getattr(samples, "__dict__", {}):
        return samples.deterministic is True
    for kind in type(samples).__mro__:
        if "deterministic" in vars(kind):
            return vars(kind)["deterministic"] is True
        if vars(kind).keys() & {"batch", "augment", "__getitem__"}:
            return False
    return False


@contextlib.contextmanager
def seeded(seed: int, own: Sequence[Any] = ()) -> Iterator[None]:
    """Inside, torch, Python, NumPy and the generators ``own`` begin at ``seed``; afterwards they are as before.

    Torch computes with one thread inside, as in a worker: a sum of many numbers depends on how it is shared out.
    """
    threads = torch.get_num_threads()
    undo = [partial(torch.default_generator.set_state, torch.default_generator.get_state())]
    undo += [partial(random.setstate, random.getstate()), partial(np.random.set_state, np.random.get_state())]
    undo += [restoring(generator) for generator in own]
    try:
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        for i, generator in enumerate(own):
            _begin(generator, seed_of(seed, i))
        if threads != 1:
            torch.set_num_threads(1)
        yield
    finally:
        for back in undo:
            back()
        if threads != 1:
            torch.set_num_threads(threads)


def generators_in(holder: Any) -> list[Any]:
    """Generators that a dataset keeps in its attributes, its transforms or the datasets that it wraps, in their order.

    Those of torch, Python and NumPy, where their state can be set.
    """
    found, seen, waiting = [], dict[int, Any](), [holder]
    while waiting and len(seen) < MOST:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)):
            if not isinstance(value, random.SystemRandom):
                found.append(value)
        else:
            waiting += reversed(list(_held(value)))
    return found


def _held(value: Any) -> Iterable[Any]:
    """What an object refers to, as far as a dataset's transforms do."""
    match value:
        case dict() | list() | tuple():
            inside = value.values() if isinstance(value, dict) else value
            return inside if len(value) <= MOST else ()
        case ModuleType() | type() | torch.Tensor() | np.ndarray():
            return ()
        case FunctionType():
            return _held_by_function(value)
        case MethodType():
            return [value.__self__]
        case partial():
            return [value.func, value.args, value.keywords]
    return getattr(value, "__dict__", {}).values()


def _held_by_function(function: FunctionType) -> Iterable[Any]:
    """What a function was made with: its defaults, and what it closes over."""
    return [*(function.__defaults__ or ()), *getclosurevars(function).nonlocals.values()]


def restoring(generator: Any) -> Callable[[], object]:
    """Puts a generator back to where it is now."""
    if isinstance(generator, torch.Generator):
        return partial(generator.set_state, generator.get_state())
    if isinstance(generator, random.Random):
        return partial(generator.setstate, generator.getstate())
    if isinstance(generator, np.random.RandomState):
        return partial(generator.set_state, generator.get_state())
    return partial(setattr, generator.bit_generator, "state", generator.bit_generator.state)


def _begin(generator: Any, seed: int) -> None:
    if isinstance(generator, torch.Generator):
        generator.manual_seed(seed)
    elif isinstance(generator, random.Random):
        generator.seed(seed)
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(np.random.RandomState(seed % 2**32).get_state())
    else:
        generator.bit_generator.state = type(generator.bit_generator)(seed).state
