"""What an objective asks of a discriminator, or of what plays against it, that it cannot give.

    for finding in check_judges(graph, experiment, modes, wanted):      # update -> its pulls
        print(finding)      # warning[same-target], warning[maximized], warning[hinge-generator], warning[other-label]

Read off the pulls of ``games.py``. A judge that never sees anything real learns a constant; one that maximizes its own
mistakes has no floor; a generator behind a hinge stops learning where the hinge is flat.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ganflow.domains import shown_parts
from ganflow.experiment import Diagnostic, Experiment
from ganflow.games import CALLING, Pull, argument, mode_of, plain
from ganflow.graph import StepGraph, UpdatePlan
from ganflow.habits import Structure
from ganflow.modes import Modes
from ganflow.nodes import Node, ancestors, called_networks, tensor_inputs


def check_judges(
    graph: StepGraph, experiment: Experiment, modes: Mapping[str, Modes], wanted: Mapping[str, list[Pull]]
) -> Iterator[Diagnostic]:
    """Every finding; ``wanted``: update -> the pulls of its loss."""
    structure = Structure({n: plain(graph.nodes, v) for n, v in graph.nodes.items()})
    for judge in dict.fromkeys(n for u in graph.updates for n in u.networks):
        yield from _never_real(graph, judge, wanted, modes)
        yield from _other_labels(graph, experiment, judge, modes)
    for update in graph.updates:
        yield from _maximized(graph, update, wanted[update.name])
        yield from _flat_hinge(graph, experiment, update, modes[update.name], wanted, structure)


def _calling(nodes: Mapping[str, Node], pull: Pull) -> bool:
    """It says that what is judged is real, or that it is not."""
    return pull.kind == "side" or nodes[pull.by].target in CALLING


def _never_real(
    graph: StepGraph, judge: str, wanted: Mapping[str, list[Pull]], modes: Mapping[str, Modes]
) -> Iterator[Diagnostic]:
    """It calls all that it is shown fake, somebody plays against it, and everything it is shown is generated."""
    nodes = graph.nodes
    own = [u for u in graph.updates if judge in u.networks]
    mine = [p for u in own for p in wanted[u.name] if p.judge == judge]
    calls = {n for u in own for n in modes[u.name].carrying if nodes[n].kind == "call" and nodes[n].target == judge}
    if not mine or calls - {p.call for p in mine} or not all(_calling(nodes, p) and p.same(mine[0]) for p in mine):
        return
    rivals = [p for u in graph.updates if u not in own for p in wanted[u.name] if p.judge == judge]
    others = graph.trained - {judge}
    generated = all(others & called_networks(nodes, nodes[p.call].inputs) for p in mine)
    if generated and any(p.opposite(mine[0]) for p in rivals):
        text = nodes[mine[0].by].text
        yield Diagnostic(
            "warning", "same-target",
            f"update {own[0].name} shows {judge} generated samples only, and wants all of them called the same: "
            f"`{text}`", nodes[mine[0].by].location,
            f"{judge} needs real samples beside them, with the other target; is another network called in their place?",
        )  # fmt: skip


def _maximized(graph: StepGraph, update: UpdatePlan, wanted: list[Pull]) -> Iterator[Diagnostic]:
    """Minus a cross-entropy has no floor: what is trained on it alone runs away."""
    for judge in update.networks:
        mine = [p for p in wanted if p.judge == judge]
        if mine and all(p.outer < 0 and _calling(graph.nodes, p) for p in mine):
            node = graph.nodes[mine[0].by]
            yield Diagnostic(
                "warning", "maximized",
                f"update {update.name} trains {judge} to be as wrong as it can: it maximizes `{node.text}`, which has "
                "no bound", graph.nodes[update.loss].location,
                f"a discriminator minimizes it: drop the minus; what plays against {judge} and maximizes it does not "
                f"train {judge}:\nleave {judge} out of {update.name}/Update.trains",
            )  # fmt: skip


def _other_labels(
    graph: StepGraph, experiment: Experiment, judge: str, modes: Mapping[str, Modes]
) -> Iterator[Diagnostic]:
    """``D(G(z, c), y)``: a sample that was made for one label is judged beside another."""
    nodes, seen = graph.nodes, set[str]()
    trained = graph.trained - {judge}
    for name in (n for u in graph.updates for n in modes[u.name].slice if n in modes[u.name].carrying):
        node = nodes[name]
        if node.kind != "call" or node.target != judge or node.text in seen:
            continue
        parts = shown_parts(nodes, node)
        made = {p: _labels(nodes, experiment, p) for p in parts if trained & called_networks(nodes, (p,))}
        given = {p: _labels(nodes, experiment, p) for p in parts if p not in made}
        for sample, label in ((s, c) for s in made for c in given if made[s] and given[c] and not made[s] & given[c]):
            seen.add(node.text)
            used, other = (nodes[min(found)] for found in (made[sample], given[label]))
            yield Diagnostic(
                "warning", "other-label",
                f"`{node.text}` judges `{nodes[sample].label}`, which is made with "
                f"`{used.label}`, beside `{other.label}`", node.location,
                f"{judge} learns that no generated sample fits its label; give both the same",
            )  # fmt: skip


def _labels(nodes: Mapping[str, Node], experiment: Experiment, name: str) -> set[str]:
    """Draws of whole numbers, and fields of them, that a value is made of."""
    fields = experiment.fields or {}
    return {
        n for n in ancestors(nodes, [name])
        if (nodes[n].kind == "draw" and nodes[n].target == "randint")
        or (nodes[n].kind == "field" and nodes[n].target in fields and fields[nodes[n].target].dtype.startswith("int"))
    }  # fmt: skip


def _flat_hinge(
    graph: StepGraph,
    experiment: Experiment,
    update: UpdatePlan,
    modes: Modes,
    wanted: Mapping[str, list[Pull]],
    structure: Structure,
) -> Iterator[Diagnostic]:
    """A hinge is the discriminator's: beyond the margin it is flat, and what it judges gets no gradient."""
    nodes = graph.nodes
    trained = graph.trained
    for node in (nodes[n] for n in modes.slice if n in modes.carrying and nodes[n].kind == "op"):
        hinge = node.target == "gan" and mode_of(nodes, experiment, node) == "hinge"
        given = argument(node, 0, "pred") if hinge else node.inputs[0] if node.target == "relu" else None
        call = _called(nodes, given) if given is not None else None
        if call is None or call.target in update.moves or call.target not in trained:
            continue
        theirs = [p for u in graph.updates if call.target in u.networks for p in wanted[u.name]
                  if structure(p.call) == structure(call.id)]  # fmt: skip
        mine = [p for p in wanted[update.name] if p.call == call.id]
        if not theirs or not mine or any(p.same(q) for p in theirs for q in mine):
            continue  # an activation of features; or no game at all, which is said
        if set(update.networks) & called_networks(nodes, call.inputs):
            yield Diagnostic(
                "warning", "hinge-generator",
                f"`{node.text}` gives {', '.join(update.networks)} no gradient where {call.target} is beyond the "
                "margin: the hinge is the discriminator's side of the loss", node.location,
                f"the generator's is adv_g({call.text}, kind='hinge'), which is -mean({call.text})",
            )  # fmt: skip


def _called(nodes: Mapping[str, Node], name: str) -> Node | None:
    """The one call that a value is, but for a sign, a number that is added, and an index."""
    node = nodes[name]
    while node.kind != "call":
        inner = tensor_inputs(nodes, node)
        keeps = node.kind == "index" or (node.kind == "op" and node.target in ("+", "-", "neg", "flat"))
        if not keeps or len(inner) != 1:
            return None
        node = nodes[inner[0]]
    return node
