"""The step graph: for one iteration, what is evaluated, in which mode, what is cut, who steps.

    graph = ganflow.schedule(ganflow.load("experiments/pix2pix.gin"))
    print(graph)                                   # the plan
    graph.phases[0].updates[0].trains              # ('D',)

A :class:`StepGraph` is a frozen value. ``Node`` (``nodes.py``) says what a value *is*; ``UpdatePlan``, ``StatePlan``
and ``Average`` say what is declared; ``Phase`` says what one update, or one group of updates, *does* with the nodes.
A pass is a function ``StepGraph -> StepGraph``. Everything downstream (code, plan, checks, cost, pictures) reads this
one value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ganflow.errors import Location
from ganflow.experiment import Diagnostic
from ganflow.nodes import (
    LEAVES,
    NOT_DIFFERENTIABLE,
    OPERATORS,
    Edge,
    Kind,
    Node,
    Unroll,
    ancestors,
    constant,
    edges,
    in_order,
    read_networks,
    statement_inputs,
)

__all__ = [
    "LEAVES", "NOT_DIFFERENTIABLE", "OPERATORS", "Action", "Arm", "Average", "Commit", "Condition", "Edge", "Evaluate",
    "Free", "Guard", "Kind", "Leaf", "Mode", "NetworkPlan", "Node", "Phase", "Pruned", "Reuse", "StatePlan",
    "StepGraph", "Term", "Unroll", "UpdatePlan", "ancestors", "constant", "edges", "in_order", "read_networks",
    "statement_inputs",
]  # fmt: skip

Mode = Literal["train", "through", "no-grad", "cone", "graph", ""]
Guard = tuple[tuple[str, bool], ...]  # (node of a host test, the branch), outermost first


# -- what is declared ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Term:
    """A term of an update's loss: ``factor * node``.

    Args:
        name: as logged: the definition, or ``U.k`` for an unnamed one.
        node: its value, without weight.
        factor: node id of its weight, ``None`` for 1.
        weight: the factor where it is a constant of the file, else ``None``.
    """

    name: str
    node: str
    factor: str | None = None
    weight: float | None = 1.0


@dataclass(frozen=True)
class UpdatePlan:
    """What one update minimizes, trains and steps.

    Args:
        trains: networks, or sub-modules ``G.head``, whose parameters get gradients.
        freezes: networks that gradient passes through.
        loss: node of what is minimized.
        retain_graph: a later member of the group differentiates the same values.
        steps: keys of the optimizers that step: networks, or the update itself if the optimizer is its own.
        moves: networks whose weights the step changes, those that share tensors with a trained one included.
        own_optimizer: the optimizer is the update's own.
    """

    name: str
    trains: tuple[str, ...]
    freezes: tuple[str, ...]
    terms: tuple[Term, ...]
    loss: str
    gain: float = 1.0
    retain_graph: bool = False
    steps: tuple[str, ...] = ()
    own_optimizer: bool = False
    clip_norm: float | None = None
    clip_value: float | None = None
    nan_to_num: bool = False
    moves: tuple[str, ...] = ()
    repeat: int = 1
    fresh: tuple[str, ...] = ()
    repeat_fresh: tuple[str, ...] = ("*",)
    microbatches: int = 1
    location: Location = field(default=Location("<string>", 1), compare=False)

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks it trains, sub-module paths left out."""
        return tuple(dict.fromkeys(t.split(".")[0] for t in self.trains))


@dataclass(frozen=True)
class StatePlan:
    """A value that outlives the iteration: ``next`` is a node; ``after`` an update, or empty for the end."""

    name: str
    init: object
    next: str
    after: str = ""
    location: Location = field(default=Location("<string>", 1), compare=False)


@dataclass(frozen=True)
class Average:
    """An exponential moving average of a network's weights: ``beta`` is a node, ``buffers`` as in ``follow.py``."""

    network: str
    source: str
    beta: str
    buffers: str = "copy"


@dataclass(frozen=True)
class Condition:
    """Whether an update runs (``G``) or a state is committed (``p/State``).

    Args:
        node: of the predicate.
        early: it can be decided before the iteration starts: it reads counters, and states that are not committed
            before it is needed.
        syncs: it reads a tensor, so the host waits for the device.
    """

    name: str
    node: str
    early: bool = True
    syncs: bool = False


@dataclass(frozen=True)
class NetworkPlan:
    """What the plan must know of a network.

    Args:
        trainable: its parameters may get gradients.
        derived: ``ema`` or ``unroll`` if its weights are a function of another's, else empty.
        clamp: bounds put on its weights after every step.
        buffers_in: updates that may write its buffers; ``None``: every forward may.
    """

    trainable: bool = True
    derived: str = ""
    clamp: tuple[float, float] | None = None
    buffers_in: tuple[str, ...] | None = None


