"""What a name in an expression means: batch field, definition, network, state, counter or op.

    >>> meaning("fake_B", experiment, at=where)
    'definition'

Exactly one of these, or a :class:`GanflowError` with the nearest known names.
"""

from __future__ import annotations

from ganflow.errors import GanflowError, Location, did_you_mean
from ganflow.experiment import COUNTERS, Experiment

SPECIAL = ("frozen", "detach", "grad")


def kinds_of(name: str, experiment: Experiment) -> list[str]:
    """Everything that is called ``name``."""
    found = []
    if experiment.fields is not None and name in experiment.fields:
        found.append("batch field")
    if name in experiment.definitions:
        found.append("definition")
    if name in experiment.networks:
        found.append("network")
    if name in experiment.states:
        found.append("state")
    if name in COUNTERS:
        found.append("counter")
    if name in SPECIAL or name in experiment.ops:
        found.append("op")
    return found


def known_names(experiment: Experiment) -> list[str]:
    """Every name that an expression may use."""
    return [
        *(experiment.fields or ()), *experiment.definitions, *experiment.networks, *experiment.states,
        *COUNTERS, *SPECIAL, *experiment.ops,
    ]  # fmt: skip


def meaning(name: str, experiment: Experiment, *, at: Location, called: bool = False) -> str:
    """The one kind of thing that ``name`` is.

    Raises:
        GanflowError: ``unknown-name`` or ``name-clash``.
    """
    found = kinds_of(name, experiment)
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise GanflowError(
            f"`{name}` is both a {' and a '.join(found)}".replace(" a op", " an op"), location=at,
            hint="a name means one thing: rename the definition", code="name-clash",
        )  # fmt: skip
    if experiment.fields is None and not called:
        return "batch field"  # a step built by hand: checked against the first batch
    kind = "op, network or template" if called else "name"
    hint = did_you_mean(name, known_names(experiment)) or _what_there_is(experiment)
    raise GanflowError(f"unknown {kind} `{name}`", location=at, hint=hint, code="unknown-name")


def _what_there_is(experiment: Experiment) -> str:
    fields = ", ".join(experiment.fields or ()) or "none"
    names = ", ".join([*experiment.definitions, *experiment.networks][:20]) or "none"
    return f"batch fields: {fields}\ndefined here: {names}"


def check_clashes(experiment: Experiment) -> None:
    """Two things of one name are an error even if nothing reads it, ops excepted (`norm = 'batch'` for `%norm`)."""
    for name, definition in experiment.definitions.items():
        found = [k for k in kinds_of(name, experiment) if k != "op"]
        if len(found) > 1:
            meaning(name, experiment, at=definition.location)
    places = {n.name: n.location for n in experiment.networks.values()}
    places |= {s.name: s.location for s in experiment.states.values()}
    for name, place in places.items():
        if len(kinds_of(name, experiment)) > 1:
            meaning(name, experiment, at=place)
