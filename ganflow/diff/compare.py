"""Two sides -> Comparison.

comparison = compare(Side(a, schedule(a)), Side(b, schedule(b)))
comparison.same                     # the same experiment, names of definitions aside
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ganflow.diff import declared
from ganflow.diff.data import SECTIONS, Change, Comparison, Side
from ganflow.diff.matching import match_sides
from ganflow.diff.schedule import draw_changes, label, mode_changes, schedule_changes, state_changes
from ganflow.diff.terms import term_changes
from ganflow.diff.values import View, edge_changes, number_changes, value_changes
from ganflow.views import forwards


def compare(a: Side, b: Side) -> Comparison:
    """How ``b`` differs from ``a``.

    Both must have been scheduled: an experiment that cannot be is an error of its own. What a side does not know
    (cost, defaults) is not compared.
    """
    view = View(a, b, match_sides(a, b))
    found = list(_declared(view))
    found += mode_changes(view, _causes(found))
    found += edge_changes(view)
    found += draw_changes(view)
    order = {section: k for k, section in enumerate(SECTIONS)}
    changes = sorted(found, key=lambda c: (bool(c.because), order[c.section]))
    costs = tuple(
        replace(s.cost, forwards=dict(forwards(s.graph)), conditional=bool(s.graph.conditions)) for s in (a, b)
    )
    return Comparison(a.experiment.name, b.experiment.name, view.match.exact, _renamed(view), tuple(changes),
                      (costs[0], costs[1]))  # fmt: skip


def _causes(found: list[Change]) -> tuple[str, ...]:
    """Subjects of what somebody wrote: what makes another graph, or else a weight that is now 0."""
    written = [c for c in found if not c.because]
    graph = [c.subject for c in written if c.level == "graph"]
    zeros = [c.subject for c in written if c.section == "numbers" and 0 in (c.before, c.after)]
    return tuple(dict.fromkeys([*graph, *zeros] or [c.subject for c in written]))


def _declared(view: View) -> Iterator[Change]:
    a, b = declared.Bindings(view.a), declared.Bindings(view.b)
    yield from declared.network_changes(view, a, b)
    yield from value_changes(view)
    yield from term_changes(view)
    yield from schedule_changes(view)
    yield from state_changes(view)
    yield from number_changes(view)
    yield from declared.optimizer_changes(view, a, b)
    yield from declared.op_changes(view, a, b)
    yield from declared.trainer_changes(view, a, b)
    yield from declared.other_changes(view, a, b)


def _renamed(view: View) -> tuple[tuple[str, str], ...]:
    """Definitions under another name, then parts of texts that are a definition on one side."""
    found = [(x, y) for x, y in view.match.names.items() if x != y]
    if view.match.exact:
        found += _moved(view, view.match.nodes)
    return tuple(dict.fromkeys(found))


def _moved(view: View, nodes: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for x, y in nodes.items():
        m, n = view.a.graph.nodes[x], view.b.graph.nodes[y]
        named = m.name in view.a.experiment.definitions, n.name in view.b.experiment.definitions
        if named[0] != named[1] and m.kind not in ("constant", "field"):
            yield label(view.a, m), label(view.b, n)
