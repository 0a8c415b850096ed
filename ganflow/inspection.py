"""All that can be known before anything runs: the step graph, its shapes and cost, and every finding.

inspection = inspect(ganflow.load("experiments/pix2pix.gin"))
print(inspection.plan)
for finding in inspection.findings:
    print(finding)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from ganflow.build import optimizer
from ganflow.checks import raise_first_error
from ganflow.cost import Cost, cost_cells, cost_footer, finding_of, measure
from ganflow.errors import GanflowError
from ganflow.experiment import Diagnostic, Experiment
from ganflow.graph import StepGraph
from ganflow.modules import check_modules, meta_networks
from ganflow.pictures import render
from ganflow.rates import check_rates
from ganflow.scheduler import build
from ganflow.settings import Settings, settings_of
from ganflow.sharing import check_parts, shared_tensors
from ganflow.step import Counters
from ganflow.traits import check_traits
from ganflow.unused import unused
from ganflow.validation import check_values


@dataclass(frozen=True)
class Inspection:
    """What :func:`inspect` found.

    Args:
        graph: the step graph.
        cost: shapes and FLOPs, empty without ``shapes``.
        findings: errors, warnings and notes, in this order.
    """

    graph: StepGraph
    cost: Cost
    findings: tuple[Diagnostic, ...]

    @property
    def plan(self) -> str:
        """The plan with shapes and cost, as ``ganflow plan`` prints it."""
        return self.shown("text").removesuffix("\n")

    def shown(self, form: str) -> str:
        """The plan as ``text``, ``mermaid``, ``dot``, ``svg``, ``html`` or ``json``, with shapes and cost.

        Raises:
            GanflowError: no such format.
        """
        costs, footer = cost_cells(self.graph, self.cost), cost_footer(self.graph, self.cost)
        return render(self.graph, form, costs=costs, footer=footer)


def inspect(experiment: Experiment, *, shapes: bool = True) -> Inspection:
    """Schedule, measure on meta tensors, and collect what is wrong, suspicious or odd.

    Raises:
        GanflowError: what makes a step graph impossible, such as an unknown name.
    """
    settings = settings_of(experiment)
    check_values(experiment, settings)
    graph = build(experiment)
    rates = check_optimizers(experiment, graph, settings)
    networks, notes = _built(experiment, graph) if shapes else (None, [])
    if networks is not None and (shared := _shared(graph, networks)):
        graph = build(experiment, shared=shared)
    found, cost = [*graph.diagnostics, *rates, *notes], Cost(notes=tuple(notes))
    if networks is not None and not _errors(found):
        found += check_modules(experiment, graph, networks)
        cost = cost if _errors(found) else measure(experiment, graph, networks=networks)
    found += [n for n in cost.notes if n.code == "untraceable" and n not in found]
    found += [*cost.errors, *check_traits(graph, experiment, cost.traits), *unused(experiment)]
    order = ("error", "warning", "note")
    return Inspection(graph, cost, tuple(sorted(found, key=lambda f: order.index(f.level))))


def _built(experiment: Experiment, graph: StepGraph) -> tuple[dict[str, torch.nn.Module] | None, list[Diagnostic]]:
    """The networks on the meta device; one that cannot be built there is a note, for it runs all the same."""
    if _errors(f for f in graph.diagnostics if f.code != "starved-network"):
        return None, []
    try:
        return meta_networks(experiment, graph), []
    except GanflowError as error:
        finding = finding_of(error)
        if finding.level == "error":
            raise
        return None, [finding]


def _shared(graph: StepGraph, networks: Mapping[str, torch.nn.Module]) -> dict[str, tuple[str, ...]]:
    try:
        check_parts(graph, networks)
    except GanflowError:  # said by `check_modules`
        return {}
    return shared_tensors(graph, networks)


def _errors(findings: Iterable[Diagnostic]) -> bool:
    return any(f.level == "error" for f in findings)


def check_optimizers(experiment: Experiment, graph: StepGraph, settings: Settings) -> list[Diagnostic]:
    """Make each on a parameter of no size: ``Adam.lr = 'fast'`` is found without building a network."""
    found: list[Diagnostic] = []
    for name, update in {key: u for u in graph.updates for key in u.steps}.items():
        declared = (experiment.updates[update.name] if update.own_optimizer else experiment.networks[name]).optimizer
        if declared is not None:
            parameter = torch.nn.Parameter(torch.empty(0, device="meta"))
            _, changing = optimizer(experiment, declared, name, [parameter], Counters())
            found += check_rates(name, declared, changing, settings)
    return found


def refuse(findings: Sequence[Diagnostic], *, strict: bool = False) -> None:
    """Raise the first error; with ``strict``, the first warning too."""
    raise_first_error(findings)
    for f in findings:
        if strict and f.level == "warning":
            raise GanflowError(f.message, location=f.location, code=f.code,
                               hint=f"{f.hint}\n(a warning, refused because of --strict)".strip())  # fmt: skip
