"""What a dataset draws is decided by where a batch stands in the run, not by who reads it or when.

with seeded(seed_of(3, "train", epoch, place), generators_in(dataset)):
    sample = dataset[7]                      # the same numbers in this process, in a worker, after a resumption
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
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


def seed_all(seed: int) -> None:
    """The generators of torch, of all its devices, of Python and of NumPy begin at ``seed``."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def as_now() -> Callable[[], None]:
    """What puts Python's and NumPy's generators back to where they are now."""
    python, numpy = random.getstate(), np.random.get_state()

    def back() -> None:
        random.setstate(python)
        np.random.set_state(numpy)

    return back


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """What is done inside takes nothing from Python's and NumPy's generators.

    Libraries do, some when they are imported: once in a process, and so elsewhere in a run that was resumed.
    """
    back = as_now()
    try:
        yield
    finally:
        back()


@contextlib.contextmanager
def seeded(seed: int, own: Sequence[Any] = ()) -> Iterator[None]:
    """Inside, torch, Python, NumPy and the generators ``own`` begin at ``seed``; afterwards they are as before.

    Torch computes with one thread inside, as in a worker: a sum of many numbers depends on how it is shared out.
    """
    threads = torch.get_num_threads()
    undo: list[Callable[[], object]] = [partial(torch.default_generator.set_state, torch.default_generator.get_state())]
    undo += [as_now()]
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
    """Generators that a dataset uses: in attributes, in transforms, in datasets that it wraps, in variables that its
    methods refer to.

    Those of torch, Python and NumPy, where their state can be set; the nearest first, always in the same order.
    """
    found, seen, waiting = [], dict[int, Any](), deque([holder])
    while waiting and len(seen) < MOST:
        value = waiting.popleft()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)):
            if not isinstance(value, random.SystemRandom):
                found.append(value)
        else:
            waiting += _held(value)
    return found


def _held(value: Any) -> Iterable[Any]:
    """What an object refers to, as far as datasets and their transforms do."""
    match value:
        case str() | bytes() | int() | float() | None | ModuleType() | type() | torch.Tensor() | np.ndarray():
            return ()
        case dict() | list() | tuple():
            inside = value.values() if isinstance(value, dict) else value
            return inside if len(value) <= MOST else ()
        case FunctionType():
            return _variables(value)
        case MethodType():
            return [value.__self__, value.__func__]
        case partial():
            return [value.func, value.args, value.keywords]
    methods = (m for kind in type(value).__mro__ if _is_a_users(kind) for m in vars(kind).values())
    return [*getattr(value, "__dict__", {}).values(), *(m for m in methods if isinstance(m, FunctionType))]


def _is_a_users(kind: type) -> bool:
    return kind.__module__.partition(".")[0] not in ("builtins", "torch", "torchvision", "numpy", "random", "ganflow")


def _variables(function: FunctionType) -> Iterable[Any]:
    """Defaults, what it closes over, and the global variables that it mentions."""
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    names = [name for name in function.__code__.co_names if name in function.__globals__]
    return [*(function.__defaults__ or ()), *cells, *(function.__globals__[name] for name in names)]


def _is_filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


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
