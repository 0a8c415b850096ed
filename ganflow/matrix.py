"""Measured gradients beside what the plan says: term × network.

measured.row(update, term).cells["G"]          # Cell('some', norm=0.0012, must=True, used=True)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import nn

from ganflow.errors import Location
from ganflow.gradients import Gradient, Recorder, total
from ganflow.graph import StepGraph, Term, UpdatePlan
from ganflow.reach import Reach, differentiated, reach

Kind = Literal["none", "zero", "some", "non-finite"]
LEGEND = "· none   0 exactly zero   ! not finite   ✗ not what the plan says   (…) shared in a group, steps nothing"


@dataclass(frozen=True)
class Cell:
    """What one term gives one network.

    Args:
        norm: 2-norm over the network's parameters.
        must: the plan says that there is a gradient.
        used: the update trains the network, so what there is moves it.
        wrong: ``leak``: a gradient where the plan says none; ``starved``: none where it says some.
    """

    kind: Kind
    norm: float = 0.0
    must: bool = False
    used: bool = False
    wrong: Literal["", "leak", "starved"] = ""

    def __str__(self) -> str:
        text = {"none": "·", "zero": "0", "some": f"{self.norm:.1e}", "non-finite": "!"}[self.kind]
        if self.wrong:
            return f"✗ {text}"
        return text if self.used or self.kind == "none" else f"({text})"


@dataclass(frozen=True)
class Row:
    """One term of one update: network -> cell."""

    update: str
    term: str
    location: Location
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class Measured:
    """Gradients, and what the plan expects of them.

    Args:
        parameters: by update that trains them.
        taken: node of a host test -> its outcome in this iteration.
        locations: of the networks.
        forced: updates and states whose condition does not hold yet, measured all the same.
        skipped: those that failed when they were forced, and were left out.
    """

    graph: StepGraph
    networks: Mapping[str, nn.Module]
    parameters: Mapping[str, Sequence[nn.Parameter]]
    recorder: Recorder
    taken: Mapping[str, bool]
    locations: Mapping[str, Location]
    forced: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def updates(self) -> list[UpdatePlan]:
        """Those that ran."""
        return [u for u in self.graph.updates if u.name in self.recorder.seen]

    def reach(self, update: UpdatePlan, term: Term) -> Reach:
        groups = ([*p.updates] for p in self.graph.walk())
        group = next((g for g in groups if any(u.name == update.name for u in g)), [update])
        others = frozenset(n for u in group for n in u.moves)
        others |= differentiated(self.graph.nodes, {u.loss for u in group})
        return reach(self.graph.nodes, term.node, frozenset(update.moves), group=others, taken=self.taken)

    def trained(self, update: str, network: str) -> list[int]:
        """Places of the parameters of a network that an update trains."""
        mine = {id(p) for p in self.parameters[update]}
        return [i for i in self.places(network) if id(self.recorder.parameters[i]) in mine]

    def places(self, network: str) -> list[int]:
        return [i for i, names in enumerate(self.recorder.names) if network in names]

    def name(self, place: int, network: str = "") -> str:
        """``G.layers.0.bias``."""
        names = self.recorder.names[place]
        network = network or next(iter(names))
        return f"{network}.{names[network]}"

    def gradients(self, update: str, term: str) -> Sequence[Gradient | None]:
        """Of every parameter; ``None``: there is none."""
        return self.recorder.found.get((update, term), [None] * len(self.recorder.parameters))

    def row(self, update: UpdatePlan, term: Term) -> Row:
        expected = self.reach(update, term)
        cells = {n: self.cell(update, term, n, expected) for n in self.networks}
        return Row(update.name, term.name, self.graph.nodes[term.node].location, cells)

    def cell(self, update: UpdatePlan, term: Term, network: str, expected: Reach) -> Cell:
        found = self.gradients(update.name, term.name)
        mine = self.trained(update.name, network)
        planned = bool(mine) and network in expected.must
        # which term reaches which part of a network nobody can tell: one term that reaches it is enough
        others = () if network in update.trains else (self.gradients(update.name, t.name) for t in update.terms)
        elsewhere = any(g[i] is not None for g in others for i in mine)
        wrong: Literal["", "leak", "starved"] = "leak" if self.leaks(update, term, network, expected) else ""
        if planned and not elsewhere and all(found[i] is None for i in mine):
            wrong = "starved"
        there = [g for g in (found[i] for i in self.places(network)) if g is not None]
        used = bool(mine) and bool(self.holders(mine) & expected.may)
        return Cell(_kind(there), total(there), planned, used, wrong)

    def leaks(self, update: UpdatePlan, term: Term, network: str, expected: Reach) -> list[int]:
        """Parameters that get a gradient although no network that holds them should."""
        found = self.gradients(update.name, term.name)
        return [i for i in self.places(network) if found[i] is not None and not self.holders([i]) & expected.may]

    def holders(self, places: Sequence[int]) -> set[str]:
        return {n for i in places for n in self.recorder.names[i]}

    def trained_by_any(self, network: str) -> list[int]:
        """Places of the parameters of a network that some update trains."""
        return [i for i in self.places(network) if i in self.by_parameter]

    def never(self) -> set[int]:
        """Trained parameters that no term of an update that trains them gives a gradient."""
        return {i for i, found in self.by_parameter.items() if not any(found)}

    def dead(self) -> list[str]:
        """Trained parameters whose gradient is zero from every term that gives one, in networks that get others."""
        zero = {i for i, found in self.by_parameter.items()
                if any(found) and all(g is None or g.largest == 0 for g in found)}  # fmt: skip
        alive = {n for i, found in self.by_parameter.items() if any(found) and i not in zero for n in self.holders([i])}
        return [self.name(i) for i in sorted(zero) if self.holders([i]) & alive]

    @cached_property
    def by_parameter(self) -> Mapping[int, list[Gradient | None]]:
        """Place of a trained parameter -> its gradient from each term of the updates that train it."""
        collected: dict[int, list[Gradient | None]] = {}
        for update in self.updates:
            mine = {id(p) for p in self.parameters[update.name]}
            places = [i for i, p in enumerate(self.recorder.parameters) if id(p) in mine]
            for term in update.terms:
                found = self.gradients(update.name, term.name)
                for i in places:
                    collected.setdefault(i, []).append(found[i])
        return collected


def _kind(found: Sequence[Gradient]) -> Kind:
    if not found:
        return "none"
    if not all(g.finite for g in found):
        return "non-finite"
    return "zero" if all(g.largest == 0 for g in found) else "some"
