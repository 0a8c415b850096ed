"""Columns common to all lanes, and the channels between them in which arrows go up and down.

From left to right a channel holds the shapes of the values that come out, tracks down to later lanes, the tracks of
each lane, tracks into reused values, and right before the boxes weights and ✂.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ganflow.pictures.bands import Band
from ganflow.pictures.grid import Slot
from ganflow.pictures.model import Arrow
from ganflow.pictures.sizes import LABEL, text_width

TRACK, SCISSORS_WIDTH, TIP = 9.0, 20.0, 9.0
LONGEST_LABEL = 16


@dataclass(frozen=True)
class Columns:
    """Where columns and tracks are.

    Args:
        left, right: edges of each column.
        first_track: of the lanes' own tracks, in the channel right of each column.
        down: box -> the track in which its value goes down to later lanes.
        enter: reused value -> the track from which it is entered; without one it is entered from above.
        end: where the last one ends.
    """

    left: Mapping[int, float]
    right: Mapping[int, float]
    first_track: Mapping[int, float]
    down: Mapping[str, float]
    enter: Mapping[str, float]
    end: float


@dataclass(frozen=True)
class _Channel:
    """What is in it, before its place is known."""

    stub: float
    down: Sequence[str]
    tracks: int
    enter: Sequence[str]
    tip: float


def columns_of(bands: Sequence[Band], reuses: Sequence[Arrow], start: float) -> Columns:
    """Columns from ``start`` on."""
    used = [c for band in bands for c, _ in band.slots] or [0]
    left, right, first_track = dict[int, float](), dict[int, float](), dict[int, float]()
    down, enter = dict[str, float](), dict[str, float]()
    x = start
    for column in range(min(used) - 1, max(used) + 1):
        left[column] = x
        x += max((b.sizes[s.id].width for b in bands for c, s in b.slots if c == column and s.box), default=0.0)
        right[column] = x
        channel = _channel(bands, reuses, column)
        at = x + channel.stub + TRACK
        for sources, count, tracks in ((channel.down, 0, down), (channel.enter, channel.tracks, enter)):
            at += TRACK * count
            tracks.update({box: at + TRACK * i for i, box in enumerate(sources)})
            at += TRACK * len(sources)
            first_track.setdefault(column, at)
        if column < min(used) and not channel.enter or column == max(used) and not channel.down:
            continue  # nothing turns at the very left or right
        x = at + channel.tip
    return Columns(left, right, first_track, down, enter, x)


def _channel(bands: Sequence[Band], reuses: Sequence[Arrow], column: int) -> _Channel:
    """The channel right of a column."""
    slots = {s.id: (band, c) for band in bands for c, s in band.slots}
    here = [s for band in bands for s in band.grid.columns.get(column, ())]
    ends = [e.arrow for b in bands for e in b.grid.links if slots[e.slots[-1]][1] == column + 1]
    labels = [text_width(short(a), LABEL) + 8 for a in ends if a.label]
    marks = [SCISSORS_WIDTH for a in ends if a.cut]
    down = dict.fromkeys(a.source for a in reuses if slots[a.source][1] == column)
    entered = [a.target for a in reuses if slots[a.target][1] == column + 1]
    return _Channel(
        stub=max((text_width(stub_text(s), LABEL) + 10 for s in here if stub_text(s)), default=2.0),
        down=list(down),
        tracks=max((band.tracks[column].count for band in bands if column in band.tracks), default=0),
        enter=[t for t in dict.fromkeys(entered) if not slots[t][0].is_top(column + 1, t)],
        tip=max([*labels, *marks, 4.0 if ends else 0.0]) + TIP,
    )


def stub_text(slot: Slot) -> str:
    """The shape of a value, where it leaves its box."""
    return slot.box.shape if slot.box and slot.box.shape != "scalar" else ""


def short(arrow: Arrow) -> str:
    """Its label, if there is room for it; the details of a loss say all of it."""
    return arrow.label if len(arrow.label) <= LONGEST_LABEL else "… ×"
