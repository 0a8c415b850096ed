"""Expressions as data: the tree of one expression, and its text.

    >>> show(Call(Name("D"), (Name("fake_B"),)))
    'D(fake_B)'

An :class:`Expr` is a tree of frozen dataclasses, each with the location of its own text. ``parsing.py`` makes it from
text, ``show`` makes text from it, and ``parse(show(e)) == e``. Nothing is ever evaluated here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ganflow.errors import Location

_NOWHERE = Location("<expression>", 1)


@dataclass(frozen=True, kw_only=True)
class Expr:
    """One piece of an expression; equality ignores where it was written."""

    location: Location = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class Const(Expr):
    value: bool | int | float | str | None

    def __eq__(self, other: object) -> bool:  # 1, 1.0 and True are different texts
        return isinstance(other, Const) and repr(self.value) == repr(other.value)

    def __hash__(self) -> int:
        return hash(repr(self.value))


@dataclass(frozen=True)
class Name(Expr):
    id: str


@dataclass(frozen=True)
class Attribute(Expr):
    value: Expr
    attr: str


@dataclass(frozen=True)
class Call(Expr):
    function: Expr
    args: tuple[Expr, ...] = ()
    keywords: tuple[tuple[str, Expr], ...] = ()


@dataclass(frozen=True)
class Unary(Expr):
    op: str  # "-" or "not"
    operand: Expr


@dataclass(frozen=True)
class Binary(Expr):
    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Compare(Expr):
    left: Expr
    ops: tuple[str, ...]
    rights: tuple[Expr, ...]


@dataclass(frozen=True)
class Bool(Expr):
    op: str  # "and" or "or"
    values: tuple[Expr, ...]


@dataclass(frozen=True)
class If(Expr):
    test: Expr
    body: Expr
    orelse: Expr


@dataclass(frozen=True)
class Index(Expr):
    value: Expr
    index: Expr


@dataclass(frozen=True)
class Slice(Expr):
    lower: Expr | None
    upper: Expr | None
    step: Expr | None


@dataclass(frozen=True)
class Pack(Expr):
    kind: str  # "tuple" or "list"
    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Lambda(Expr):
    parameters: tuple[str, ...]
    body: Expr


@dataclass(frozen=True)
class Named(Expr):
    name: str
    value: Expr


# -- Expr -> text -------------------------------------------------------------------------------------------

_PRECEDENCE = {
    "named": 0, "lambda": 1, "if": 2, "or": 3, "and": 4, "not": 5, "compare": 6,
    "+": 7, "-": 7, "*": 8, "/": 8, "//": 8, "%": 8, "@": 8, "neg": 9, "**": 10, "atom": 12,
}  # fmt: skip


def show(expr: Expr) -> str:
    """The text of an expression; ``parse(show(e)) == e``."""
    return _show(expr)[0]


def _show(expr: Expr) -> tuple[str, int]:
    """Text and precedence, kept with the expression: the parts of a long one are shown again and again."""
    for part in _spine(expr):
        if "_shown" not in part.__dict__:
            part.__dict__["_shown"] = _form(part)
    return expr.__dict__["_shown"]  # type: ignore[no-any-return]


def _spine(expr: Expr) -> Iterator[Expr]:
    """``a + b - c`` -> a, a + b, a + b - c: from its left end, a sum of many terms is no deeper than one of two."""
    found = [expr]
    while isinstance(expr, Binary) and "_shown" not in expr.__dict__:
        found.append(expr := expr.left)
    return reversed(found)


def _form(expr: Expr) -> tuple[str, int]:
    match expr:
        case Const(value=value):
            return repr(value), _PRECEDENCE["atom"]
        case Name(id=name):
            return name, _PRECEDENCE["atom"]
        case Attribute(value=value, attr=attr):
            return f"{_inside(value, 'atom', number=True)}.{attr}", _PRECEDENCE["atom"]
        case Call(function=function, args=args, keywords=keywords):
            parts = [_argument(a) for a in args] + [f"{k}={_argument(v)}" for k, v in keywords]
            return f"{_inside(function, 'atom', number=True)}({', '.join(parts)})", _PRECEDENCE["atom"]
        case Unary(op="-", operand=operand):
            return f"-{_inside(operand, 'neg')}", _PRECEDENCE["neg"]
        case Unary(operand=operand):
            return f"not {_inside(operand, 'not')}", _PRECEDENCE["not"]
        case Binary(op="**", left=left, right=right):
            return f"{_inside(left, 'atom')} ** {_inside(right, 'neg')}", _PRECEDENCE["**"]
        case Binary(op=op, left=left, right=right):
            return f"{_inside(left, op)} {op} {_inside(right, op, tighter=True)}", _PRECEDENCE[op]
        case Compare(left=left, ops=ops, rights=rights):
            tail = "".join(f" {o} {_inside(r, '+')}" for o, r in zip(ops, rights, strict=True))
            return _inside(left, "+") + tail, _PRECEDENCE["compare"]
        case Bool(op=op, values=values):
            return f" {op} ".join(_inside(v, op, tighter=True) for v in values), _PRECEDENCE[op]
        case If(test=test, body=body, orelse=orelse):
            text = f"{_inside(body, 'or')} if {_inside(test, 'or')} else {_inside(orelse, 'if')}"
            return text, _PRECEDENCE["if"]
        case Index(value=value, index=index):
            return f"{_inside(value, 'atom', number=True)}[{_subscript(index)}]", _PRECEDENCE["atom"]
        case Pack(kind="tuple", items=items):
            comma = "," if len(items) == 1 else ""
            return f"({', '.join(map(_argument, items))}{comma})", _PRECEDENCE["atom"]
        case Pack(items=items):
            return f"[{', '.join(map(_argument, items))}]", _PRECEDENCE["atom"]
        case Lambda(parameters=parameters, body=body):
            head = f"lambda {', '.join(parameters)}" if parameters else "lambda"
            return f"{head}: {_inside(body, 'lambda')}", _PRECEDENCE["lambda"]
        case Named(name=name, value=value):
            return f"{name} := {_inside(value, 'lambda')}", _PRECEDENCE["named"]
        case Slice():
            return _slice(expr), _PRECEDENCE["atom"]
    raise AssertionError(f"not an expression: {expr!r}")


def _inside(expr: Expr, operator: str, *, tighter: bool = False, number: bool = False) -> str:
    text, precedence = _show(expr)
    bare_number = number and isinstance(expr, Const) and isinstance(expr.value, (int, float))
    floor = _PRECEDENCE[operator] + (1 if tighter else 0)
    return f"({text})" if precedence < floor or bare_number else text


def _argument(expr: Expr) -> str:
    return _inside(expr, "lambda")


def _subscript(index: Expr) -> str:
    if isinstance(index, Pack) and index.kind == "tuple" and index.items:
        comma = "," if len(index.items) == 1 else ""
        return ", ".join(_subscript_part(i) for i in index.items) + comma
    return _subscript_part(index)


def _subscript_part(index: Expr) -> str:
    return _slice(index) if isinstance(index, Slice) else _argument(index)


def _slice(s: Slice) -> str:
    lower, upper = ("" if b is None else _argument(b) for b in (s.lower, s.upper))
    return f"{lower}:{upper}" + ("" if s.step is None else f":{_argument(s.step)}")


# -- walking ------------------------------------------------------------------------------------------------


def children(expr: Expr) -> Iterator[Expr]:
    """The direct parts of an expression, left to right."""
    for name in expr.__dataclass_fields__:
        yield from _parts(getattr(expr, name))


def _parts(value: object) -> Iterator[Expr]:
    if isinstance(value, Expr):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _parts(item)


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and everything in it, left to right."""
    stack = [expr]
    while stack:
        found = stack.pop()
        yield found
        stack.extend(reversed(list(children(found))))
