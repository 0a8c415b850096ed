"""Bindings of gin files as a table, and their values as plain data.

table = Table(reading.lines)
table.at("Update", "D")["minimize"]      # the line `D/Update.minimize = ...`
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from gin import config as gin_config

from ganflow.errors import GanflowError, did_you_mean
from ganflow.experiment import Reference
from ganflow.ginfile import Line
from ganflow.nn.init import KINDS

MAX_BITS = 1023  # of a whole number: any larger one is no float
MAX_MACROS = 50  # from one to the next


class Table:
    """Bindings by (scope, configurable); the last line wins, as in gin."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.macros: dict[str, Line] = {}
        self.bound: dict[str, dict[str, dict[str, Line]]] = {}
        for line in lines:
            if line.parameter:
                name = line.selector.rsplit(".", 1)[-1]
                self.bound.setdefault(name, {}).setdefault(line.scope, {})[line.parameter] = line
            else:
                self.macros[line.selector] = line

    def scopes(self, name: str) -> list[str]:
        return [s for s in self.bound.get(name, {}) if s]

    def at(self, name: str, scope: str) -> dict[str, Line]:
        return self.bound.get(name, {}).get(scope, {})


def plain(value: Any, following: tuple[str, ...] = ()) -> Any:
    """A bound value as plain data: macros followed, references as :class:`Reference`.

    Args:
        following: the macros on the way here, for ``a = %b`` and ``b = %a``.
    """
    if isinstance(value, gin_config.ConfigurableReference):
        if value.selector.endswith("gin.macro") or value.selector == "gin.macro":
            name = "/".join(value.scopes)
            found = gin_config._CONFIG.get((name, "gin.macro"), {})
            if "value" not in found:
                raise GanflowError(f"`%{name}` is not defined in this file", code="unknown-name")
            if name in following or len(following) > MAX_MACROS:
                loop = name in following
                way = " -> ".join((*following, name))
                raise GanflowError(f"`%{name}` is {'defined in terms of itself' if loop else 'read too deep'}: {way}",
                                   code="cycle" if loop else "too-large")  # fmt: skip
            return plain(found["value"], (*following, name))
        return Reference("/".join([*value.scopes, value.selector.rsplit(".", 1)[-1]]), value.evaluate)
    if isinstance(value, (tuple, list)):
        return type(value)([plain(v, following) for v in value])
    if isinstance(value, dict):
        return {k: plain(v, following) for k, v in value.items()}
    return value


def check_numbers(lines: Iterable[Line]) -> None:
    """No number is so large that it is infinite: it could not be written down again."""
    for line in lines:
        if any(_too_large(v) for v in _flat(line.value)):
            raise GanflowError(
                f"a number in `{line.selector}{'.' + line.parameter if line.parameter else ''}` is too large",
                location=line.location, hint="finite numbers only", code="type",
            )  # fmt: skip


def _too_large(value: Any) -> bool:
    if isinstance(value, int):
        return value.bit_length() > MAX_BITS
    return isinstance(value, float) and not math.isfinite(value)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _flat(part)
    else:
        yield value


def check_macros(lines: Iterable[Line], table: Table) -> None:
    """Every ``%name`` is defined."""
    for line in lines:
        try:
            plain(line.value)
        except GanflowError as error:
            name = error.message.split("`")[1].lstrip("%")
            hint = did_you_mean(name, table.macros) if error.code == "unknown-name" else ""
            raise GanflowError(error.message, location=line.location, code=error.code, hint=hint) from None


NETWORK_OPTIONS: Mapping[str, tuple[object, ...]] = MappingProxyType(
    {
        "init": (None, *KINDS),
        "mode": (None, "train", "eval"),
        "eval_mode": ("train", "eval"),
        "trainable": (True, False),
        "unroll_first_order": (False, True),
    }
)


def check_network_options(lines: Mapping[str, Line], values: Mapping[str, Any]) -> None:
    """A mistyped ``eval_mode = 'trian'`` must not silently mean the other one."""
    for name, allowed in NETWORK_OPTIONS.items():
        value = values.get(name, allowed[0])
        if not any(value is a or (isinstance(value, str) and value == a) for a in allowed):
            shown = ", ".join(map(repr, allowed))
            raise GanflowError(f"`Network.{name}` is {value!r}; it takes one of {shown}",
                               location=lines[name].location, code="type")  # fmt: skip
    load = values.get("load")
    if load is not None and not isinstance(load, str):
        raise GanflowError(f"`Network.load` is {load!r}; it takes the name of a weights file in quotes",
                           location=lines["load"].location, code="type")  # fmt: skip
