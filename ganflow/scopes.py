"""Where an expression is read: whose text it is, and what its local names mean.

bind(template, call)      # [("fake", <expr>), ...]: the arguments of a template by parameter
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ganflow import expr as E
from ganflow.errors import GanflowError, Location


@dataclass(frozen=True)
class Template:
    parameters: tuple[str, ...]
    body: E.Expr
    name: str
    location: Location


@dataclass(frozen=True)
class NetworkName:
    """A network handed to a template: ``frozen`` if it was handed over as ``frozen(N)``."""

    name: str
    frozen: bool = False


Local = str | NetworkName  # a node id, or a network


@dataclass
class Scope:
    """Where an expression is read: whose text it is, and the local names of the template being expanded."""

    owner: str
    path: str
    locals: dict[str, Local] = field(default_factory=dict)
    expanding: tuple[str, ...] = ()


def bind(template: Template, tree: E.Call) -> list[tuple[str, E.Expr]]:
    """Arguments by parameter, in the order in which they are written."""
    given = [(p, a) for p, a in zip(template.parameters, tree.args, strict=False)]
    given += [(k, v) for k, v in tree.keywords]
    names = [k for k, _ in given]
    wrong = len(tree.args) > len(template.parameters) or sorted(names) != sorted(template.parameters)
    if wrong:
        raise GanflowError(
            f"the template `{template.name}` takes ({', '.join(template.parameters)})", location=tree.location,
            hint=f"{len(tree.args)} positional arguments and keywords {[k for k, _ in tree.keywords]} were given",
            code="arguments",
        )  # fmt: skip
    return given


def check_constant(name: str, value: object, at: Location) -> None:
    if isinstance(value, (tuple, list)):
        for item in value:
            check_constant(name, item, at)
    elif value is not None and not isinstance(value, (bool, int, float, str)):
        raise GanflowError(
            f"`{name}` is {value!r}, which expressions cannot read", location=at, code="not-a-value",
            hint="a definition is a number, a bool, a tuple, an expression in quotes, or an object @name()",
        )  # fmt: skip
