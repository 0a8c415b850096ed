"""Who pulls a prediction which way: adversarial objectives, read off the losses.

    pulls(nodes, loss, experiment)
    # [Pull(judge='D', call='pred_fake', kind='target', value=0, sign=1), ...]: this loss wants D(fake) to be 0

    for finding in check_games(graph, experiment, modes, wanted):      # update -> its pulls
        print(finding)      # warning[same-target], warning[opposed]

A game needs two sides. Where the discriminator's update and the generator's want the same of one prediction there is
none, and where two updates train one network towards opposite ends of it, they undo each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ganflow.domains import COMPARING
from ganflow.experiment import Diagnostic, Experiment
from ganflow.graph import StepGraph, UpdatePlan
from ganflow.habits import Structure, interval
from ganflow.modes import Modes
from ganflow.nodes import Node, ancestors, called_networks, constant, in_order

ADVERSARIAL = ("gan", "adv_d", "adv_g")
CALLING = ("gan", "bce", "bcel")  # real or generated
TARGETED = (*CALLING, *COMPARING)
LINEAR = ("mean", "sum", "flat")
MONOTONE = ("clamp", "softplus", "relu", "exp", "log", "sigmoid", "sqrt", "tanh", "logsumexp")


@dataclass(frozen=True)
class Pull:
    """What a loss wants of one call of a network.

    Args:
        judge: the network that is called; ``call`` its node, ``by`` the node that says what is wanted.
        kind: ``target`` (towards a number), ``side`` (towards being called real, 1, or fake, 0), ``linear`` or
            ``slope``: smaller, without a floor or with one.
        sign: -1 where it is subtracted; ``outer``: of the term alone, not of what is subtracted inside it.
    """

    judge: str
    call: str
    by: str
    kind: str
    value: float = 0.0
    sign: int = 1
    outer: int = 1

    def same(self, other: Pull) -> bool:
        """Towards the same end: away from being called real is towards being called fake."""
        if self.kind == other.kind == "side":
            return (self.sign == other.sign) == (self.value == other.value)
        return (self.kind, self.value, self.sign) == (other.kind, other.value, other.sign)

    def opposite(self, other: Pull) -> bool:
        """Towards the other end; two numbers that are both targets are taken for such."""
        if self.kind != other.kind:
            return False
        return (self.sign != other.sign) != (self.value != other.value)


def pulls(nodes: Mapping[str, Node], root: str, experiment: Experiment) -> list[Pull]:
    """Every pull of a loss, left to right; what cannot be followed is left out."""
    found: dict[Pull, None] = {}
    factors = _factors(nodes, root)
    seen: set[_Way] = set()
    stack = [_Way(root, 1, "linear")]
    while stack:
        way = stack.pop()
        if way in seen:
            continue
        seen.add(way)
        node = nodes[way.node]
        if node.kind == "call":
            found[Pull(node.target, node.id, way.by or node.id, way.kind, way.value, way.sign, way.outer)] = None
        elif not node.host:
            stack += reversed(list(_ways(nodes, experiment, node, way, factors)))
    return list(found)


@dataclass(frozen=True)
class _Way:
    """How a loss arrives at a node: what it wants of it, as in :class:`Pull`."""

    node: str
    sign: int
    kind: str
    value: float = 0.0
    by: str = ""
    outer: int = 1


def _ways(
    nodes: Mapping[str, Node], experiment: Experiment, node: Node, way: _Way, numbers: set[str]
) -> Iterator[_Way]:
    """The same for the inputs of a node."""
    if node.kind == "index":
        yield replace(way, node=node.inputs[0])
    elif node.kind != "op":
        return
    elif node.target in ("+", "-", "neg"):
        for position, i in enumerate(node.inputs):
            flips = node.target == "neg" or (node.target == "-" and position == 1)
            yield replace(way, node=i, sign=-way.sign if flips else way.sign)
    elif node.target in ("*", "/"):
        factors = [i for i in node.inputs if i in numbers]
        for i in node.inputs if len(factors) == 1 else ():
            if i not in factors:
                yield replace(way, node=i, sign=way.sign * _sign(nodes, factors[0]))
    elif way.kind in ("linear", "slope") and node.target in (*TARGETED, *ADVERSARIAL):
        yield from _adversarial(nodes, experiment, node, way.sign)
    elif node.target in LINEAR or node.target in MONOTONE:
        bent = way.kind == "linear" and node.target in MONOTONE
        yield replace(way, node=node.inputs[0], kind="slope" if bent else way.kind, by=way.by or node.id)


def _factors(nodes: Mapping[str, Node], root: str) -> set[str]:
    """Of all that a loss is made of: numbers, and arithmetic over numbers, states and what is detached."""
    found: set[str] = set()
    for name in in_order(nodes, [root]):
        node = nodes[name]
        sums = node.kind == "op" and node.target in ("+", "-", "*", "/", "neg") and found.issuperset(node.inputs)
        if node.host or node.kind in ("state", "detach") or sums:
            found.add(name)
    return found


def _sign(nodes: Mapping[str, Node], factor: str) -> int:
    value = constant(nodes, factor)
    return -1 if isinstance(value, (int, float)) and value < 0 else 1


def argument(node: Node, position: int, name: str) -> str | None:
    """The node of an argument, given by position or by keyword."""
    if name in node.keywords:
        return node.inputs[len(node.positional) + node.keywords.index(name)]
    return node.positional[position] if position < len(node.positional) else None


def mode_of(nodes: Mapping[str, Node], experiment: Experiment, node: Node) -> object:
    """``wgan`` of ``gan(x, True, mode='wgan')`` or ``gan.mode = 'wgan'``."""
    parameter = "mode" if node.target == "gan" else "kind"
    given = argument(node, 99, parameter)
    bound = experiment.ops[node.target].bound.get(parameter) if node.target in experiment.ops else None
    return bound if given is None else constant(nodes, given)


def _adversarial(nodes: Mapping[str, Node], experiment: Experiment, node: Node, sign: int) -> Iterator[_Way]:
    wanted: list[tuple[str | None, str, float]]
    if node.target == "adv_d":
        wanted = [(argument(node, 0, "real"), "side", 1.0), (argument(node, 1, "fake"), "side", 0.0)]
    elif node.target == "adv_g":
        wanted = [(argument(node, 0, "fake"), "side", 1.0)]
    else:
        second = argument(node, 1, "is_real" if node.target == "gan" else "target")
        target = constant(nodes, second) if second is not None else None
        if not isinstance(target, (bool, int, float)):
            return
        wanted = [(argument(node, 0, "pred"), "side" if node.target == "gan" else "target", float(target))]
    linear = node.target in ADVERSARIAL and mode_of(nodes, experiment, node) == "wgan"
    for pred, kind, value in wanted:
        if pred is not None and linear:
            yield _Way(pred, -sign if value else sign, "linear", by=node.id, outer=sign)
        elif pred is not None:
            yield _Way(pred, sign, kind, value, node.id, sign)


# -- the checks ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Side:
    """One pull of one update, with the value that is judged: without detach and pool, which change no meaning."""

    update: UpdatePlan
    pull: Pull
    judged: int
    networks: frozenset[str]  # of the update: pairs of sides are many


def check_games(
    graph: StepGraph, experiment: Experiment, modes: Mapping[str, Modes], wanted: Mapping[str, list[Pull]]
) -> Iterator[Diagnostic]:
    """Two updates that want the same of one prediction, or opposite things of one network.

    Args:
        wanted: update -> the pulls of its loss.
    """
    structure = Structure({n: plain(graph.nodes, v) for n, v in graph.nodes.items()})
    networks = {u.name: frozenset(u.networks) for u in graph.updates}
    found: dict[tuple[str, int, str, float, int], _Side] = {}
    for u in graph.updates:
        for p in (p for p in wanted[u.name] if p.call in modes[u.name].carrying):
            judged = structure(p.call)
            found.setdefault((u.name, judged, p.kind, p.value, p.sign), _Side(u, p, judged, networks[u.name]))
    sides = list(found.values())
    for update in graph.updates:
        yield from _one_sided(graph, update, [s for s in sides if s.update is update])
    reported: set[tuple[str, str]] = set()
    for d in sides:
        for g in (s for s in sides if s.judged == d.judged and s.update is not d.update):
            pair = (d.update.name, g.update.name)
            wrong = _no_game(graph, sides, d, g) or _undone(graph, d, g)
            if wrong is not None and pair not in reported and pair[::-1] not in reported:
                reported.add(pair)
                yield wrong
    yield from _slow_critics(graph, experiment, wanted)


def plain(nodes: Mapping[str, Node], node: Node) -> Node:
    """A node that reads values without detach and pool around them, which change no meaning."""

    def through(name: str) -> str:
        n = nodes[name]
        return through(n.inputs[0]) if n.kind == "detach" or (n.stateful and n.target == "pool") else name

    return replace(node, inputs=tuple(map(through, node.inputs)))


def _no_game(graph: StepGraph, sides: list[_Side], d: _Side, g: _Side) -> Diagnostic | None:
    """d trains the judge, g only what the judged value is made by, and both pull the same way."""
    judge = d.pull.judge
    if judge not in d.update.moves or d.networks & g.networks:
        return None
    made_by = called_networks(graph.nodes, graph.nodes[g.pull.call].inputs)
    mine = [s.pull for s in sides if s.update is g.update and s.judged == g.judged]
    if not set(g.update.networks) & made_by or not all(p.same(d.pull) for p in mine):
        return None
    if d.pull.kind != "side" and _plays(sides, g.update, judge):
        return None  # a helper beside the game, as in InfoGAN
    node, other = graph.nodes[g.pull.by], graph.nodes[d.pull.by]
    return Diagnostic(
        "warning", "same-target",
        f"updates {d.update.name} and {g.update.name} want the same of `{graph.nodes[g.pull.call].text}`: both "
        f"minimize `{node.text}`, so {judge} and {', '.join(g.update.networks)} do not play against each other"
        if node.text == other.text else
        f"updates {d.update.name} and {g.update.name} want the same of `{graph.nodes[g.pull.call].text}`: "
        f"`{other.text}` ({other.location}) and `{node.text}` pull it the same way, so there is no adversarial game",
        node.location,
        f"{judge} calls what {', '.join(g.update.networks)} makes fake (target False), and "
        f"{', '.join(g.update.networks)} wants it called real (target True)",
    )  # fmt: skip


def _plays(sides: list[_Side], update: UpdatePlan, judge: str) -> bool:
    """Does the update play against a judge other than this one?"""
    mine = [s for s in sides if s.update is update and s.pull.judge != judge]
    rivals = [s for s in sides if s.update is not update and s.pull.judge in s.update.moves]
    return any(m.judged == r.judged and m.pull.opposite(r.pull) for m in mine for r in rivals)


def _one_sided(graph: StepGraph, update: UpdatePlan, sides: list[_Side]) -> Iterator[Diagnostic]:
    """A judge that is to call everything it is shown the same, generated or not, learns a constant."""
    trained = graph.trained
    for judge in update.networks:
        mine = [s.pull for s in sides if s.pull.judge == judge and s.pull.kind in ("side", "target", "linear")]
        makers = [called_networks(graph.nodes, graph.nodes[p.call].inputs) & trained - {judge} for p in mine]
        outside = [m for m in makers if m - set(update.networks)]
        if len(mine) > 1 and outside and not all(makers) and all(p.same(mine[0]) for p in mine):
            node = graph.nodes[mine[-1].by]
            texts = " and ".join(dict.fromkeys(f"`{graph.nodes[p.by].text}`" for p in mine))
            yield Diagnostic(
                "warning", "same-target",
                f"update {update.name} wants {judge} to call real and generated samples the same: {texts}",
                node.location, "real samples have the target True, generated ones False",
            )  # fmt: skip


def _slow_critics(graph: StepGraph, experiment: Experiment, wanted: Mapping[str, list[Pull]]) -> Iterator[Diagnostic]:
    """A Wasserstein critic is trained to (near) its optimum between the generator's steps, not the other way round."""
    players_of: dict[str, list[UpdatePlan]] = {}
    for u in graph.updates:
        for judge in {p.judge for p in wanted[u.name]} - set(u.networks):
            players_of.setdefault(judge, []).append(u)
    for update in graph.updates:
        mine = wanted[update.name]
        for judge in update.networks:
            linear = {p.sign for p in mine if p.judge == judge and p.kind == "linear"} == {1, -1}
            players = players_of.get(judge, []) if linear else []
            often = [u for u in players if interval(graph, u.name) < interval(graph, update.name)]
            if often:
                declared = experiment.updates[update.name]
                yield Diagnostic(
                    "warning", "slow-critic",
                    f"update {update.name} trains the critic {judge} in one iteration of "
                    f"{interval(graph, update.name)}, and {often[0].name} trains against it more often",
                    declared.where.get("every", declared.where.get("when", update.location)),
                    f"n_critic is the other way round: {often[0].name}/Update.every = 5, "
                    f"or {update.name}/Update.repeat = 5",
                )  # fmt: skip


