"""Rows of a run -> what is drawn: which series share a chart, in which colour, under which name.

for group in groups(run):
    for chart in group.charts:
        chart.title, [line.label for line in chart.lines]
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ganflow.diagnosis import Series, series, tagged
from ganflow.report.reading import RunData

TOGETHER = 5.0  # terms of one update share a chart if their sizes differ by no more
WIDE = 50.0  # from this ratio on a scale is logarithmic
MOST = 8  # lines in one chart
_BY_TERM = {
    "grad_share": "Share of each term in the gradient of", "grad_at": "Gradient of each term at",
    "grad_term": "Gradient of each term of", "grad_cosine": "Cosine between the terms of",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One series.

    Args:
        label: what it is.
        points: (step, value), NaN and infinities included.
        network: number of the network whose colour it has, -1 for none.
        dash: which of the line styles, 0 is solid.
    """

    label: str
    points: Series
    network: int = -1
    dash: int = 0


@dataclass(frozen=True)
class Chart:
    """Lines over the same steps.

    Args:
        title, note: above and below it.
        bounds: of the scale, where it is known.
        marks: horizontal lines that help to read it; ``band``: what is usual.
    """

    title: str
    lines: tuple[Line, ...]
    note: str = ""
    bounds: tuple[float, float] | None = None
    marks: tuple[float, ...] = ()
    band: tuple[float, float] | None = None

    @property
    def logarithmic(self) -> bool:
        """Positive throughout, and over more than one size."""
        values = [v for line in self.lines for _, v in line.points if math.isfinite(v)]
        return self.bounds is None and bool(values) and min(values) > 0 and max(values) > WIDE * min(values)


@dataclass(frozen=True)
class Group:
    """Charts under one heading."""

    title: str
    charts: tuple[Chart, ...]


def groups(run: RunData) -> list[Group]:
    """All that was logged, in the order in which it is read."""
    found = {
        "Held-out metrics": [Chart(name, (Line(name, s),)) for name, s in tagged(run.rows, "metric/").items()],
        "Losses": list(_losses(run)),
        "Health": list(_health(run)),
        "Gradients": list(_gradients(run)),
        "Learning rate and speed": list(_rest(run)),
    }
    return [Group(title, tuple(charts)) for title, charts in found.items() if charts]


def number(run: RunData, name: str) -> int:
    """Which network: that of the name, or of the update of this name, which trains one."""
    names = list(run.networks)
    trained = next((t for u, t in run.updates.items() if name in (u, u.replace("/", "."))), ())
    own = name.split("/")[-1] if name not in names else name
    found = own if own in names else trained[0] if len(trained) == 1 else ""
    return names.index(found) if found in names else -1


def _losses(run: RunData) -> Iterator[Chart]:
    """Of each update what it minimizes, then its terms, which are logged before it."""
    terms: list[str] = []
    found = tagged(run.rows, "loss/")
    for name, points in found.items():
        if name not in run.updates:
            terms.append(name)
            continue
        same = [t for t in terms if found[t] == points]
        alone = f", its only term {same[0]}" if same and terms == same else ""
        yield Chart(name, (Line(name, points, number(run, name)),), f"what update {name} minimizes{alone}")
        yield from _terms(run, name, [] if alone else [t for t in terms if t != name], found)
        terms = []
    for name in terms:
        yield Chart(name, (Line(name, found[name]),))


def _terms(run: RunData, update: str, terms: Sequence[str], found: Mapping[str, Series]) -> Iterator[Chart]:
    """Together where they can be seen together, each without its weight."""
    own, note = number(run, update), f"terms of update {update}, without their weights"
    sizes = [_size(found[t]) for t in terms]
    if len(terms) > 1 and all(sizes) and max(sizes) <= TOGETHER * min(sizes):
        for start in range(0, len(terms), 4):
            some = terms[start : start + 4]
            yield Chart(", ".join(some), tuple(Line(t, found[t], own, k) for k, t in enumerate(some)), note)
        return
    for term in terms:
        yield Chart(term, (Line(term, found[term], own),), f"term of update {update}, without its weight")


