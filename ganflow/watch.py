"""One iteration looked at closely: every ``Trainer.watch_every`` iterations the step tells instruments what it does.

    watch = Watch(instruments(step))
    step(observe=watch.observe)
    logs.scalars(step.counters.step, watch.report(logs, step.counters.step))

The iteration is the same, bit for bit, as one that nobody looks at; all others run code that knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ganflow.health import Health
from ganflow.histograms import Histograms
from ganflow.logs import Logs
from ganflow.settings import settings_of
from ganflow.step import TrainStep
from ganflow.termgrads import TermGradients


class Instrument(Protocol):
    """Measures one thing in one iteration."""

    def observe(self, phase: str, node: str, value: Any) -> None:
        """Of every value as it is made, with its graph; ``node`` is also ``BEFORE_BACKWARD`` and ``"backward"``."""

    def report(self, logs: Logs, step: int) -> dict[str, float]:
        """After the iteration: what is no number is written here, numbers are returned by their tags."""


class Watch:
    """The instruments of one iteration."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self.instruments = instruments

    def observe(self, phase: str, node: str, value: Any) -> None:
        """What the step calls."""
        for instrument in self.instruments:
            instrument.observe(phase, node, value)

    def report(self, logs: Logs, step: int) -> dict[str, float]:
        """All numbers, by their tags."""
        return {tag: value for i in self.instruments for tag, value in i.report(logs, step).items()}


def instruments(step: TrainStep) -> tuple[Instrument, ...]:
    """New ones, for one iteration of this step."""
    settings = settings_of(step.experiment)
    wanted: tuple[tuple[bool, Callable[[TrainStep], Instrument]], ...] = (
        (True, TermGradients), (settings.histograms, Histograms), (settings.health, Health),
    )  # fmt: skip
    return tuple(instrument(step) for is_wanted, instrument in wanted if is_wanted)