def _undone(graph: StepGraph, a: _Side, b: _Side) -> Diagnostic | None:
    """Both train one network, through the same prediction, towards opposite ends."""
    both = a.networks & b.networks
    if not both or not a.pull.opposite(b.pull):
        return None
    above = called_networks(graph.nodes, [a.pull.call])
    reached = [n for n in a.update.networks if n in both & above]
    if not reached:
        return None
    node, other = graph.nodes[b.pull.by], graph.nodes[a.pull.by]
    return Diagnostic(
        "warning", "opposed",
        f"updates {a.update.name} and {b.update.name} both train {', '.join(reached)}, and pull "
        f"`{graph.nodes[b.pull.call].text}` opposite ways: `{other.text}` ({other.location}) and `{node.text}`",
        node.location, "let one of them train it; the gradient still passes through it to what the other trains",
    )  # fmt: skip


def unbounded_critics(graph: StepGraph, experiment: Experiment) -> dict[str, tuple[str, Node]]:
    """Network -> (update, where): trained on the difference of its means, with neither penalty nor clamp."""
    found: dict[str, tuple[str, Node]] = {}
    for update in graph.updates:
        linear = [p for p in pulls(graph.nodes, update.loss, experiment) if p.kind == "linear"]
        for judge in update.networks:
            signs = {p.sign for p in linear if p.judge == judge}
            if signs == {1, -1} and not _bounded(graph, experiment, judge):
                found[judge] = (update.name, graph.nodes[next(p.by for p in linear if p.judge == judge)])
    return found


def _bounded(graph: StepGraph, experiment: Experiment, judge: str) -> bool:
    """Clamped, or an update that trains it takes a gradient of it, hands it to an op that may, or keeps it small."""
    losses = [u.loss for u in graph.updates if judge in u.moves]
    read = [graph.nodes[n] for n in ancestors(graph.nodes, losses)]
    small = ("square", "abs", "**", "norm", *COMPARING)
    penalties = [n for n in read if n.kind == "grad" or (n.kind == "op" and (judge in n.networks or n.target in small))]
    return experiment.networks[judge].clamp is not None or any(
        judge in graph.nodes[i].networks for p in penalties for i in ancestors(graph.nodes, [p.id])
    )
