"""Values as a checkpoint can hold them: tensors, numbers, text and containers of these, so that no code is ever loaded.

    encode({1: torch.zeros(2), "seen": {3, 4}})        # a set becomes {"<set>": [3, 4]}
    decode(encode(x))                                   # equal to x, in tensors of its own

Generators are held by their state, and given back to the generator that is there.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Generator, Tensor

PLAIN = (type(None), bool, int, float, complex, str, bytes)


class Unencodable(TypeError):
    """A value, or a part of one, that a checkpoint cannot hold."""


def encode(value: Any) -> Any:
    """``value`` made of what ``torch.load(weights_only=True)`` reads; tensors as they are, without their history.

    Raises:
        Unencodable: it has a part of another type.
    """
    match value:
        case Tensor():
            return value.detach()
        case _ if type(value) in PLAIN:
            return value
        case dict():
            return _pairs(value)
        case torch.Size():
            return {"<size>": list(value)}
        case bytearray():
            return {"<bytearray>": bytes(value)}
        case list() | tuple():
            items = [encode(v) for v in value]
            return items if isinstance(value, list) else tuple(items)
        case set() | frozenset():
            return {"<set>": [encode(v) for v in sorted(value, key=repr)]}
        case deque():
            return {"<deque>": [encode(v) for v in value], "length": value.maxlen}
        case Generator():
            return {"<generator>": value.get_state(), "device": str(value.device)}
        case random.Random() if not isinstance(value, random.SystemRandom):
            return {"<python generator>": encode(value.getstate())}
    return _of_numpy(value)


def _pairs(value: Mapping[Any, Any]) -> dict[Any, Any]:
    if any(type(k) not in PLAIN and not isinstance(k, tuple) for k in value):
        raise Unencodable(f"a dict with keys of type {sorted({type(k).__name__ for k in value})}")
    if any(isinstance(k, str) and k.startswith("<") for k in value):
        return {"<dict>": [(k, encode(v)) for k, v in value.items()]}
    return {k: encode(v) for k, v in value.items()}


def _of_numpy(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.generic) and value.dtype.kind in "biufc":
            return {"<numpy number>": value.item(), "dtype": value.dtype.str}
        if isinstance(value, numpy.ndarray) and value.dtype.kind in "biufc":
            return {"<array>": value.tobytes(), "dtype": value.dtype.str, "shape": tuple(value.shape)}
        if hasattr(value, "bit_generator"):
            return {"<numpy generator>": encode(value.bit_generator.state)}
        if isinstance(value, numpy.random.RandomState):
            return {"<numpy state>": encode(value.get_state(legacy=False))}
    raise Unencodable(f"a value of type {type(value).__name__}")


def decode(value: Any, there: Any = None) -> Any:
    """What :func:`encode` was given; tensors are copies.

    Args:
        there: what is in its place now; a generator gets its state back and stays the same object.
    """
    match value:
        case Tensor():
            return value.clone()
        case list() | tuple():
            beside = there if isinstance(there, (list, tuple)) else ()
            items = [decode(v, beside[k] if k < len(beside) else None) for k, v in enumerate(value)]
            if isinstance(value, list):
                return items
            named = isinstance(there, tuple) and hasattr(there, "_fields") and len(there) == len(items)
            return type(there)(*items) if named else tuple(items)
        case dict():
            for tag, make in _MADE.items():
                if tag in value:
                    return make(value, there)
            return {k: decode(v, there.get(k) if isinstance(there, dict) else None) for k, v in value.items()}
    return value


def copied(value: Any) -> Any:
    """An encoded value whose tensors are copies."""
    match value:
        case Tensor():
            return value.clone()
        case dict():
            return {k: copied(v) for k, v in value.items()}
        case list() | tuple():
            return type(value)(map(copied, value))
    return value


def _array(value: Any, _: Any) -> Any:
    import numpy

    return numpy.frombuffer(value["<array>"], dtype=value["dtype"]).reshape(value["shape"]).copy()


def _number(value: Any, _: Any) -> Any:
    import numpy

    return numpy.dtype(value["dtype"]).type(value["<numpy number>"])


def _generator(value: Any, there: Any) -> Any:
    found = there if isinstance(there, Generator) else Generator(value["device"])
    found.set_state(value["<generator>"].clone())
    return found


def _python(value: Any, there: Any) -> Any:
    found = there if isinstance(there, random.Random) else random.Random()
    found.setstate(value["<python generator>"])
    return found


def _numpy_generator(value: Any, there: Any) -> Any:
    import numpy

    state = decode(value["<numpy generator>"])
    if not hasattr(there, "bit_generator"):
        there = numpy.random.Generator(getattr(numpy.random, state["bit_generator"])())
    there.bit_generator.state = state
    return there


def _numpy_state(value: Any, there: Any) -> Any:
    import numpy

    found = there if isinstance(there, numpy.random.RandomState) else numpy.random.RandomState()
    found.set_state(decode(value["<numpy state>"]))
    return found


_MADE: Mapping[str, Callable[[Any, Any], Any]] = {
    "<set>": lambda value, _: set(decode(value["<set>"])),
    "<deque>": lambda value, _: deque(decode(value["<deque>"]), value["length"]),
    "<size>": lambda value, _: torch.Size(value["<size>"]),
    "<bytearray>": lambda value, _: bytearray(value["<bytearray>"]),
    "<dict>": lambda value, _: {k: decode(v) for k, v in value["<dict>"]},
    "<array>": _array, "<numpy number>": _number, "<generator>": _generator, "<python generator>": _python,
    "<numpy generator>": _numpy_generator, "<numpy state>": _numpy_state,
}  # fmt: skip


def same(a: Any, b: Any) -> bool:
    """Are two encoded values equal, bit for bit? NaN equals NaN."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and a.device == b.device and _bits(a).equal(_bits(b))
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b) or (a != a and b != b)


def _bits(x: Tensor) -> Tensor:
    x = x.detach().to_dense() if x.layout != torch.strided else x.detach()
    x = torch.view_as_real(x) if x.is_complex() else x
    sizes = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return x.contiguous().view(sizes[x.element_size()])
