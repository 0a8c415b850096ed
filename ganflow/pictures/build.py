"""StepGraph -> Picture: lanes in the order of the iteration, then what is done differently where a condition fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ganflow.graph import Phase, StepGraph
from ganflow.pictures.draft import Costs
from ganflow.pictures.lanes import drafted
from ganflow.pictures.model import Arrow, Lane, Moment, Picture
from ganflow.views import outcome, title, without


@dataclass
class _Lanes:
    costs: Costs
    lanes: list[Lane] = field(default_factory=list)
    reuses: list[Arrow] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)

    def sequence(self, graph: StepGraph, phases: Sequence[Phase], made: dict[str, str], under: str = "") -> None:
        for phase in phases:
            number = str(len(self.lanes) + 1)
            lane, reuses, moments = drafted(graph, phase, number, costs=self.costs, made=made, under=under)
            self.lanes.append(lane)
            self.reuses += reuses
            self.moments += moments
            for arm in phase.arms:
                said = outcome(phase, arm).rstrip(":")
                self.sequence(graph, arm.phases, dict(made), f"{under}, {said}" if under else said)


def picture_of(graph: StepGraph, costs: Costs | None = None, footer: str = "") -> Picture:
    """What there is to see of a step graph.

    Args:
        costs: (phase, node) -> (shape, cost), both as text, where they were measured.
        footer: lines about the total cost.
    """
    drawn = _Lanes(costs or {})
    made: dict[str, str] = {}
    drawn.sequence(graph, graph.phases, made)
    for skipped, other, phases in without(graph):
        drawn.costs = {}
        drawn.sequence(other, phases, dict(made), f"without {', '.join(skipped)}")
    name, summary = title(graph).split(" · ", 1)
    networks = (*graph.networks, *(a.network for a in graph.averages if a.network not in graph.networks))
    pruned = tuple(f"{p.kind} {p.name}: {p.reason}" for p in graph.pruned)
    return Picture(name, summary, networks, tuple(drawn.lanes), tuple(drawn.reuses), tuple(drawn.moments), pruned,
                   tuple(filter(None, footer.splitlines())))  # fmt: skip
