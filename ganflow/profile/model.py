"""What a profile says: where the time, the FLOPs and the bytes of an iteration go.

profile.sections[0].rows[0]           # Row(what='fake_B', forward=0.012, backward=0.0, ...)
sum(row.time for row in profile.rows) == profile.seconds
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ganflow.graph import StepGraph

Kind = Literal[
    "value", "reused", "loss", "backward", "clip", "step", "clamp", "average", "state", "decide", "data", "elsewhere"
]


@dataclass(frozen=True)
class Row:
    """A value in one update, or something that is done beside values. Numbers are per iteration, times in seconds.

    Args:
        what: the node, or such as ``step D``.
        label: how it is called: the definition's name, or the expression.
        kind: ``reused`` a value of an earlier update that this one's backward pass goes through; ``backward`` what no
            value's part of a backward pass is; ``elsewhere`` what is left of the iteration.
        mode: how gradient treats the value, as in pictures; empty for what is no value.
        where: file and line.
        runs: how often it ran.
        forward_flops, backward_flops: ``None`` where they could not be counted.
        value_bytes, kept_bytes: of one run; see ``spending.Spent``.
        forward, backward: time of its evaluation, and of the part of this update's backward passes that it caused.
    """

    what: str
    label: str
    kind: Kind
    mode: str = ""
    shape: str = ""
    where: str = ""
    runs: float = 0.0
    forward_flops: float | None = 0.0
    backward_flops: float | None = 0.0
    value_bytes: int | None = 0
    kept_bytes: int | None = 0
    forward: float = 0.0
    backward: float = 0.0

    @property
    def time(self) -> float:
        return self.forward + self.backward

    @property
    def flops(self) -> float:
        return (self.forward_flops or 0.0) + (self.backward_flops or 0.0)


@dataclass(frozen=True)
class Section:
    """One phase of the iteration: an update, a group of them, or what is between them.

    Args:
        name: of the phase, as in the plan; empty for what belongs to none.
        runs: how often it ran per iteration.
        peak: the most bytes that were allocated at one time in it, above what was at the iteration's start.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    runs: float = 1.0
    peak: int | None = None

    @property
    def time(self) -> float:
        return sum(r.time for r in self.rows)


@dataclass(frozen=True)
class Saving:
    """FLOPs that the plan does not spend, and why; ``counted``: the textbook loop measured beside it spends them."""

    why: str
    flops: float
    counted: bool = True


@dataclass(frozen=True)
class Textbook:
    """The same iterations without freezing, each right beside one of the plan's.

    Args:
        seconds: of an iteration, median, waits for data left out.
        ratio, low, high: its time divided by the plan's: median, and the middle half of the pairs.
        pairs: how many there were.
        flops: of an iteration; ``None`` where they could not be counted.
        peak: as of a section, of the whole iteration.
    """

    seconds: float
    ratio: float
    low: float
    high: float
    pairs: int
    flops: float | None
    peak: int | None


@dataclass(frozen=True)
class Profile:
    """Where the time, the FLOPs and the bytes of an iteration go.

    Args:
        device, data: on which device, and what the batches were.
        graph: of what was profiled.
        clock: ``cpu`` if times of rows are the host's, ``device`` if they are those of the device's kernels.
        seconds: of an iteration as it was profiled, the mean; the times of all rows add up to it.
        plain: the same without the profiler, waits for data left out: median, and the middle half.
        forwards: network -> forward passes per iteration.
        notes: what has to be said of the numbers.
        trace: of one iteration, in Chrome's format.
    """

    name: str
    graph: StepGraph = field(repr=False)
    device: str
    clock: Literal["cpu", "device"]
    data: str
    batch_size: int
    warmup: int
    iterations: int
    seconds: float
    plain: tuple[float, float, float]
    sections: tuple[Section, ...]
    flops: float | None
    peak: int | None
    textbook: Textbook | None
    savings: tuple[Saving, ...]
    forwards: Mapping[str, int]
    notes: tuple[str, ...] = ()
    trace: str = ""

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(r for s in self.sections for r in s.rows)

    def share(self, seconds: float) -> float:
        """Of an iteration, in [0, 1]."""
        return seconds / self.seconds if self.seconds else 0.0
