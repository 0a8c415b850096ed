"""Expressions under other names, and what a definition comes to when every name in it is followed.

renamed(parse("l1(y, real_B)", at), {"y": "fake_B"})       # the tree of l1(fake_B, real_B)
Meaning(experiment).of("fake_B") == Meaning(other).of("y")  # they say the same
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from ganflow import expr as E
from ganflow.errors import GanflowError
from ganflow.experiment import Definition, Experiment, Text
from ganflow.parsing import parse


def tree_of(text: Text | None) -> E.Expr | None:
    """The tree of a text; ``None`` for a plain string of the file that is no expression."""
    if text is None:
        return None
    try:
        return parse(text.source, text.location)
    except GanflowError:
        return None


def shown(text: Text | None, names: Mapping[str, str] | None = None) -> str:
    """The expression in one line, without comments, with names replaced."""
    tree = tree_of(text)
    if tree is None:
        return text.source if text is not None else ""
    return E.show(renamed(tree, names or {}))


def renamed(tree: E.Expr, names: Mapping[str, str]) -> E.Expr:
    """The tree with free names replaced; parameters and ``:=`` names of a template are its own."""
    if isinstance(tree, E.Name):
        return replace(tree, id=names.get(tree.id, tree.id))
    if isinstance(tree, E.Lambda):
        own = {*tree.parameters, *(n.name for n in E.walk(tree.body) if isinstance(n, E.Named))}
        return replace(tree, body=renamed(tree.body, {k: v for k, v in names.items() if k not in own}))
    parts: dict[str, Any] = {
        f.name: _renamed_part(getattr(tree, f.name), names) for f in fields(tree) if f.name != "location"
    }
    return replace(tree, **parts)


def _renamed_part(value: object, names: Mapping[str, str]) -> object:
    if isinstance(value, E.Expr):
        return renamed(value, names)
    return tuple(_renamed_part(v, names) for v in value) if isinstance(value, tuple) else value


def free_names(tree: E.Expr | None) -> Iterator[str]:
    """Names that a tree reads, each as often as it stands there."""
    if isinstance(tree, E.Name):
        yield tree.id
    elif isinstance(tree, E.Lambda):
        own = {*tree.parameters, *(n.name for n in E.walk(tree.body) if isinstance(n, E.Named))}
        yield from (n for n in free_names(tree.body) if n not in own)
    elif tree is not None:
        for child in E.children(tree):
            yield from free_names(child)


def is_number(value: object) -> bool:
    """A number, or a tuple of numbers."""
    if isinstance(value, (tuple, list)):
        return bool(value) and all(map(is_number, value))
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def same_value(a: object, b: object) -> bool:
    """Equal, and 1 is not True."""
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(map(same_value, a, b))
    return a == b and isinstance(a, bool) == isinstance(b, bool)


class Meaning:
    """Digests of what an experiment's definitions come to; lives for one comparison."""

    def __init__(self, experiment: Experiment) -> None:
        self.definitions = experiment.definitions
        self.known: dict[str, str] = {}

    def of(self, name: str) -> str:
        if name not in self.known:
            self.known[name] = name  # a definition in terms of itself has no meaning; others report it
            self.known[name] = self._of(self.definitions[name])
        return self.known[name]

    def _of(self, definition: Definition) -> str:
        value = definition.value
        if isinstance(value, Text):
            tree = tree_of(value)
            if tree is None:
                return _digest(f"text {value.source}")
            read = {n: f"<{self.of(n)}>" for n in set(free_names(tree)) if n in self.definitions}
            return _digest(E.show(renamed(tree, read)))
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return _digest(f"value {value!r}")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
