"""FLOPs and bytes of the iterations that were profiled, where not every update runs in each of them.

    cost, saved = counted(experiment, inspection, [{"D": True}, {"D": False}])
    cost.spent["D", "fake_B"]         # per iteration: half of what it costs when D runs
    cost.spent["G", "fake_B"]         # with its forward in the iterations in which G evaluates it itself

An update that is skipped changes what the others evaluate, so each kind of iteration is counted by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ganflow.cost import Cost, measure
from ganflow.experiment import Experiment
from ganflow.inspection import Inspection
from ganflow.profile.model import Saving
from ganflow.profile.rows import savings
from ganflow.scheduler import plan
from ganflow.spending import mean_spent


def counted(
    experiment: Experiment, inspection: Inspection, iterations: Sequence[Mapping[str, bool]]
) -> tuple[Cost, tuple[Saving, ...]]:
    """What an iteration costs and what its plan saves, on average.

    Args:
        iterations: of each, the conditions that are decided before it starts.
    """
    graph, whole = inspection.graph, inspection.cost
    if not whole.spent or all(all(active.values()) for active in iterations):
        return whole, savings(graph, whole)
    kinds: dict[tuple[tuple[str, bool], ...], tuple[Cost, tuple[Saving, ...]]] = {}
    found = []
    for active in iterations:
        key = tuple(active.items())
        if key not in kinds:
            cost = whole if all(active.values()) else measure(experiment, graph, active=active)
            kinds[key] = cost, savings(plan(graph, active), cost)
        found.append(kinds[key])
    costs = [cost for cost, _ in found]
    unknown = next((cost for cost in costs if not cost.spent), None)
    if unknown is not None:
        return unknown, ()
    mean = replace(
        whole, values={k: v for cost in reversed(costs) for k, v in cost.values.items()},
        spent=mean_spent([c.spent for c in costs]), textbook=round(sum(c.textbook for c in costs) / len(costs)),
        textbook_spent=mean_spent([c.textbook_spent for c in costs]),
    )  # fmt: skip
    return mean, _mean_savings([saved for _, saved in found])


def _mean_savings(iterations: Sequence[Sequence[Saving]]) -> tuple[Saving, ...]:
    total: dict[tuple[str, bool], float] = {}
    for saving in (s for one in iterations for s in one):
        key = saving.why, saving.counted
        total[key] = total.get(key, 0.0) + saving.flops / len(iterations)
    return tuple(sorted((Saving(why, flops, known) for (why, known), flops in total.items()),
                        key=lambda s: not s.counted))  # fmt: skip
