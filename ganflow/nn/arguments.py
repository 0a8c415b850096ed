"""What a network says when it is given something it cannot use.

Each function returns the value it was given, or raises :class:`GanflowError` naming the network, the
argument, what was given and what is allowed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NoReturn

import torch

from ganflow.errors import GanflowError, did_you_mean, shown

ARGUMENT, SIZE, CHANNELS = "network-argument", "image-size", "image-channels"


MANY = 1_000  # layers or blocks: each is a module, so a slip of the finger takes hours to build


def integer(value: object, *, name: str, least: int = 1, most: int | None = None) -> int:
    """A whole number of at least ``least``; ``name`` reads ``UNetGenerator.base``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise GanflowError(f"{name} = {value!r} is not a whole number of {least} or more", code=ARGUMENT)
    if most is not None and value > most:
        raise GanflowError(f"{name} = {shown(repr(value), 40)} is more than {most:,}", code=ARGUMENT)
    return value


def probability(value: object, *, name: str) -> float:
    """A dropout rate: 0 or more and less than 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise GanflowError(
            f"{name} = {value!r} is not a rate from 0 up to, but not including, 1",
            hint="it is the share of activations set to zero; 0 switches dropout off",
            code=ARGUMENT,
        )
    return float(value)


def boolean(value: object, *, name: str) -> bool:
    """True or False themselves: the string ``'False'`` would count as true."""
    if not isinstance(value, bool):
        raise GanflowError(f"{name} = {value!r} is neither True nor False", code=ARGUMENT)
    return value


def choice(value: object, *, name: str, allowed: Collection[str]) -> str:
    """One of the strings ``allowed``."""
    if not isinstance(value, str) or value not in allowed:
        hint = did_you_mean(value, allowed) if isinstance(value, str) else ""
        raise GanflowError(
            f"{name} = {value!r}: allowed are " + ", ".join(repr(a) for a in allowed),
            hint=hint,
            code=ARGUMENT,
        )
    return value


def images(
    x: torch.Tensor, *, channels: int, owner: str, multiple: int = 1, least: int = 1, depth: str = "layers"
) -> None:
    """Refuse a batch whose shape a network cannot take, before a layer inside does so in its own terms.

    Args:
        x: what the network was given; ``N×channels×H×W`` is wanted. Only its shape is read.
        channels: how many channels the network was built for.
        owner: the network's class, for the message.
        multiple: H and W have to be multiples of it.
        least: H and W have to be at least that.
        depth: the argument of the owner that would make other sizes fit, for the hint.
    """
    shape = x.shape
    if len(shape) != 4:
        given = "×".join(map(str, shape)) or "a scalar"
        raise GanflowError(f"{owner} was given {given}: it takes images N×{channels}×H×W", code=SIZE)
    if shape[1] != channels:
        raise GanflowError(
            f"{owner} was given images of {shape[1]} channels: it was built for {channels}",
            hint=f"set {owner}.in_channels = {shape[1]}, or pass other images",
            code=CHANNELS,
        )
    height, width = shape[2], shape[3]
    if height % multiple or width % multiple or height < least or width < least:
        _refuse_size(height, width, multiple, least, f"{owner} was given images", f"{owner}.{depth}")


def _refuse_size(height: int, width: int, multiple: int, least: int, subject: str, depth: str) -> NoReturn:
    rules = [f"multiples of {multiple}"] if multiple > 1 else []
    rules += [f"at least {least}"] if least > multiple or not rules else []
    near = [max(-(-least // multiple), side // multiple) * multiple for side in (height, width)]
    raise GanflowError(
        f"{subject} of {height}×{width} pixels: height and width have to be {', '.join(rules)}",
        hint=f"resize or crop them, e.g. to {near[0]}×{near[1]}, or change the network's depth: {depth}",
        code=SIZE,
    )
