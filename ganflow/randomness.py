"""Where a step's draws come from, and the ops that keep a state: they draw per site, whoever the source is.

source = Randomness(SeededRandom(0), seed=0)
source.draw("z", "randn", 16, 100)
pool = stateful(source, {}, "pool", ganflow.draws.pool)
pool(fake_B, 50, site="pool_B")               # the state is kept under its site
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor

from ganflow.draws import SeededRandom


class Randomness:
    """The source that a step was given, beside a seeded one for what that source cannot do.

    Args:
        source: has ``draw(site, kind, *args)``; ``generator``, ``new_batch`` and ``redraw`` are used where it has them.
        seed: of the generators of ops that draw by themselves, where the source has none.
    """

    def __init__(self, source: Any, *, seed: int) -> None:
        self.source = source
        self.own = source if isinstance(source, SeededRandom) else SeededRandom(seed)
        self.part = 0  # which part of a batch is being evaluated

    def draw(self, site: str, kind: str, *args: Any, **kwargs: Any) -> Any:
        return self.source.draw(site, kind, *args, **kwargs)

    def generator(self, site: str, device: torch.device | str = "cpu") -> Generator:
        """For one evaluation of an op that draws by itself; parts of a batch draw apart."""
        site = f"{site}@{self.part}" if self.part else site
        make = getattr(self.source, "generator", None) or self.own.generator
        return make(site, device)  # type: ignore[no-any-return]

    def new_batch(self) -> None:
        """Every site draws anew."""
        for source in {id(s): s for s in (self.source, self.own)}.values():
            if hasattr(source, "new_batch"):
                source.new_batch()

    def redraw(self, number: int, *sites: str) -> None:
        """These sites draw anew; ``number`` is the place of this redraw in the schedule."""
        for source in {id(s): s for s in (self.source, self.own)}.values():
            for site in sites:
                if isinstance(source, SeededRandom):
                    source.redraw(site, number)
                elif hasattr(source, "redraw"):
                    source.redraw(site)

    @contextmanager
    def in_part(self, part: int) -> Iterator[None]:
        before, self.part = self.part, part
        try:
            yield
        finally:
            self.part = before


def stateful(
    source: Randomness, states: MutableMapping[str, Any], function: Callable[..., Any], *, keep: bool = True
) -> Callable[..., Any]:
    """An op that gets and returns its state, as generated code calls it; ``keep=False`` leaves the state as it is."""
    draws = "generator" in inspect.signature(function).parameters

    def call(*args: Any, site: str, **kwargs: Any) -> Any:
        if draws:
            kwargs["generator"] = source.generator(site)
        value, state = function(*args, state=states.get(site), **kwargs)
        if keep:
            states[site] = state
        return value

    return call


def drawing(source: Randomness, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A user's op that has a parameter called ``generator``, as generated code calls it."""

    def call(*args: Any, site: str, **kwargs: Any) -> Any:
        if not hasattr(source.source, "generator"):
            return source.draw(site, name, *args, **kwargs)
        device = next((a.device for a in args if isinstance(a, Tensor)), torch.device("cpu"))
        return function(*args, generator=source.generator(site, device), **kwargs)

    return call
