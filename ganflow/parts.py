"""An update on parts of a batch, one after another: the gradients of a large batch in the memory of a small one.

    D_fake, loss_D = in_parts(step, part, 4, counters, {"real": real, "z": z})

``part(counters, draw, share, real, z)`` evaluates a part, takes its gradients and returns values.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ganflow.errors import GanflowError
from ganflow.randomness import Randomness


def in_parts(
    random: Randomness, part: Callable[..., Any], count: int, counters: Any, values: Mapping[str, Any]
) -> tuple[Any, ...]:
    """Run ``part`` on each of ``count`` parts of the values, split on dim 0, and put the results together.

    Numbers of one part (losses) are averaged by its share of the batch; tensors are joined on dim 0.
    """
    size = counters.batch_size
    if size < count:
        raise GanflowError(f"a batch of {size} cannot be split into {count} parts", code="microbatches",
                           hint="lower Update.microbatches, or drop the last, smaller batch of an epoch")  # fmt: skip
    sizes, shares = shares_of(size, count)
    split = {k: _split(v, sizes, size) for k, v in values.items()}
    draws = _Draws(random, sizes)
    found = []
    for k, share in enumerate(shares):
        own = copy.copy(counters)
        own.batch_size = sizes[k]
        draws.part = k
        with random.in_part(k):
            found.append(part(own, draws.draw, share, *(v[k] for v in split.values())))
    return tuple(_merged(results, shares) for results in zip(*found, strict=True))


def shares_of(size: int, count: int) -> tuple[list[int], list[float]]:
    """Samples in each of ``count`` parts of a batch, and their shares of it."""
    sizes = [len(t) for t in torch.empty(size, 0).tensor_split(count)]
    return sizes, [s / size for s in sizes]


def _split(value: Any, sizes: Sequence[int], size: int) -> list[Any]:
    """The parts of a value: of a tensor that is as long as the batch, or a fixed fraction of it."""
    if isinstance(value, Tensor) and value.ndim:
        lengths = _lengths(len(value), sizes, size)
        return list(value.detach().split(lengths))
    if isinstance(value, dict):
        each = {k: _split(v, sizes, size) for k, v in value.items()}
        return [{k: v[i] for k, v in each.items()} for i in range(len(sizes))]
    if isinstance(value, (list, tuple)):
        parts = [_split(v, sizes, size) for v in value]
        return [type(value)(p[i] for p in parts) for i in range(len(sizes))]
    return [value] * len(sizes)


def _lengths(length: int, sizes: Sequence[int], size: int) -> list[int]:
    """How many of ``length`` rows belong to each part."""
    if length == size:
        return list(sizes)
    return [len(t) for t in torch.empty(length, 0).tensor_split(len(sizes))]


def _merged(results: Sequence[Any], shares: Sequence[float]) -> Any:
    first = results[0]
    if isinstance(first, Tensor):
        if first.ndim == 0:
            return torch.stack([r.detach() * s for r, s in zip(results, shares, strict=True)]).sum()
        return torch.cat([r.detach() for r in results])
    if isinstance(first, dict):
        return {k: _merged([r[k] for r in results], shares) for k in first}
    if isinstance(first, (list, tuple)):
        return type(first)(_merged(r, shares) for r in zip(*results, strict=True))
    return first


class _Draws:
    """Draws like a part: one draw like the whole batch, handed out in parts."""

    def __init__(self, random: Randomness, sizes: Sequence[int]) -> None:
        self.random, self.sizes, self.part = random, sizes, 0
        self.whole: dict[str, Any] = {}

    def draw(self, site: str, kind: str, *args: Any, **kwargs: Any) -> Any:
        x = args[0] if args else kwargs.get("x")
        if kind not in ("randn_like", "rand_like") or not isinstance(x, Tensor) or x.ndim == 0:
            if site not in self.whole:  # positions of a feature map, say: one for all parts
                self.whole[site] = self.random.draw(site, kind, *args, **kwargs)
            return self.whole[site]
        own, size = self.sizes[self.part], sum(self.sizes)
        if site not in self.whole:
            self.whole[site] = self.random.draw(site, kind, x.new_empty((len(x) * size // own, *x.shape[1:])))
        start = sum(self.sizes[: self.part]) * len(x) // own
        return self.whole[site][start : start + len(x)]
