"""Static checks over an Experiment and its StepGraph: findings with a stable code, a place and the right cure.

for finding in check_graph(graph, experiment):
    print(finding)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ganflow.errors import GanflowError
from ganflow.experiment import Diagnostic, Experiment
from ganflow.graph import Node, StepGraph, UpdatePlan, ancestors, in_order
from ganflow.modes import Modes, modes_of


def raise_first_error(findings: Iterable[Diagnostic]) -> None:
    """Raise the first finding of level ``error``."""
    for f in findings:
        if f.level == "error":
            raise GanflowError(f.message, location=f.location, hint=f.hint, code=f.code)


def check_graph(graph: StepGraph, experiment: Experiment) -> list[Diagnostic]:
    """Every finding over the graph, in the order of the updates."""
    found: list[Diagnostic] = []
    modes = {u.name: modes_of(graph.nodes, [u.loss], frozenset(u.moves)) for g in graph.groups for u in g}
    for update in graph.updates:
        found += _missing_optimizers(experiment, update)
        found += _starved_networks(graph, update, modes[update.name])
        found += _starved_terms(graph.nodes, update, modes[update.name])
        found += _whole_batch(graph.nodes, update, modes[update.name])
    found += _orphans(graph, experiment)
    return found


def _starved_networks(graph: StepGraph, update: UpdatePlan, modes: Modes) -> Iterator[Diagnostic]:
    nodes = graph.nodes
    trained = {n for s in modes.carrying for n in nodes[s].networks if not nodes[s].frozen}
    for network in update.networks:
        parts = [t for t in update.trains if t.split(".")[0] == network]
        if not trained & {network, *(n for t in parts for n in graph.shared.get(t, ()))}:
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
    """A term that is cut off is a mistake; one that what is trained does not enter at all is only a constant."""
    for term in update.terms:
        if term.node in modes.carrying:
            continue
        above = [nodes[i] for i in ancestors(nodes, [term.node])]
        trains, node = ", ".join(update.trains), nodes[term.node]
        if not any(set(a.networks) & modes.trained for a in above):
            yield Diagnostic(
                "warning", "constant-term",
                f"term {term.name} of update {update.name} does not depend on what it trains ({trains}): "
                "it changes the logged loss and nothing else", node.location, "leave it out, if that was not meant",
            )  # fmt: skip
            continue
        cut = next((a for a in above if a.kind == "detach"), None)
        hint = f"gradient passes through networks that {update.name} does not train; no detach is needed for that"
        if cut is not None:
            hint = f"`{cut.text}` ({cut.location}) cuts it; {hint}"
        yield Diagnostic(
            "error", "starved-term",
            f"term {term.name} of update {update.name} has no gradient path to what it trains ({trains})",
            node.location, hint,
        )  # fmt: skip


def _whole_batch(nodes: Mapping[str, Node], update: UpdatePlan, modes: Modes) -> Iterator[Diagnostic]:
    """A permutation of the batch has no meaning in a part of it."""
    for node in (nodes[n] for n in modes.slice if update.microbatches > 1):
        if node.kind == "draw" and node.target == "perm":
            yield Diagnostic(
                "error", "microbatches", f"`{node.text}` orders the whole batch, and update {update.name} sees parts",
                node.location, f"drop {update.name}/Update.microbatches, or the permutation",
            )  # fmt: skip


def _missing_optimizers(experiment: Experiment, update: UpdatePlan) -> Iterator[Diagnostic]:
    for name in update.networks:
        network = experiment.networks[name]
        if network.derived:
            yield Diagnostic(
                "error", "derived", f"update {update.name} trains {name}, whose weights are a function of another's",
                update.location, f"train {network.ema_of or network.unroll_of} instead",
            )  # fmt: skip
        elif network.optimizer is None and not update.own_optimizer:
            yield Diagnostic(
                "error", "no-optimizer", f"update {update.name} trains {name}, which has no optimizer",
                network.location, f"bind one: {name}/Network.optimizer = @Adam (or Network.optimizer for all)",
            )  # fmt: skip
        if not network.trainable:
            yield Diagnostic(
                "error", "not-trainable", f"update {update.name} trains {name}, which is declared trainable = False",
                network.where.get("trainable", network.location), f"drop {name} from its `trains`, or the declaration",
            )  # fmt: skip


def _orphans(graph: StepGraph, experiment: Experiment) -> Iterator[Diagnostic]:
    """Networks that appear in a loss, are trainable, and that no update trains."""
    owned = {n for u in graph.updates for n in u.moves}
    losses = in_order(graph.nodes, [u.loss for u in graph.updates])
    read = {n for s in losses for n in graph.nodes[s].networks}
    for name in (n for n in graph.networks if n in read):
        network = experiment.networks[name]
        if name not in owned and network.trainable and not network.derived:
            yield Diagnostic(
                "error", "no-owner", f"network {name} is used in a loss and trainable, but no update trains it",
                network.location, f"declare {name}/Update.minimize, or {name}/Network.trainable = False",
            )  # fmt: skip