def _size(points: Series) -> float:
    return max((abs(v) for _, v in points if math.isfinite(v)), default=0.0)


def _health(run: RunData) -> Iterator[Chart]:
    found = {kind: tagged(run.rows, f"health/{kind}/")
             for kind in ("accuracy_real", "accuracy_fake", "ranking", "diversity", "saturated", "grad_ratio",
                          "update_ratio")}  # fmt: skip
    for judge in dict.fromkeys([*found["accuracy_real"], *found["accuracy_fake"]]):
        lines = [Line(label, found[kind][judge], number(run, judge), k)
                 for k, (kind, label) in enumerate((("accuracy_real", "real"), ("accuracy_fake", "generated")))
                 if judge in found[kind]]  # fmt: skip
        yield Chart(f"How often {judge} is right", tuple(lines), "1: always, 0.5: as often as a coin", (0, 1), (0.5,))
    for judge, points in found["ranking"].items():
        yield Chart(f"How often {judge} puts real above generated", (Line(judge, points, number(run, judge)),),
                    "1: always, 0.5: as often as a coin", (0, 1), (0.5,))  # fmt: skip
    for lines in _together(run, found["diversity"]):
        yield Chart("Diversity", lines, "distance between generated samples, real ones have 1; near 0 is collapse",
                    marks=(1.0, 0.0))  # fmt: skip
    for lines in _together(run, found["saturated"]):
        yield Chart("Saturated outputs", lines, "share of numbers beyond ±0.99", (0, 1))
    for lines in _together(run, found["update_ratio"]):
        yield Chart("Size of an iteration's step", lines, "change of the weights / weights; shaded: usual",
                    band=(1e-4, 1e-2))  # fmt: skip
    for lines in _together(run, found["grad_ratio"]):
        yield Chart("Gradient of one player / the other", lines, "norms of their updates' gradients")


def _gradients(run: RunData) -> Iterator[Chart]:
    norms, clipped = tagged(run.rows, "grad_norm/"), tagged(run.rows, "grad_norm_clipped/")
    for name, points in norms.items():
        lines = [Line("norm", points, number(run, name))]
        if name in clipped:
            lines.append(Line("clipped", clipped[name], number(run, name), 1))
        yield Chart(f"Gradient of {name}", tuple(lines), "norm over all that the update trains")
    for kind, what in _BY_TERM.items():
        owners: dict[str, dict[str, Series]] = {}
        for tag, points in tagged(run.rows, f"{kind}/").items():
            owner, _, term = tag.rpartition("/")
            owners.setdefault(owner, {})[term] = points
        for owner, found in owners.items():
            bounds = {"grad_share": (0.0, 1.0), "grad_cosine": (-1.0, 1.0)}.get(kind)
            for lines in _together(run, found, owner):
                yield Chart(f"{what} {owner}", lines, bounds=bounds)


def _together(run: RunData, found: Mapping[str, Series], owner: str = "") -> Iterator[tuple[Line, ...]]:
    """As few charts as can be read; lines of one colour have different dashes."""
    names = list(found)
    for start in range(0, len(names), MOST):
        used: dict[int, int] = {}
        lines = []
        for name in names[start : start + MOST]:
            own = number(run, owner or name)
            lines.append(Line(name, found[name], own, used.get(own, 0)))
            used[own] = used.get(own, 0) + 1
        yield tuple(lines)


def _rest(run: RunData) -> Iterator[Chart]:
    for lines in _together(run, tagged(run.rows, "lr/")):
        yield Chart("Learning rate", lines)
    changing = {n: s for n, s in tagged(run.rows, "weight/").items() if len({v for _, v in s}) > 1}
    for lines in _together(run, changing):
        yield Chart("Weights of terms", lines)
    if points := series(run.rows, "time/images_per_second"):
        yield Chart("Samples per second", (Line("samples per second", points),))
