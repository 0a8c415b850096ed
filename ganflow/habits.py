"""Warnings and notes about schedules and texts: legal, and often not what was meant.

for finding in check_habits(graph, modes):
    print(finding)      # warning[lazy-gain], warning[stale-repeat], warning[same-argument], note[same-text], ...
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

from ganflow.domains import COMPARING
from ganflow.experiment import Diagnostic, Experiment
from ganflow.graph import StepGraph, UpdatePlan
from ganflow.modes import Modes
from ganflow.nodes import Node, ancestors, constant, in_order

# What an op gives of a value and itself.
BETWEEN = {
    "l1": "0", "mse": "0", "-": "0", "/": "1", "minimum": "that value", "maximum": "that value", "lerp": "that value",
}  # fmt: skip


def check_habits(graph: StepGraph, experiment: Experiment, modes: Mapping[str, Modes]) -> Iterator[Diagnostic]:
    """Every finding, in the order of the updates."""
    for update in graph.updates:
        yield from _lazy(graph, experiment, update)
        yield from _repeat(graph.nodes, experiment, update, modes[update.name])
        yield from _same_argument(graph.nodes, modes[update.name])
    for group in graph.groups:
        slices = dict.fromkeys(n for u in group for n in modes[u.name].slice)
        yield from _same_text(graph.nodes, group, list(slices))
    yield from _host_sync(graph)
    yield from _never_changes(graph, experiment)


# -- lazy regularisation ------------------------------------------------------------------------------------


def _lazy(graph: StepGraph, experiment: Experiment, update: UpdatePlan) -> Iterator[Diagnostic]:
    """n_critic is not lazy regularisation: there nothing else trains the network that waits."""
    declared, every = experiment.updates[update.name], interval(graph, update.name)
    if every < 2 or "gain" in declared.where or update.gain != 1.0:
        return
    for other in graph.updates:
        both = [n for n in update.networks if n in other.networks]
        if other.name != update.name and both and interval(graph, other.name) < every:
            place = declared.where.get("every", declared.where.get("when", update.location))
            yield Diagnostic(
                "warning", "lazy-gain",
                f"update {update.name} trains {', '.join(both)} in one iteration of {every}, and {other.name} trains "
                f"it more often: its loss weighs 1/{every} of what it says", place,
                f"if it is a regulariser that is only evaluated now and then: {update.name}/Update.gain = {every}.0\n"
                f"if the small weight is meant: {update.name}/Update.gain = 1.0 says so",
            )  # fmt: skip
            return


def interval(graph: StepGraph, update: str) -> int:
    """The k of ``every = k`` or of a predicate ``step % k == 0``; 1 where there is none."""
    condition = next((c for c in graph.conditions if c.name == update), None)
    found = [1] if condition is None else [_period(graph.nodes, n) for n in _conjuncts(graph.nodes, condition.node)]
    return max(found)


def _conjuncts(nodes: Mapping[str, Node], root: str) -> list[str]:
    found, stack = dict.fromkeys([root]), [root]
    while stack:
        n = nodes[stack.pop()]
        more = [i for i in n.inputs if i not in found] if n.kind == "op" and n.target == "and" else []
        found.update(dict.fromkeys(more))
        stack += more
    return list(found)


def _period(nodes: Mapping[str, Node], node: str) -> int:
    n = nodes[node]
    left = nodes[n.inputs[0]] if n.kind == "op" and n.target == "==" else None
    if left is None or left.kind != "op" or left.target != "%" or nodes[left.inputs[0]].kind != "counter":
        return 1
    k = constant(nodes, left.inputs[1])
    return k if isinstance(k, int) else 1


# -- repeats ------------------------------------------------------------------------------------------------


def _repeat(
    nodes: Mapping[str, Node], experiment: Experiment, update: UpdatePlan, modes: Modes
) -> Iterator[Diagnostic]:
    if update.repeat < 2:
        return
    read = [nodes[n] for n in modes.slice]
    draws = [n for n in read if n.site]
    for name in update.repeat_fresh:
        changes = draws if name == "draws" else [n for n in draws if n.owner == name]
        if name in ("batch", "*"):
            changes = draws + [n for n in read if n.kind == "field"]
        if changes:
            return
    given = ", ".join(f"`{n}`" for n in update.repeat_fresh) or "nothing"
    declared = experiment.updates[update.name]
    yield Diagnostic(
        "warning", "stale-repeat",
        f"update {update.name} runs {update.repeat} times and refreshes {given} in between: every run sees the same "
        "batch and the same draws", declared.where.get("repeat_fresh", declared.where.get("repeat", update.location)),
        _fresh_hint(nodes, update, draws),
    )  # fmt: skip


def _fresh_hint(nodes: Mapping[str, Node], update: UpdatePlan, draws: list[Node]) -> str:
    start = f"{update.name}/Update.repeat_fresh = "
    upstream = [
        d.owner for d in draws if any(n in nodes and d.id in ancestors(nodes, [n]) for n in update.repeat_fresh)
    ]
    if upstream:
        return (f"evaluating a name anew redraws what is random in its own text only; the draw stands in "
                f"`{upstream[0]}`: {start}['{upstream[0]}']")  # fmt: skip
    wanted = ["'*' (a new batch, the default)", *(["'draws'"] if draws else [])]
    return start + " or ".join(wanted)


# -- texts --------------------------------------------------------------------------------------------------


class Structure:
    """``structure(node)``: equal for two nodes made in the same way of the same values; a draw is a value of its own.

    Numbers, not nested tuples: a value that many texts share is looked at once.
    """

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self.nodes = nodes
        self.known: dict[str, int] = {}
        self.table: dict[Hashable, int] = {}

    def __call__(self, node: str) -> int:
        for name in in_order(self.nodes, [node]) if node not in self.known else ():
            if name not in self.known:
                self.known[name] = self.table.setdefault(self._shape(self.nodes[name]), len(self.table))
        return self.known[node]

    def _shape(self, n: Node) -> Hashable:
        if n.kind in ("draw", "unroll", "field", "counter", "state", "schedule") or n.site:
            return n.id
        if n.kind == "constant":
            return ("constant", repr(n.value))
        return (n.kind, n.target, n.path, n.frozen, n.keywords, *(self.known[i] for i in n.inputs))


def _same_text(nodes: Mapping[str, Node], group: tuple[UpdatePlan, ...], read: list[str]) -> Iterator[Diagnostic]:
    structure, alike = Structure(nodes), dict[int, list[Node]]()
    for node in (nodes[n] for n in read):
        if node.kind == "call" and not node.path.startswith("_"):
            alike.setdefault(structure(node.id), []).append(node)
    found = [same for same in alike.values() if len({(n.location, n.text) for n in same}) > 1]
    inner = {i for same in found for n in same for i in ancestors(nodes, n.inputs)}
    updates = ", ".join(u.name for u in group)
    for same in found:
        if all(n.id in inner for n in same):
            continue  # the call around it is named already
        first, second = same[0], next(n for n in same if (n.location, n.text) != (same[0].location, same[0].text))
        yield Diagnostic(
            "note", "same-text",
            f"`{second.text}` stands at two places that update {updates} reads, so it is evaluated twice "
            f"(the other one: {first.location})", second.location,
            f"names share, text does not: give it a name, `value = '{second.text}'`, unless two evaluations are meant",
        )  # fmt: skip


def _same_argument(nodes: Mapping[str, Node], modes: Modes) -> Iterator[Diagnostic]:
    """A comparison or a choice between a value and itself."""

    def bare(name: str) -> str:
        return bare(nodes[name].inputs[0]) if nodes[name].kind == "detach" else name

    for node in (nodes[n] for n in modes.slice if nodes[n].kind == "op" and len(nodes[n].inputs) >= 2):
        first, second = node.inputs[:2]
        if nodes[first].host or node.target not in BETWEEN:
            continue
        if first == second or (node.target in COMPARING and bare(first) == bare(second)):
            yield Diagnostic(
                "warning", "same-argument",
                f"`{node.text}` takes `{nodes[first].label}` twice, so it is "
                f"{BETWEEN[node.target]}", node.location,
                "one of the two is meant to be another value",
            )  # fmt: skip


def _never_changes(graph: StepGraph, experiment: Experiment) -> Iterator[Diagnostic]:
    """A period without a counter is none; an update that is switched off altogether is an ablation."""
    nodes = graph.nodes
    for name, node in ((c.name, c.node) for c in graph.conditions):
        value, period = constant(nodes, node), any(nodes[n].target == "%" for n in ancestors(nodes, [node]))
        if value is not None and (period or not value):
            declared = experiment.updates.get(name) or experiment.states[name]
            text = declared.when.source if declared.when is not None else nodes[node].text
            yield Diagnostic(
                "warning" if period else "note", "never-changes",
                f"`{text}` has the same value in every iteration, so {name} "
                f"{'always' if value else 'never'} runs", declared.where.get("when", declared.location),
                "a period reads a counter: step % 5 == 0, or every = 5" if period else "",
            )  # fmt: skip


def _host_sync(graph: StepGraph) -> Iterator[Diagnostic]:
    """Where Python must wait for the device to know how to go on."""
    for condition in graph.conditions:
        node = graph.nodes[condition.node]
        if condition.syncs:
            yield Diagnostic(
                "note", "host-sync",
                f"whether {condition.name} runs depends on a tensor: the host waits for the device", node.location,
                "predicates over counters and constants cost nothing",
            )  # fmt: skip
