"""Events of torch's profiler -> whose time it was.

    found = attributed(profiler.events(), step.labels)
    found.times["G", "fake_B"]        # Time(runs=0, forward=0, backward=0.031): what G's backward pass did for it

Each value is evaluated in a range of its own. The backward pass has no such ranges, but autograd numbers the operations
of the forward pass, and the profiler says with each operation of a backward pass which number it differentiates: so it
is known in whose range that was made. What has no number, adding a gradient to those of a parameter, counts for the
operation before it, which computed that gradient.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.autograd import DeviceType

Key = tuple[str, str]

ITERATION = "iteration"
ENGINE = "autograd::engine::evaluate_function"
_BACKWARD_SCOPE = 1  # of a node that runs; it carries the number that was given in the forward pass
MICRO = 1e-6


@dataclass
class Time:
    """Seconds of one value, or of what else is done, in one phase."""

    runs: float = 0
    forward: float = 0.0
    backward: float = 0.0


@dataclass
class Attributed:
    """One iteration.

    Args:
        total: from the iteration's beginning to its end.
        times: (phase, what) -> time, in the order in which it happened.
    """

    total: float = 0.0
    times: dict[Key, Time] = field(default_factory=dict)

    def of(self, key: Key) -> Time:
        return self.times.setdefault(key, Time())

    @property
    def elsewhere(self) -> float:
        """What nothing claims: on a device, also the time in which it waited for the host."""
        return self.total - sum(t.forward + t.backward for t in self.times.values())


@dataclass(frozen=True)
class _Span:
    start: float
    end: float
    key: Key

    @property
    def backward(self) -> bool:
        return self.key[1].startswith("backward ")


def attributed(events: Iterable[Any], labels: Mapping[str, Key], *, on_device: bool = False) -> Attributed:
    """Who took how long in the iteration that these events are of.

    Args:
        labels: name of a range -> (phase, what).
        on_device: count the time of the kernels that were launched, rather than the host's.
    """
    host = sorted((e for e in events if e.device_type == DeviceType.CPU), key=lambda e: e.time_range.start)
    spans = [_Span(e.time_range.start, e.time_range.end, labels[e.name]) for e in host if e.name in labels]
    found = Attributed()
    for span in spans:
        found.of(span.key).runs += 1
    found.total = sum(e.time_range.end - e.time_range.start for e in host if e.name == ITERATION) * MICRO
    parts = _parts(host, spans)
    if on_device:
        _kernels(found, host, spans, parts)
    else:
        _durations(found, spans, [p for own in parts.values() for p in own])
    return found


def _parts(host: Sequence[Any], spans: Sequence[_Span]) -> dict[int, list[_Span]]:
    """Thread -> the operations of backward passes that ran in it, each with the value that it is due to."""
    makers: dict[tuple[int, int], str] = {}
    found: dict[int, list[_Span]] = {}
    starts, last = [s.start for s in spans], ""
    for e in host:
        span = _at(spans, starts, e.time_range.start)
        if span is None:
            continue
        engine = e.name.startswith(ENGINE)
        if not span.backward:
            if e.sequence_nr >= 0 and not engine and e.scope != _BACKWARD_SCOPE:
                makers[e.thread, e.sequence_nr] = span.key[1]  # the last one made it: those before only looked
        elif engine:
            own = found.setdefault(e.thread, [])
            if own and e.time_range.start < own[-1].end:
                continue  # a backward pass within one
            last = makers.get((e.fwd_thread, e.sequence_nr), last or span.key[1])
            own.append(_Span(e.time_range.start, e.time_range.end, (span.key[0], last)))
    return found


def _durations(found: Attributed, spans: Sequence[_Span], parts: Iterable[_Span]) -> None:
    for span in spans:
        found.of(span.key).forward += (span.end - span.start) * MICRO
    starts = [s.start for s in spans]
    for part in parts:
        span = _at(spans, starts, part.start)
        assert span is not None, "a part lies in a backward pass"
        if part.key != span.key:
            found.of(part.key).backward += (part.end - part.start) * MICRO
            found.of(span.key).forward -= (part.end - part.start) * MICRO


def _kernels(found: Attributed, host: Sequence[Any], spans: Sequence[_Span], parts: Mapping[int, list[_Span]]) -> None:
    starts = [s.start for s in spans]
    of_parts = {thread: [p.start for p in own] for thread, own in parts.items()}
    for e in host:
        seconds = sum(k.duration for k in e.kernels) * MICRO
        span = _at(spans, starts, e.time_range.start) if seconds else None
        if span is None:
            continue
        part = _at(parts.get(e.thread, []), of_parts.get(e.thread, []), e.time_range.start)
        if part is not None and part.key != span.key:
            found.of(part.key).backward += seconds
        else:
            found.of(span.key).forward += seconds


def _at(spans: Sequence[_Span], starts: Sequence[float], time: float) -> _Span | None:
    place = bisect_right(starts, time) - 1
    return spans[place] if place >= 0 and time < spans[place].end else None
