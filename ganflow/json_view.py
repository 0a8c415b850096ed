"""StepGraph <-> JSON: everything, and back.

    text = to_json(graph)
    from_json(text) == graph             # True

Each value is an object with its ``type``; tuples are lists, except inside constants of the file, where both occur.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from graphlib import TopologicalSorter
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ganflow.errors import GanflowError, Location
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
from ganflow.verify import verify

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
        GanflowError: ``not-a-graph``: not JSON, of another version, damaged, or a plan that contradicts itself.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _not_a_graph(f"this is not JSON: {error}") from None
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise _not_a_graph(f"this is not a step graph of version {VERSION}")
    try:
        graph = _decode(found.get("graph"))
        if not isinstance(graph, StepGraph):
            raise _not_a_graph("this is not a step graph")
        tuple(TopologicalSorter({n: node.inputs for n, node in graph.nodes.items()}).static_order())
        verify(graph)
        _ = str(graph), graph.source  # an operator without operands has no text
    except (AssertionError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _not_a_graph(f"this step graph contradicts itself: {type(error).__name__}: {error}") from None
    return graph


def _not_a_graph(message: str) -> GanflowError:
    return GanflowError(message, hint="give what ganflow.json_view.to_json wrote, unchanged", code="not-a-graph")


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
    kind, items = value.get("type"), value.get("items")
    if kind == "mapping" and isinstance(items, list) and all(isinstance(i, list) and len(i) == 2 for i in items):
        return {_decode(k): _decode(v) for k, v in items}
    if kind == "list" and isinstance(items, list):
        return [_decode(i) for i in items]
    if not isinstance(kind, str) or kind not in _TYPES:
        raise _not_a_graph(f"there is no {kind!r} in a step graph")
    given = {k: _decode(v) for k, v in value.items() if k != "type"}
    hints = _hints(kind)
    wrong = [k for k, v in given.items() if k not in hints or not _fits(v, hints[k])]
    missing = [f.name for f in fields(_TYPES[kind]) if f.name not in given]
    if wrong or missing:
        raise _not_a_graph(f"a {kind} with {', '.join((*wrong, *missing))} that cannot be")
    return _TYPES[kind](**given)


@cache  # of a few classes; evaluating annotations takes longer than the rest
def _hints(kind: str) -> Mapping[str, Any]:
    return get_type_hints(_TYPES[kind])


def _fits(value: Any, hint: Any) -> bool:
    """Is the value of the type that a field is annotated with?"""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is object or hint is Any:
        return True
    if origin is Literal:
        return value in inner
    if origin in (Union, UnionType):
        return any(_fits(value, i) for i in inner)
    if origin is tuple and inner[-1] is ...:
        return isinstance(value, tuple) and all(_fits(v, inner[0]) for v in value)
    if origin is tuple:
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(_fits, value, inner))
    if origin is not None:
        return isinstance(value, dict) and all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    kinds = (int, float) if hint is float else hint
    return isinstance(value, kinds) and (hint is bool or not isinstance(value, bool))