# -- what is done -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a node here.

    Args:
        mode: of a network call (language.md §5); ``graph`` or ``no-grad`` for anything else that is not a host value.
        graph: the value carries an autograd graph.
        cut: edges ``(node, position of the input)`` through which no gradient passes although it could.
        cone: edges that belong to a ``grad(y, x)``: they read the leaf made of ``x``.
        freezes: networks whose parameters get no gradient from this call.
        kept_for: later updates that use this value with its graph.
        create_graph, retain_graph: of a ``grad``.
        guard: host tests under which it is evaluated.
        keeps_buffers: networks whose buffers this call must not write.
    """

    node: str
    mode: Mode
    graph: bool = False
    cut: tuple[tuple[str, int], ...] = ()
    cone: tuple[tuple[str, int], ...] = ()
    freezes: tuple[str, ...] = ()
    kept_for: tuple[str, ...] = ()
    create_graph: bool = False
    retain_graph: bool = False
    guard: Guard = ()
    keeps_buffers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reuse:
    """Use the value made in an earlier update, ``graph`` included or not; ``stale``: networks stepped since."""

    node: str
    made_in: str
    graph: bool = False
    stale: tuple[str, ...] = ()


@dataclass(frozen=True)
class Leaf:
    """Make a leaf of a value that no trained network is upstream of, for ``grad(y, x)``."""

    node: str


@dataclass(frozen=True)
class Free:
    """Drop values after their last use."""

    nodes: tuple[str, ...]


Action = Evaluate | Reuse | Leaf | Free


@dataclass(frozen=True)
class Commit:
    """Give a state its next value."""

    state: str
    node: str


@dataclass(frozen=True)
class Phase:
    """One update or group (all gradients at the same parameters, then all steps), or what happens between updates.

    Args:
        kind: ``update``; ``when``: predicates are evaluated and ``arms`` go on; ``average``: moving averages follow
            their sources; ``states``: states without ``after`` are committed.
        run, times: which of an update's repeats this is, and how many alike follow one another from it on.
        fetch: a new batch is fetched first.
        redraws, redraw: sites that are drawn anew first, and the number of this redraw: its place in the schedule,
            so that it does not depend on what is skipped.
        microbatches: how many parts of the batch the gradients are averaged over.
        merged: values made in parts that are needed afterwards, put together again.
        commits: states that get their next value after the step.
        averages: networks that follow their sources.
        asks: conditions decided here, for ``arms``.
        frees: after the backward passes.
    """

    updates: tuple[UpdatePlan, ...]
    actions: tuple[Action, ...]
    frees: tuple[str, ...] = ()
    kind: Literal["update", "when", "average", "states"] = "update"
    run: int = 1
    times: int = 1
    fetch: bool = False
    redraws: tuple[str, ...] = ()
    redraw: int = 0
    microbatches: int = 1
    merged: tuple[str, ...] = ()
    commits: tuple[Commit, ...] = ()
    averages: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    arms: tuple[Arm, ...] = ()

    @property
    def name(self) -> str:
        if self.kind != "update":
            return f"{self.kind} {', '.join(self.asks or self.averages or [c.state for c in self.commits])}".strip()
        names = [u.name for u in self.updates]
        return names[0] if len(names) == 1 else f"({', '.join(names)})"

    @property
    def evaluations(self) -> tuple[Evaluate, ...]:
        return tuple(a for a in self.actions if isinstance(a, Evaluate))

    @property
    def steps(self) -> tuple[str, ...]:
        """Optimizers that step at its end; one that several members share steps once."""
        return tuple(dict.fromkeys(n for u in self.updates for n in u.steps))

    @property
    def moves(self) -> tuple[str, ...]:
        """Networks whose weights are others afterwards."""
        return tuple(dict.fromkeys((*(n for u in self.updates for n in u.moves), *self.averages)))


@dataclass(frozen=True)
class Arm:
    """How the iteration goes on for one outcome of the conditions that a ``when`` phase asks."""

    active: tuple[bool, ...]
    phases: tuple[Phase, ...]
    frees: tuple[str, ...] = ()  # what only other arms still need


@dataclass(frozen=True)
class Pruned:
    """Something that the constant 0 made unnecessary."""

    kind: Literal["term", "update", "network", "state"]
    name: str
    reason: str


@dataclass(frozen=True)
class StepGraph:
    """One iteration.

    Args:
        nodes: by id, inputs before their readers.
        names: definition -> node.
        phases: what is done, in order, where the conditions in ``active`` are as given there.
        networks: used, in order of declaration.
        optimizers: network or update -> a line such as ``Adam lr 0.0002``.
        scheduled: optimizers with an argument that changes from step to step.
        groups, states, averages, conditions, plans: what is declared.
        active: condition -> its value, for those that are decided before the iteration starts.
        shared: trained network or sub-module -> other networks that hold some of its tensors.
    """

    name: str
    nodes: Mapping[str, Node]
    names: Mapping[str, str]
    phases: tuple[Phase, ...]
    networks: tuple[str, ...]
    optimizers: Mapping[str, str] = field(default_factory=dict)
    pruned: tuple[Pruned, ...] = ()
    scheduled: tuple[str, ...] = ()
    groups: tuple[tuple[UpdatePlan, ...], ...] = ()
    states: tuple[StatePlan, ...] = ()
    averages: tuple[Average, ...] = ()
    conditions: tuple[Condition, ...] = ()
    plans: Mapping[str, NetworkPlan] = field(default_factory=dict)
    active: Mapping[str, bool] = field(default_factory=dict)
    shared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        from ganflow.views import plan_text  # views read graphs; graphs only know how to ask for one

        return plan_text(self)

    @property
    def source(self) -> str:
        """The Python that runs this step."""
        from ganflow.codegen import source_text

        return source_text(self)

    @property
    def trained(self) -> set[str]:
        """Networks of which an update trains something."""
        return {n for u in self.updates for n in u.networks}

    @property
    def updates(self) -> tuple[UpdatePlan, ...]:
        """Every update that can run, whatever the conditions, with what the plan says of it."""
        planned = {u.name: u for phase in self.walk() for u in phase.updates}
        return tuple(planned.get(u.name, u) for group in self.groups for u in group) or tuple(planned.values())

    def walk(self) -> Iterator[Phase]:
        """Every phase, those of all arms included."""
        return walk_phases(self.phases)


def walk_phases(phases: Sequence[Phase]) -> Iterator[Phase]:
    """The phases and those of their arms, in order."""
    for phase in phases:
        yield phase
        for arm in phase.arms:
            yield from walk_phases(arm.phases)
