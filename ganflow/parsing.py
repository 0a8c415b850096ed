"""The expression language: text -> :class:`Expr`.

    >>> e = parse("gan(D(cat(real_A, fake_B)), True)")
    >>> show(e)
    'gan(D(cat(real_A, fake_B)), True)'
    >>> parse(show(e)) == e
    True

Comes in: the text of one expression and the :class:`Location` of its first character. Goes out: a tree of
frozen dataclasses, each with the location of its own text, or a :class:`GanflowError` with a caret.
Nothing is ever evaluated; what a name means is decided in ``resolve.py``.
"""

from __future__ import annotations

import ast
import functools
import io
import math
import re
import tokenize
import warnings
from dataclasses import dataclass

from ganflow.errors import GanflowError, Location
from ganflow.expr import (
    Attribute,
    Binary,
    Bool,
    Call,
    Compare,
    Const,
    Expr,
    If,
    Index,
    Lambda,
    Name,
    Named,
    Pack,
    Slice,
    Unary,
)

MAX_DEPTH = 150  # every pass over the tree is recursive; a person never nests this deep
MAX_CHAIN = 2_000  # operators in a row are no nesting, but Python's own compiler has an end
MAX_LENGTH = 50_000

_BINARY = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//",
    ast.Mod: "%", ast.Pow: "**", ast.MatMult: "@",
}  # fmt: skip
_COMPARE = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_GRAMMAR = (
    "allowed: names, numbers, strings, True/False/None, tuples, lists, + - * / // % ** @, comparisons, "
    "and/or/not, a if c else b, f(x, key=y), N(x), N.method(x), x[i], lambda, (name := e)"
)


def parse(text: str, origin: Location | None = None) -> Expr:
    """The expression that ``text`` says.

    Args:
        text: one expression; it may span lines and carry comments.
        origin: where its first character stands (``column`` set), for error messages.

    Raises:
        GanflowError: ``syntax`` for text outside the grammar, with file, line and a caret.
    """
    where = _Origin(text, origin)
    if len(text) > MAX_LENGTH:
        raise GanflowError(
            f"an expression of {len(text):,} characters; at most {MAX_LENGTH:,} are read",
            location=where.start, code="syntax",
        )  # fmt: skip
    if not text.strip():
        raise GanflowError("an empty expression", location=where.start, code="syntax")
    _balanced(text, where)
    try:
        with warnings.catch_warnings():  # `1if x else y` and the like: Python's opinion, not ours
            warnings.simplefilter("ignore")
            tree = ast.parse(f"(\n{text}\n)", mode="eval")
    except SyntaxError as error:
        raise _syntax(error, where) from None
    except (RecursionError, MemoryError):
        raise _too_deep(where.start) from None
    except ValueError as error:  # null bytes, integers of thousands of digits
        message = f"cannot read this expression: {str(error).split(';')[0]}"
        raise GanflowError(message, location=where.start, code="syntax") from None
    return _convert(tree.body, where, 0)


@dataclass(frozen=True)
class _Origin:
    """Turns a position in the wrapped text into a place in the gin file."""

    text: str
    location: Location | None

    @functools.cached_property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    @property
    def start(self) -> Location:
        return self.at(2, 0, 1)

    def at(self, line: int, column: int, length: int) -> Location:
        index = max(0, line - 2)  # the wrapping parenthesis is line 1
        source = self.lines[min(index, len(self.lines) - 1)]
        if not source.isascii():
            column = len(source.encode()[:column].decode(errors="ignore"))  # ast counts bytes
        if self.location is None:
            return Location("<expression>", index + 1, column, length, source)
        if self.location.column is None:  # only the line of the statement is known
            return self.location
        if index == 0:
            return self.location.shifted(self.location.column + column, length)
        return Location(self.location.file, self.location.line + index, column, length, source)

    def of(self, node: ast.AST) -> Location:
        line, column = getattr(node, "lineno", 2), getattr(node, "col_offset", 0)
        same_line = getattr(node, "end_lineno", line) == line
        length = getattr(node, "end_col_offset", column + 1) - column if same_line else 1
        return self.at(line, column, length)


def _balanced(text: str, where: _Origin) -> None:
    """Refuse `a) + (b`, which the wrapping parentheses would otherwise make legal."""
    depth = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(f"(\n{text}\n)").readline):
            depth += (token.string in ("(", "[", "{")) - (token.string in (")", "]", "}"))
            closes_wrapper = depth == 0 and token.string == ")" and token.start[0] < 2 + text.count("\n") + 1
            if token.type == tokenize.OP and closes_wrapper:
                location = where.at(token.start[0], token.start[1], 1)
                raise GanflowError("unmatched `)`", location=location, code="syntax")
    except (tokenize.TokenError, SyntaxError, IndentationError):
        return  # ast.parse says it better


def _syntax(error: SyntaxError, where: _Origin) -> GanflowError:
    line = error.lineno or 2
    column = max(0, (error.offset or 1) - 1)
    last = where.text.count("\n") + 2
    if line > last:  # the wrapping parenthesis was blamed: the text ended too early
        line, column = last, len(where.text.split("\n")[-1])
    source = where.text.split("\n")[max(0, min(line, last) - 2)]
    column = len(source[:column].encode())  # SyntaxError counts characters, `at` takes bytes
    message = re.sub(r"[.]? Perhaps you forgot a comma[?]?", "", error.msg or "invalid syntax")
    message = message.replace("f-string: ", "").split(" (<unknown>")[0]
    return GanflowError(
        f"this is not an expression: {message}",
        location=where.at(line, column, 1),
        hint=_GRAMMAR,
        code="syntax",
    )


