"""What a name in an expression means: batch field, definition, network, state, counter or op.

    >>> meaning("fake_B", experiment, at=where)
    'definition'

Exactly one of these, or a :class:`GanflowError` with the nearest known names.
"""

from __future__ import annotations

import keyword
import re

from ganflow.errors import GanflowError, Location, did_you_mean
from ganflow.experiment import COUNTERS, Experiment

SPECIAL = ("frozen", "detach", "grad")

# Words of the generated step, which no network, op or variable may have.
HELPERS = frozenset(
    {"batch", "counters", "logs", "log_gradients", "parameters", "optimizers", "schedules", "states", "frozen",
     "no_grad", "draw", "gradient", "gradient_norm", "clip_gradients", "clear_gradients", "observe", "step",
     "set_hyperparameters", "fetch", "redraw", "run", "part", "share", "in_parts", "unrolled", "follow",
     "clamp_weights", "kept_buffers", "timed", "constant", "active", "values", "power", "bool", "range"}
)  # fmt: skip


def reserved(experiment: Experiment) -> set[str]:
    """What would mean something else in the generated step, or nothing."""
    own = [f"loss_{u}" for u in experiment.updates] + [f"next_{s}" for s in experiment.states]
    own += [f"run_{name}" for name in (*experiment.updates, *(f"{s}_State" for s in experiment.states))]
    return {*HELPERS, *keyword.kwlist, *(re.sub(r"\W", "_", name) for name in own)}


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
    words = reserved(experiment)
    for network in experiment.networks.values():
        if network.name in words:
            raise GanflowError(
                f"`{network.name}` cannot name a network: the generated step has a word of its own there",
                location=network.location, hint="choose another name", code="reserved-name",
            )  # fmt: skip
    for name in words & experiment.ops.keys():
        raise GanflowError(f"`{name}` cannot be an op: the generated step has a word of its own there",
                           hint="give your function another name", code="reserved-name")  # fmt: skip
    places = {n.name: n.location for n in experiment.networks.values()}
    places |= {s.name: s.location for s in experiment.states.values()}
    for name, place in places.items():
        if len(kinds_of(name, experiment)) > 1:
            meaning(name, experiment, at=place)
