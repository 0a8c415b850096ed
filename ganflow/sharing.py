"""Parameters are identified by tensor: who holds one, who owns it, and which networks move when it steps.

shared = shared_tensors(graph, networks)         # {"A": ("B",)}: training A moves B
parameters = owned(experiment, networks)         # network -> what its optimizer holds, each tensor once
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from ganflow.errors import GanflowError
from ganflow.experiment import Experiment
from ganflow.graph import StepGraph, UpdatePlan


def part_of(networks: Mapping[str, nn.Module], trained: str) -> nn.Module | nn.Parameter:
    """The network, sub-module or parameter ``G.head`` that an update trains."""
    network, _, path = trained.partition(".")
    module = networks[network]
    try:
        return module.get_submodule(path)
    except AttributeError:
        return module.get_parameter(path)


def trained_parameters(networks: Mapping[str, nn.Module], trains: Iterable[str]) -> list[nn.Parameter]:
    """Everything that these train, each tensor once."""
    found: dict[int, nn.Parameter] = {}
    for name in trains:
        part = part_of(networks, name)
        parameters = [part] if isinstance(part, nn.Parameter) else part.parameters()
        found.update({id(p): p for p in parameters if p.requires_grad})
    return list(found.values())


def check_parts(graph: StepGraph, networks: Mapping[str, nn.Module]) -> None:
    """Every ``G.head`` that an update trains is there."""
    for update in graph.updates:
        for name in update.trains:
            try:
                part_of(networks, name)
            except AttributeError:
                network = name.split(".")[0]
                known = ", ".join(f"{network}.{n}" for n, _ in networks[network].named_children())
                raise GanflowError(
                    f"update {update.name} trains `{name}`, but {network} has no such part", location=update.location,
                    hint=f"its parts: {known or 'none'}", code="unknown-part",
                ) from None  # fmt: skip


def shared_tensors(graph: StepGraph, networks: Mapping[str, nn.Module]) -> dict[str, tuple[str, ...]]:
    """Trained network or sub-module -> the other networks that hold some of its tensors."""
    holders: dict[int, set[str]] = {}
    for name, module in networks.items():
        for p in module.parameters():
            holders.setdefault(id(p), set()).add(name)
    found = {}
    for trained in dict.fromkeys(t for u in graph.updates for t in u.trains):
        held = set[str]().union(*(holders[id(p)] for p in trained_parameters(networks, [trained])))
        others = [n for n in networks if n in held and n != trained.split(".")[0]]
        if others:
            found[trained] = tuple(others)
    return found


def owned(experiment: Experiment, networks: Mapping[str, nn.Module]) -> dict[str, list[nn.Parameter]]:
    """Network -> the parameters that its optimizer holds: a shared tensor belongs to the first declared network."""
    taken: set[int] = set()
    found = {}
    for name in experiment.networks:
        if name not in networks or experiment.networks[name].derived:
            continue
        mine = [p for p in networks[name].parameters() if p.requires_grad and id(p) not in taken]
        taken |= {id(p) for p in mine}
        found[name] = mine
    return found


def check_owners(experiment: Experiment, updates: Iterable[UpdatePlan], networks: Mapping[str, nn.Module]) -> None:
    """An update that trains a shared tensor steps the optimizer that owns it.

    Raises:
        GanflowError: ``two-owners`` for an update that trains a network without the owner of one of its tensors.
    """
    owner = {id(p): name for name, parameters in owned(experiment, networks).items() for p in parameters}
    for update in updates:
        if update.own_optimizer:
            continue
        for p in trained_parameters(networks, update.trains):
            if owner[id(p)] not in update.networks:
                other, trains = owner[id(p)], ", ".join(update.trains)
                raise GanflowError(
                    f"update {update.name} trains {trains}, which shares tensors with {other}: they belong to the "
                    f"optimizer of {other}, which this update does not step", location=update.location,
                    code="two-owners", hint=f"add '{other}' to its trains, or give it an optimizer of its own",
                )  # fmt: skip
