"""Every plan that differs from a plan in one place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from ganflow.graph import Arm, Evaluate, Node, Phase, StepGraph, UpdatePlan

SAID = {  # what only people read, or is no part of the plan of one iteration
    StepGraph: ("name", "names", "optimizers", "pruned", "scheduled", "plans", "active"),
    UpdatePlan: ("terms", "location", "gain", "clip_norm", "clip_value", "nan_to_num"),
    Node: (),
}


def mutants(graph: StepGraph) -> Iterator[tuple[str, StepGraph]]:
    """``(what was changed, the changed plan)``, of what is done: phases, their actions, and what they say."""
    for what, phases in _of_items(graph.phases, _of_phase, "phases"):
        yield what, replace(graph, phases=phases)


def _of_phase(phase: Phase) -> Iterator[tuple[str, Phase]]:
    for f in fields(phase):
        value = getattr(phase, f.name)
        one = {"actions": _of_data, "updates": _of_data, "commits": _of_data, "arms": _of_arm}.get(f.name)
        if f.name in ("kind", "run"):
            continue
        for what, new in _of_items(value, one, f.name) if isinstance(value, tuple) else _of_value(value, f.name):
            yield f"{phase.name}.{what}", replace(phase, **{f.name: new})


def _of_arm(arm: Arm) -> Iterator[tuple[str, Arm]]:
    for what, phases in _of_items(arm.phases, _of_phase, "phases"):
        yield f"arm.{what}", replace(arm, phases=phases)
    for what, frees in _of_items(arm.frees, None, "frees"):
        yield f"arm.{what}", replace(arm, frees=frees)


def _of_data(value: Any) -> Iterator[tuple[str, Any]]:
    label = f"{type(value).__name__} {getattr(value, 'node', getattr(value, 'name', ''))}"
    for f in fields(value):
        if f.name in ("location", "where", *SAID.get(type(value), ())):
            continue
        current = getattr(value, f.name)
        changed = _of_items(current, None, f.name) if isinstance(current, tuple) else _of_value(current, f.name)
        for what, new in changed:
            yield f"{label}.{what}", replace(value, **{f.name: new})


def _of_items(items: tuple[Any, ...], inner: Any, name: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for i, item in enumerate(items):
        yield f"{name}: without [{_short(item)}]", (*items[:i], *items[i + 1 :])
        if name in ("phases", "actions") and not (isinstance(item, Phase) and item.arms):
            yield f"{name}: twice [{_short(item)}]", (*items[: i + 1], item, *items[i + 1 :])
        if name in ("phases", "actions") and i + 1 < len(items):
            yield f"{name}: [{_short(item)}] later", (*items[:i], items[i + 1], item, *items[i + 2 :])
        if inner is not None and is_dataclass(item):
            for what, new in inner(item):
                yield f"{name}[{what}]", (*items[:i], new, *items[i + 1 :])


def _of_value(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, bool):
        yield f"{name} = {not value}", not value
    elif isinstance(value, int):
        yield f"{name} = {value + 1}", value + 1
    elif name == "mode":
        yield from ((f"{name} = {m}", m) for m in ("train", "through", "no-grad", "cone", "graph") if m != value)


def _short(item: Any) -> str:
    if isinstance(item, Evaluate | Phase):
        return f"{type(item).__name__} {item.node if isinstance(item, Evaluate) else item.name}"
    return str(item)[:60]
