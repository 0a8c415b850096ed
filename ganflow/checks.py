"""Static checks over an Experiment and its StepGraph: findings with a stable code, a place and the right cure.

for finding in check_graph(graph, experiment):
    print(finding)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

from ganflow.domains import check_domains
from ganflow.errors import GanflowError
from ganflow.experiment import Diagnostic, Experiment
from ganflow.games import check_games, pulls
from ganflow.graph import Node, StepGraph, UpdatePlan, in_order
from ganflow.habits import check_habits
from ganflow.judges import check_judges
from ganflow.modes import Modes, modes_of
from ganflow.nodes import tensor_inputs
from ganflow.paths import cut_path
from ganflow.penalties import check_gradients, check_interpolation


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
        found += _starved_terms(graph.nodes, update, modes)
        found += _whole_batch(graph.nodes, update, modes[update.name])
    found += [*_orphans(graph, experiment), *check_gradients(graph)]
    if not any(f.level == "error" for f in found):
        wanted = {u.name: pulls(graph.nodes, u.loss, experiment) for u in graph.updates}
        found += [*check_habits(graph, experiment, modes), *check_games(graph, experiment, modes, wanted)]
        found += check_judges(graph, experiment, modes, wanted)
        found += [*check_domains(graph, experiment), *check_interpolation(graph), *_weightless(graph, experiment)]
    return found


def _starved_networks(graph: StepGraph, update: UpdatePlan, modes: Modes) -> Iterator[Diagnostic]:
    nodes = graph.nodes
    trained = {n for s in modes.carrying for n in nodes[s].networks if not nodes[s].frozen}
    for network in update.networks:
        holders = {h for t in update.trains if t.split(".")[0] == network for h in graph.shared.get(t, ())}
        if not trained & {network, *holders}:  # a call of one that holds its tensors reaches them
            reached = any(network in nodes[n].networks for n in modes.slice)
            why = (
                f"`{network}` is used in the loss, but every path from the loss to it is cut"
                if reached
                else f"nothing in the loss calls `{network}`"
            )
            hint = _cut_hint(nodes, update.loss, {network}) if reached else "minimize something made by it"
            message = f"update {update.name} trains {network}, which no term reaches: {why}"
            yield Diagnostic("error", "starved-network", message, nodes[update.loss].location, hint)


def _cut_hint(nodes: Mapping[str, Node], root: str, networks: Set[str]) -> str:
    found = cut_path(nodes, root, networks)
    return "" if found is None else f"the path: {found}\n{found.cure}"


def _starved_terms(
    nodes: Mapping[str, Node], update: UpdatePlan, all_modes: Mapping[str, Modes]
) -> Iterator[Diagnostic]:
    """A part of the sum that is cut off is a mistake; one that what is trained does not enter at all is a constant.

    A constant inside a named formula (the prior's own term of an MMD) belongs to the formula, and is noted.
    """
    modes, trains = all_modes[update.name], ", ".join(update.trains)
    names = {t.node: t.name for t in update.terms}
    for part in (p for p in addends(nodes, update.loss) if p not in modes.carrying):
        node = nodes[part]
        term = names.get(part, node.name) or f"`{node.text}`"
        if any(set(nodes[i].networks) & modes.trained for i in _made_of(nodes, part)):
            yield Diagnostic(
                "error", "starved-term",
                f"term {term} of update {update.name} has no gradient path to what it trains ({trains})",
                node.location, _cut_hint(nodes, part, modes.trained),
            )  # fmt: skip
            continue
        elsewhere = [name for name, other in all_modes.items() if part in other.carrying]
        hint = f"update {elsewhere[0]} trains on it" if elsewhere else "leave it out, if that was not meant"
        yield Diagnostic(
            "note" if elsewhere or part not in names else "warning", "constant-term",
            f"term {term} of update {update.name} does not depend on what it trains ({trains}): "
            "it changes the logged loss and nothing else", node.location, hint,
        )  # fmt: skip


def _made_of(nodes: Mapping[str, Node], root: str) -> list[str]:
    """What the numbers of a value come from: a draw `randn_like(x)` has x's shape and nothing else of it."""
    found = {root: None}
    stack = [root]
    while stack:
        node = nodes[stack.pop()]
        if node.kind != "draw" and node.target != "size":
            stack += [i for i in node.inputs if i not in found]
            found.update(dict.fromkeys(node.inputs))
    return list(found)


def addends(nodes: Mapping[str, Node], root: str) -> list[str]:
    """What a loss is the sum of, numbers left out; names are opened, so a sum under a name hides nothing."""
    found: dict[str, None] = {}
    seen, stack = {root}, [root]
    while stack:
        name = stack.pop()
        node = nodes[name]
        inner = tensor_inputs(nodes, node)
        product = node.target in ("*", "/") and len(inner) == 1 and (node.target == "*" or inner == [node.inputs[0]])
        if node.kind == "op" and (node.target in ("+", "-", "neg") or product):
            stack += [i for i in reversed(inner) if i not in seen]
            seen.update(inner)
        elif not node.host:
            found[name] = None
    return list(found)


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


def _weightless(graph: StepGraph, experiment: Experiment) -> Iterator[Diagnostic]:
    """An ablation, or a default that nobody raised: it is said, and no more."""
    others = ", ".join(f"{p.kind} {p.name}" for p in graph.pruned if p.kind != "term")
    for pruned in (p for p in graph.pruned if p.kind == "term"):
        named = experiment.definitions.get(pruned.name)
        yield Diagnostic(
            "note", "zero-weight", f"term {pruned.name} has weight 0 ({pruned.reason}) and is left out",
            named.location if named else experiment.location, f"left out with it: {others}" if others else "",
        )  # fmt: skip


def _trained(experiment: Experiment, update: str) -> set[str]:
    return {t.split(".")[0] for t in experiment.updates[update].trains}


def _orphans(graph: StepGraph, experiment: Experiment) -> Iterator[Diagnostic]:
    """Networks that appear in a loss, are trainable, and that no update trains."""
    owned = {n for u in graph.updates for n in u.moves}
    losses = in_order(graph.nodes, [u.loss for u in graph.updates])
    read = {n for s in losses for n in graph.nodes[s].networks}
    for name in (n for n in graph.networks if n in read):
        network = experiment.networks[name]
        if name in owned or not network.trainable or network.derived:
            continue
        idle = [p.name for p in graph.pruned if p.kind == "update" and name in _trained(experiment, p.name)]
        if idle:
            update = experiment.updates[idle[0]]
            yield Diagnostic(
                "error", "no-loss",
                f"network {name} is used in a loss, and all that update {update.name} minimizes has the weight 0, so "
                "nothing trains it", update.where.get("minimize", update.location),
                f"give one term a weight other than 0, or declare {name}/Network.trainable = False",
            )  # fmt: skip
        else:
            yield Diagnostic(
                "error", "no-owner", f"network {name} is used in a loss and trainable, but no update trains it",
                network.location, f"declare {name}/Update.minimize, or {name}/Network.trainable = False",
            )  # fmt: skip
