"""Static checks over an Experiment and its StepGraph: findings with a stable code, a place and the right cure.

for finding in check_graph(graph, experiment, modes):
    print(finding)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ganflow.errors import GanflowError, Location
from ganflow.experiment import Diagnostic, Experiment
from ganflow.graph import Node, StepGraph, UpdatePlan, ancestors
from ganflow.modes import Modes


def raise_first_error(findings: Iterable[Diagnostic]) -> None:
    """Raise the first finding of level ``error``."""
    for f in findings:
        if f.level == "error":
            raise GanflowError(f.message, location=f.location, hint=f.hint, code=f.code)


def check_supported(experiment: Experiment) -> None:
    """Refuse what the language has and this version cannot run yet, rather than train something else."""
    for what, location in _unsupported(experiment):
        raise GanflowError(
            f"{what} is part of the language, but this version cannot run it yet", location=location, code="not-yet"
        )


def _unsupported(experiment: Experiment) -> Iterator[tuple[str, Location]]:
    for state in experiment.states.values():
        yield f"`{state.name}/State`", state.location
    for n in experiment.networks.values():
        for parameter in ("ema_of", "unroll_of", "buffers_in", "clamp"):
            if getattr(n, parameter) is not None:
                yield f"`{n.name}/Network.{parameter}`", n.where.get(parameter, n.location)
    for u in experiment.updates.values():
        given = {"when": u.when is not None, "every": u.every != 1, "repeat": u.repeat != 1, "fresh": bool(u.fresh),
                 "optimizer": u.optimizer is not None, "microbatches": u.microbatches != 1}  # fmt: skip
        for parameter, used in given.items():
            if used:
                yield f"`{u.name}/Update.{parameter}`", u.where.get(parameter, u.location)


def check_graph(graph: StepGraph, experiment: Experiment, modes: Sequence[Sequence[Modes]]) -> list[Diagnostic]:
    """Every finding, in the order of the updates."""
    found: list[Diagnostic] = []
    for phase, members in zip(graph.phases, modes, strict=True):
        for update, m in zip(phase.updates, members, strict=True):
            found += _starved_networks(graph.nodes, update, m)
            found += _starved_terms(graph.nodes, update, m)
            found += _missing_optimizers(experiment, update)
    found += _orphans(graph, experiment, modes)
    return found


def _starved_networks(nodes: Mapping[str, Node], update: UpdatePlan, modes: Modes) -> Iterator[Diagnostic]:
    trained = {n for s in modes.carrying for n in nodes[s].networks if not nodes[s].frozen}
    for network in update.networks:
        if network not in trained:
            reached = any(network in nodes[n].networks for n in modes.slice)
            why = (
                f"`{network}` is used in the loss, but every path from the loss to it is cut"
                if reached
                else f"nothing in the loss calls `{network}`"
            )
            yield Diagnostic(
                "error", "starved-network", f"update {update.name} trains {network}, which no term reaches: {why}",
                update.location, _cut_hint(nodes, modes, network) if reached else "minimize something made by it",
            )  # fmt: skip


def _cut_hint(nodes: Mapping[str, Node], modes: Modes, network: str) -> str:
    for name in modes.slice:
        node = nodes[name]
        inner = ancestors(nodes, [name]) if node.kind == "detach" else set()
        if any(network in nodes[i].networks for i in inner):
            return (
                f"it is cut by `{node.text}` in `{node.owner}` ({node.location})\n"
                "drop the detach: ganflow detaches by itself where an update must not train a network"
            )
    return ""


def _starved_terms(nodes: Mapping[str, Node], update: UpdatePlan, modes: Modes) -> Iterator[Diagnostic]:
    for term in update.terms:
        if term.node in modes.carrying:
            continue
        node = nodes[term.node]
        cut = next((nodes[i] for i in ancestors(nodes, [term.node]) if nodes[i].kind == "detach"), None)
        hint = f"gradient passes through networks that {update.name} does not train; no detach is needed for that"
        if cut is not None:
            hint = f"`{cut.text}` ({cut.location}) cuts it; {hint}"
        trains = ", ".join(update.trains)
        yield Diagnostic(
            "error", "starved-term",
            f"term {term.name} of update {update.name} has no gradient path to what it trains ({trains})",
            node.location, hint,
        )  # fmt: skip


def _missing_optimizers(experiment: Experiment, update: UpdatePlan) -> Iterator[Diagnostic]:
    for name in update.networks:
        network = experiment.networks[name]
        if network.optimizer is None:
            yield Diagnostic(
                "error", "no-optimizer", f"update {update.name} trains {name}, which has no optimizer",
                network.location, f"bind one: {name}/Network.optimizer = @Adam (or Network.optimizer for all)",
            )  # fmt: skip
        if not network.trainable:
            yield Diagnostic(
                "error", "not-trainable", f"update {update.name} trains {name}, which is declared trainable = False",
                network.where.get("trainable", network.location), f"drop {name} from its `trains`, or the declaration",
            )  # fmt: skip


def _orphans(graph: StepGraph, experiment: Experiment, modes: Sequence[Sequence[Modes]]) -> Iterator[Diagnostic]:
    """Networks that appear in a loss, are trainable, and that no update trains."""
    owned = {n for u in graph.updates for n in u.networks}
    for name in graph.networks:
        network = experiment.networks[name]
        if name not in owned and network.trainable and not network.derived:
            yield Diagnostic(
                "error", "no-owner", f"network {name} is used in a loss and trainable, but no update trains it",
                network.location, f"declare {name}/Update.minimize, or {name}/Network.trainable = False",
            )  # fmt: skip
