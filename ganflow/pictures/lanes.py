"""One phase of a step graph -> one lane of a picture.

lane, reuses, moments = drafted(graph, phase, "1", costs={}, made={})
"""

from __future__ import annotations

from ganflow.graph import Action, Evaluate, Phase, Reuse, StepGraph
from ganflow.pictures.draft import Costs, Draft
from ganflow.pictures.ends import ends
from ganflow.pictures.model import Arrow, Lane, Moment
from ganflow.printing import runs_text
from ganflow.views import root_text


def drafted(
    graph: StepGraph, phase: Phase, number: str, *, costs: Costs, made: dict[str, str], under: str = ""
) -> tuple[Lane, list[Arrow], list[Moment]]:
    """The lane, the arrows into it from earlier ones, and what happens in it.

    Args:
        costs: (phase, node) -> (shape, cost), as text.
        made: node -> the box that holds its value; is brought up to date.
        under: the outcome for which the phase is there.
    """
    draft = Draft(graph, phase, number, costs, made)
    facts = _facts(graph, phase)
    if facts and phase.kind == "update":
        draft.tell(f"{_title(phase)}: {'; '.join(facts)}")
    for action in phase.actions:
        _act(draft, action)
    ends(draft)
    lane = Lane(
        number, _title(phase), tuple(draft.boxes.values()), tuple(draft.arrows.values()),
        tuple(dict.fromkeys(t for u in phase.updates for t in u.trains)),
        tuple(dict.fromkeys(f for u in phase.updates for f in u.freezes)), facts, under, phase.name,
    )  # fmt: skip
    return lane, draft.reuses, draft.moments


def _act(draft: Draft, action: Action) -> None:
    if isinstance(action, Reuse):
        draft.reuse(action)
    elif isinstance(action, Evaluate) and draft.graph.nodes[action.node].is_statement:
        draft.evaluate(action)


def _title(phase: Phase) -> str:
    match phase.kind:
        case "when":
            return "decide"
        case "average":
            return "after the last update"
        case "states":
            return "at the end"
    return f"{'update' if len(phase.updates) == 1 else 'group'} {phase.name}"


def _facts(graph: StepGraph, phase: Phase) -> tuple[str, ...]:
    """What is said in the head of a lane."""
    found = [part for part in runs_text(phase).split(", ") if part]
    conditions = {c.name: c for c in graph.conditions}
    asked = [u.name for u in phase.updates] + [f"{c.state}/State" for c in phase.commits]
    for name in (n for n in asked if n in conditions and n not in phase.asks):
        which = "" if len(phase.updates) == 1 and name == phase.name else f"{name} "
        waits = " (waits for the device)" if conditions[name].syncs else ""
        if conditions[name].early:
            found.append(f"{which}when {root_text(graph, conditions[name].node)}{waits}")
    if phase.kind == "when":
        found.append("waits for the device")
    if phase.redraws:
        found.append(f"draws {', '.join(phase.redraws)} anew")
    return tuple(found)
