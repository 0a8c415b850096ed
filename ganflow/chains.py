"""Long chains of definitions, read from their far end: each that reads the next is a level of recursion.

for name in milestones(tree, experiment, tree_of):
    reader.definition(name, at)          # afterwards no definition is more than LEVELS away from one that is read
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ganflow import expr as E
from ganflow.errors import GanflowError
from ganflow.experiment import Experiment, Text

LEVELS = 20


def milestones(tree: E.Expr, experiment: Experiment, tree_of: Callable[[str], E.Expr]) -> Iterator[str]:
    """Every ``LEVELS``-th definition below a text, the innermost first; none where no chain is that long.

    Args:
        tree_of: the text of a definition, parsed.
    """
    for name, height in _heights(tree, experiment, tree_of).items():
        if height % LEVELS == 0 and not isinstance(tree_of(name), E.Lambda):
            yield name


def _heights(tree: E.Expr, experiment: Experiment, tree_of: Callable[[str], E.Expr]) -> dict[str, int]:
    """Definition -> the longest chain of definitions that it is the end of; inner ones first. Cycles are cut."""
    found: dict[str, int] = {}
    inside: dict[str, list[str]] = {}  # what is being looked at -> the definitions that it reads
    stack = _read(tree, experiment)[::-1]
    while stack:
        name = stack[-1]
        if name in found:
            stack.pop()
        elif name not in inside:
            inside[name] = _read_in(name, experiment, tree_of)
            stack += (n for n in reversed(inside[name]) if n not in inside)
        else:
            found[name] = 1 + max((found.get(n, 0) for n in inside[name]), default=0)
            stack.pop()
    return found


def _read_in(name: str, experiment: Experiment, tree_of: Callable[[str], E.Expr]) -> list[str]:
    try:
        return _read(tree_of(name), experiment)
    except GanflowError:  # said in its turn
        return []


def _read(tree: E.Expr, experiment: Experiment) -> list[str]:
    """The definitions that stand in a text, each once."""
    parts = list(E.walk(tree))
    local = {p for part in parts if isinstance(part, E.Lambda) for p in part.parameters}
    names = dict.fromkeys(part.id for part in parts if isinstance(part, E.Name) and part.id not in local)
    return [n for n in names if n in experiment.definitions and isinstance(experiment.definitions[n].value, Text)]
