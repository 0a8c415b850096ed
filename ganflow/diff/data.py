"""What a comparison is made of and what comes out of it: frozen data.

a, b = Side(experiment, graph), Side(other, schedule(other))
compare(a, b).verdict                 # 'same step graph, other numbers: lambda_A 100 → 10'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ganflow.experiment import Experiment
from ganflow.graph import StepGraph

Section = Literal[
    "networks", "values", "terms", "schedule", "states", "numbers", "optimizers", "ops", "data", "trainer", "other",
    "edges", "modes", "draws",
]  # fmt: skip
SECTIONS: tuple[Section, ...] = (
    "networks", "values", "terms", "schedule", "states", "numbers", "optimizers", "ops", "data", "trainer", "other",
    "edges", "modes", "draws",
)  # fmt: skip
Kind = Literal["added", "removed", "changed"]
Level = Literal["graph", "setting", "loop"]


@dataclass(frozen=True)
class Measured:
    """What a step costs, as ``cost.py`` measures it; empty where nobody did.

    Args:
        flops: update -> FLOPs per iteration, forward and backward.
        textbook: FLOPs of the same step when every backward reaches every parameter.
        parameters: network -> number of parameters.
        forwards: network -> forward passes per iteration.
        conditional: some iterations skip a part of it.
    """

    flops: Mapping[str, int] = field(default_factory=dict)
    textbook: int = 0
    parameters: Mapping[str, int] = field(default_factory=dict)
    forwards: Mapping[str, int] = field(default_factory=dict)
    conditional: bool = False

    @property
    def total(self) -> int:
        return sum(self.flops.values())


@dataclass(frozen=True)
class Side:
    """One of the two experiments.

    Args:
        cost: parameters and FLOPs, where they were measured.
        defaults: configurable -> parameter -> default, so that binding a default is no difference.
    """

    experiment: Experiment
    graph: StepGraph
    cost: Measured = Measured()
    defaults: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """One difference.

    Args:
        section: what it is about.
        subject: the network, value, term, update or parameter that differs; names are those of the second side where
            both have one.
        what: which of its properties, empty for the thing itself.
        before, after: plain values, expressions as text; ``None`` on the side that lacks it.
        level: ``graph``: other things are evaluated, cut or stepped; ``setting``: the same step with other numbers,
            networks or data; ``loop``: what surrounds the step and does not change what is learned from a batch.
        update: in which update it shows.
        because: subjects of the changes that it follows from; empty for a change that somebody wrote.
        note: a reason in words.
    """

    section: Section
    subject: str
    what: str = ""
    before: object = None
    after: object = None
    kind: Kind = "changed"
    level: Level = "setting"
    update: str = ""
    because: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """How experiment ``b`` differs from experiment ``a``.

    Args:
        a, b: their names.
        isomorphic: what the losses, states and predicates are made of is the same, but for names and numbers.
        renamed: (name in a, name in b) of definitions that say the same; a part of a text that got a name is there
            with its text.
        changes: in order of importance; those with a ``because`` are consequences.
        costs: of both sides.
    """

    a: str
    b: str
    isomorphic: bool
    renamed: tuple[tuple[str, str], ...] = ()
    changes: tuple[Change, ...] = ()
    costs: tuple[Measured, Measured] = (Measured(), Measured())

    @property
    def written(self) -> tuple[Change, ...]:
        """Changes that somebody wrote, consequences and other draws left out."""
        return tuple(c for c in self.changes if not c.because and c.section != "draws")

    @property
    def consequences(self) -> tuple[Change, ...]:
        return tuple(c for c in self.changes if c.because and c.section != "draws")

    @property
    def same(self) -> bool:
        """The same experiment, names of definitions aside."""
        return self.same_graph and all(c.section == "draws" for c in self.changes)

    @property
    def same_graph(self) -> bool:
        """The same step graph; its numbers, networks and data may be others."""
        return self.isomorphic and all(c.level != "graph" for c in self.changes if c.section != "draws")

    @property
    def same_draws(self) -> bool:
        """Values that are random on both sides are drawn from the same streams."""
        return all(c.section != "draws" for c in self.changes)
