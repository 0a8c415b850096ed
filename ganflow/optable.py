"""The ops that expressions may call: the library's, and every function of the user's that a text mentions.

ops_of(reading.lines, table)["gan"].bound        # {"mode": "lsgan"}
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from gin import config as gin_config

from ganflow import components
from ganflow.bindings import Table, plain
from ganflow.errors import GanflowError
from ganflow.experiment import Op
from ganflow.ginfile import Line

DECLARING = ("gin", components.MODULE)  # what declares or is gin's own is no op: macro(x), Trainer()
_CALLED = re.compile(r"\b(?:[A-Za-z_]\w*)(?=\s*\()")


def ops_of(lines: Sequence[Line], table: Table, imports: Sequence[str] = ()) -> dict[str, Op]:
    """Op by name, with what the gin file binds of it; ``imports``: the modules that it names."""
    builtin = components.builtin_ops()
    _check_clashes(lines, builtin, imports)
    found = {n: _op(n, o.function, o.kind, table, host=o.host, host_result=o.host_result) for n, o in builtin.items()}
    texts = " ".join(v for x in lines for v in _strings(plain_or_none(x)))
    for name in set(_CALLED.findall(texts)) - found.keys():
        try:
            user = gin_config._REGISTRY.get_match(name)
        except (KeyError, ValueError):
            continue
        if user is not None and not inspect.isclass(user.wrapped) and user.module not in DECLARING:
            takes = inspect.signature(user.wrapped).parameters
            kind = "stateful" if "state" in takes else "random" if "generator" in takes else "pure"
            found[name] = replace(_op(name, user.wrapped, kind, table), transforms=kind == "random")
    return found


def _check_clashes(lines: Iterable[Line], builtin: Iterable[str], imports: Sequence[str]) -> None:
    """A function of the user's with the name of a built-in would never be called."""
    for line in lines:
        for name in set(_CALLED.findall(" ".join(_strings(plain_or_none(line))))) & set(builtin):
            for selector in gin_config._REGISTRY.matching_selectors(name):
                module = selector.rpartition(".")[0]
                if any(module == m or module.startswith(f"{m}.") for m in imports):
                    raise GanflowError(
                        f"`{name}` is both an op of the library and `{selector}` of an imported module",
                        location=line.location, hint="give your function another name", code="name-clash",
                    )  # fmt: skip


def plain_or_none(line: Line) -> Any:
    """The value, or None where it reads a macro that does not exist (reported where it is used)."""
    try:
        return plain(line.value)
    except GanflowError:
        return None


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from _strings(v)
    elif isinstance(value, dict):
        for v in value.values():
            yield from _strings(v)


def _op(name: str, function: Any, kind: Any, table: Table, host: bool = False, host_result: bool = False) -> Op:
    hidden = {"generator", "state"} | ({"device", "dtype"} if kind == "random" else set())
    all_ = [p for p in inspect.signature(function).parameters.values() if p.name not in hidden]
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    positional = [p for p in all_ if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return Op(
        name, kind,
        parameters=tuple(p.name for p in positional),
        keyword_only=tuple(p.name for p in all_ if p.kind is p.KEYWORD_ONLY),
        required=tuple(p.name for p in all_ if p.default is p.empty and p.kind not in variable),
        variadic=any(p.kind is p.VAR_POSITIONAL for p in all_),
        open_keywords=any(p.kind is p.VAR_KEYWORD for p in all_),
        host=host, host_result=host_result,
        bound={p: plain(x.value) for p, x in _bound(table, name).items()},
    )  # fmt: skip


def _bound(table: Table, name: str) -> dict[str, Line]:
    """Bindings of an op; `adv.kind` serves both sides of an adversarial loss."""
    both = table.at("adv", "") if name in ("adv_d", "adv_g") else {}
    return {**both, **table.at(name, "")}
