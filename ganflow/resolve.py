"""Experiment -> Program: what the losses and everything beside them are made of.

    program = resolve(experiment)
    program.roots["D"]            # the node that update D minimizes
    program.nodes["fake_B"]       # Node(id='fake_B', kind='call', target='G', inputs=('real_A',), ...)
    program.others["k.next"]      # the next value of a state, a predicate, the beta of an EMA, an inner loss

Only what these reach is read, so a string that nobody reads stays a plain gin macro.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ganflow import expr as E
from ganflow.errors import GanflowError, Location
from ganflow.experiment import Experiment, Text, Update
from ganflow.graph import Node
from ganflow.names import check_clashes
from ganflow.parsing import parse
from ganflow.reader import Reader
from ganflow.unrolling import link_unrolled


@dataclass(frozen=True)
class Program:
    """What the roots of an experiment reach: nodes by id, definition -> node, root -> node.

    Args:
        roots: update -> what it minimizes.
        others: parameter (``G.when``, ``k.next``) -> its node.
    """

    nodes: Mapping[str, Node]
    names: Mapping[str, str]
    roots: Mapping[str, str]
    others: Mapping[str, str] = field(default_factory=dict)


def resolve(experiment: Experiment, roots: Mapping[str, Text] | None = None) -> Program:
    """Read the roots (by default everything that a step needs) and all that they reach.

    Raises:
        GanflowError: ``unknown-name``, ``name-clash``, ``cycle``, ``syntax``, ``arguments``.
    """
    check_clashes(experiment)
    reader = Reader(experiment)
    if roots is not None:
        found = {name: reader.root(name, text, text.location) for name, text in roots.items()}
        return Program(link_unrolled(reader, experiment), reader.names, found)
    scheduled = [experiment.updates[name] for group in experiment.schedule for name in group]
    found = {
        u.name: reader.root(f"{u.name}.minimize", u.minimize, u.minimize.location)
        for u in scheduled
        if u.minimize is not None
    }
    others = {key: reader.root(key, given, at) for key, given, at in _others(experiment, scheduled)}
    return Program(link_unrolled(reader, experiment), reader.names, found, others)


def _others(experiment: Experiment, scheduled: list[Update]) -> Iterator[tuple[str, object, Location]]:
    """(owner, expression, place) of what a step reads beside its losses."""
    for update in scheduled:
        if (predicate := _predicate(update)) is not None:
            yield when_key(update.name), predicate, predicate.location
    for state in experiment.states.values():
        if state.next is not None:
            yield next_key(experiment, state.name), state.next, state.next.location
        if state.when is not None:
            yield state_when_key(experiment, state.name), state.when, state.when.location
    for network in experiment.networks.values():
        if network.ema_of is not None:
            place = network.where.get("ema_beta", network.location)
            yield beta_key(network.name), network.ema_beta, place


def first_values(experiment: Experiment) -> Program:
    """What states start as, where that is an expression (``init = 'randn(16, 4)'``): state -> its node in ``roots``.

    Raises:
        GanflowError: ``state-init`` for one that reads what is not there before the first iteration.
    """
    given = {s.name: s.init for s in experiment.states.values() if isinstance(s.init, Text)}
    if not given:
        return Program({}, {}, {})
    owners = {f"{_state_owner(experiment, s)}.init": s for s in given}
    program = resolve(experiment, {owner: given[s] for owner, s in owners.items()})
    for node in program.nodes.values():
        if node.kind in ("field", "counter", "state", "call", "parameter", "network", "schedule"):
            raise GanflowError(
                f"the first value of a state reads `{node.text or node.target}`, which is not there before the first "
                "iteration", location=node.location, code="state-init",
                hint="it is made of numbers, draws and ops: init = 'randn(16, 4)'\n"
                "for the first value of something else: `value if step == 0 else state`",
            )  # fmt: skip
    return Program(program.nodes, program.names, {owners[owner]: node for owner, node in program.roots.items()})


def when_key(update: str) -> str:
    return f"{update}.when"


def next_key(experiment: Experiment, state: str) -> str:
    return f"{_state_owner(experiment, state)}.next"


def state_when_key(experiment: Experiment, state: str) -> str:
    return f"{_state_owner(experiment, state)}.when"


def beta_key(network: str) -> str:
    return f"{network}.ema_beta"


def _state_owner(experiment: Experiment, state: str) -> str:
    """A state and an update may have one name."""
    return f"{state}/State" if state in experiment.updates else state


def _predicate(update: Update) -> E.Expr | None:
    """`every` and `when` of an update as one expression: they combine by *and*."""
    parts: list[E.Expr] = []
    if update.every != 1:
        place = update.where.get("every", update.location)
        parts.append(parse(f"step % {update.every} == 0", place))
    if update.when is not None:
        parts.append(parse(update.when.source, update.when.location))
    if len(parts) < 2:
        return parts[0] if parts else None
    return E.Bool("and", tuple(parts), location=parts[1].location)
