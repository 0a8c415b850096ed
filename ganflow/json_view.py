"""StepGraph <-> JSON: everything, and back.

    text = to_json(graph)
    from_json(text) == graph             # True

Each value is an object with its ``type``; tuples are lists, except inside constants of the file, where both occur.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from ganflow.errors import Location
from ganflow.experiment import Diagnostic, Reference
from ganflow.graph import (
    Arm,
    Average,
    Commit,
    Condition,
    Evaluate,
    Free,
    Leaf,
    NetworkPlan,
    Node,
    Phase,
    Pruned,
    Reuse,
    StatePlan,
    StepGraph,
    Term,
    Unroll,
    UpdatePlan,
)

VERSION = 1
_TYPES: Mapping[str, type[Any]] = {
    t.__name__: t
    for t in (
        *(StepGraph, Node, Unroll, Term, UpdatePlan, StatePlan, Average, Condition, NetworkPlan, Pruned),
        *(Phase, Arm, Commit, Evaluate, Reuse, Leaf, Free, Reference, Diagnostic, Location),
    )
}


def to_json(graph: StepGraph, *, indent: int | None = 1) -> str:
    """The whole graph as JSON text; ``version`` names the format."""
    return json.dumps({"version": VERSION, "graph": _encode(graph)}, indent=indent, ensure_ascii=False)


def from_json(text: str) -> StepGraph:
    """The graph that :func:`to_json` wrote.

    Raises:
        ValueError: not JSON, or of another version.
    """
    found = json.loads(text)
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise ValueError(f"this is not a step graph of version {VERSION}")
    graph = _decode(found["graph"])
    if not isinstance(graph, StepGraph):
        raise ValueError("this is not a step graph")
    return graph


def _encode(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__, **{f.name: _encode(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, Mapping):
        return {"type": "mapping", "items": [[_encode(k), _encode(v)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return [_encode(v) for v in value]
    if isinstance(value, list):
        return {"type": "list", "items": [_encode(v) for v in value]}
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_decode, value))
    if not isinstance(value, dict):
        return value
    if value["type"] == "mapping":
        return {_decode(k): _decode(v) for k, v in value["items"]}
    if value["type"] == "list":
        return list(map(_decode, value["items"]))
    given = {k: _decode(v) for k, v in value.items() if k != "type"}
    return _TYPES[value["type"]](**given)