def _too_deep(where: Location) -> GanflowError:
    return GanflowError(
        f"nested more than {MAX_DEPTH} levels deep", location=where,
        hint="give the inner parts names of their own", code="syntax",
    )  # fmt: skip


def _refuse(node: ast.AST, what: str, where: _Origin) -> GanflowError:
    return GanflowError(
        f"{what} is not part of the expression language",
        location=where.of(node),
        hint=_GRAMMAR,
        code="syntax",
    )


def _identifier(name: str, node: ast.AST, where: _Origin) -> str:
    if name.startswith("__") or name.endswith("__"):
        raise _refuse(node, f"the name `{name}` with double underscores", where)
    return name


def _convert(node: ast.AST, where: _Origin, depth: int) -> Expr:
    if depth > MAX_DEPTH:
        raise _too_deep(where.of(node))

    def sub(child: ast.AST) -> Expr:
        return _convert(child, where, depth + 1)

    def maybe(child: ast.AST | None) -> Expr | None:
        return None if child is None else sub(child)

    at = where.of(node)
    match node:
        case ast.Constant():
            return Const(_constant(node, where), location=at)
        case ast.Name(id=name):
            return Name(_identifier(name, node, where), location=at)
        case ast.Attribute(value=value, attr=attr):
            return Attribute(sub(value), _identifier(attr, node, where), location=at)
        case ast.Call():
            return _convert_call(node, where, depth, at)
        case ast.UnaryOp(op=ast.USub() | ast.Not() as op, operand=operand):
            return Unary("-" if isinstance(op, ast.USub) else "not", sub(operand), location=at)
        case ast.BinOp(op=op) if type(op) in _BINARY:
            return _chain(node, where, depth)
        case ast.Compare(left=left, ops=ops, comparators=rights) if all(type(o) in _COMPARE for o in ops):
            symbols = tuple(_COMPARE[type(o)] for o in ops)
            return Compare(sub(left), symbols, tuple(map(sub, rights)), location=at)
        case ast.BoolOp(op=op, values=values):
            return Bool("and" if isinstance(op, ast.And) else "or", tuple(map(sub, values)), location=at)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return If(sub(test), sub(body), sub(orelse), location=at)
        case ast.Subscript(value=value, slice=index):
            return Index(sub(value), sub(index), location=at)
        case ast.Slice(lower=lower, upper=upper, step=step):
            return Slice(maybe(lower), maybe(upper), maybe(step), location=at)
        case ast.Tuple(elts=items) | ast.List(elts=items):
            kind = "tuple" if isinstance(node, ast.Tuple) else "list"
            return Pack(kind, tuple(map(sub, items)), location=at)
        case ast.Lambda(body=body):
            return Lambda(_parameters(node, where), sub(body), location=at)
        case ast.NamedExpr(target=target, value=value):
            return Named(_identifier(target.id, node, where), sub(value), location=at)
    raise _refuse(node, _describe(node), where)


def _chain(node: ast.BinOp, where: _Origin, depth: int) -> Expr:
    """A sum or a product from its left end: however many terms it has, they stand beside one another."""
    parts: list[ast.BinOp] = []
    left: ast.AST = node
    while isinstance(left, ast.BinOp) and type(left.op) in _BINARY:
        parts.append(left)
        left = left.left
    if len(parts) > MAX_CHAIN:
        raise GanflowError(
            f"{len(parts):,} operators in a row; at most {MAX_CHAIN:,} are read", location=where.of(node),
            hint="give parts of it names of their own", code="syntax",
        )  # fmt: skip
    found = _convert(left, where, depth + 1)
    for part in reversed(parts):
        right = _convert(part.right, where, depth + 1)
        found = Binary(_BINARY[type(part.op)], found, right, location=where.of(part))
    return found


def _convert_call(node: ast.Call, where: _Origin, depth: int, at: Location) -> Call:
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            raise _refuse(argument, "`*` in a call", where)
    for keyword in node.keywords:
        if keyword.arg is None:
            raise _refuse(keyword.value, "`**` in a call", where)
    keywords = tuple((k.arg or "", _convert(k.value, where, depth + 1)) for k in node.keywords)
    args = tuple(_convert(a, where, depth + 1) for a in node.args)
    return Call(_convert(node.func, where, depth + 1), args, keywords, location=at)


def _constant(node: ast.Constant, where: _Origin) -> bool | int | float | str | None:
    value = node.value
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise _refuse(node, f"the literal `{value!r}`", where)
    if isinstance(value, float) and not math.isfinite(value):
        raise GanflowError("this number is too large for a float", location=where.of(node), code="syntax")
    if isinstance(value, int) and value.bit_length() > 1024:
        raise GanflowError("this integer has more than 1024 bits", location=where.of(node), code="syntax")
    return value


def _parameters(node: ast.Lambda, where: _Origin) -> tuple[str, ...]:
    a = node.args
    if a.vararg or a.kwarg or a.kwonlyargs or a.defaults or a.posonlyargs:
        raise _refuse(node, "a template with `*`, `**`, `/` or default values", where)
    return tuple(_identifier(p.arg, node, where) for p in a.args)


def _describe(node: ast.AST) -> str:
    names = {
        "ListComp": "a comprehension", "SetComp": "a comprehension", "DictComp": "a comprehension",
        "GeneratorExp": "a comprehension", "Dict": "a dict", "Set": "a set", "JoinedStr": "an f-string",
        "Await": "`await`", "Yield": "`yield`", "YieldFrom": "`yield`", "Starred": "`*`",
    }  # fmt: skip
    if isinstance(node, ast.Compare):
        return "`is` or `in`"
    if isinstance(node, ast.BinOp):
        return "a bitwise operator"
    if isinstance(node, ast.UnaryOp):
        return "unary `+` or `~`"
    return names.get(type(node).__name__, f"`{type(node).__name__}`")
