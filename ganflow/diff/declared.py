"""Networks, optimizers, ops, data and the loop: what the two files bind.

list(network_changes(view))       # D: PatchDiscriminator.in_channels 6 → 3
list(trainer_changes(view))       # steps 3500 → 1000
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate

from ganflow.diff.data import Change, Level, Side
from ganflow.diff.matching import reached
from ganflow.diff.schedule import plain, removed, through_gin
from ganflow.diff.texts import is_number, same_value
from ganflow.diff.values import View
from ganflow.experiment import Binding, Experiment, Network, Optimizer, Reference, Text

REFERENCE = re.compile(r"@([\w./]+)")
MACRO = re.compile(r"%(\w+)")
DECLARED = ("Network", "Update", "State", "Schedule", "Trainer", "adv")
ATTRIBUTES = ("init", "trainable", "mode", "eval_mode", "clamp", "ema_of", "ema_beta", "ema_buffers", "unroll_of",
              "unroll_minimize", "unroll_steps", "unroll_lr", "buffers_in", "load")  # fmt: skip
SETTINGS = frozenset({"init", "eval_mode", "clamp", "ema_beta", "unroll_steps", "unroll_lr", "load"})
LEARNING = frozenset({"data", "batch_size", "seed", "precision"})  # of Trainer; the rest does not change a step
MISSING = "(not bound)"


@dataclass
class Bindings:
    """The bindings of one experiment by configurable and scope, and which were looked at; for one comparison."""

    side: Side
    table: dict[str, dict[str, dict[str, Binding]]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for b in self.side.experiment.bindings:
            if b.parameter:
                scopes = self.table.setdefault(b.selector.rsplit(".", 1)[-1], {})
                scopes.setdefault(b.scope, {})[b.parameter] = b

    def arguments(self, reference: str, scope: str = "") -> dict[str, object]:
        """``UNetGenerator.base`` -> 64, for what ``@reference()`` makes under a scope, nested references included."""
        found: dict[str, object] = {}
        self._collect(reference, scope, found, set())
        return found

    def causes(self, view: View, key: str, scope: str = "") -> tuple[str, ...]:
        """Numbers that differ and that this argument is bound to with ``%name``."""
        name, _, parameter = key.partition(".")
        for at in reversed(["", *_prefixes(scope)]):
            bound = self.table.get(name, {}).get(at, {}).get(parameter)
            if bound is not None:
                return through_gin(view, bound.key)
        return ()

    def _collect(self, reference: str, scope: str, found: dict[str, object], seen: set[tuple[str, str]]) -> None:
        *own, name = reference.split("/")
        name = name.rsplit(".", 1)[-1]
        inner = "/".join([*([scope] if scope else []), *own])
        if (inner, name) in seen:
            return
        seen.add((inner, name))
        values = dict(self.side.defaults.get(name, {}))
        for at in dict.fromkeys(["", *_prefixes(inner), *_prefixes("/".join(own))]):
            for parameter, bound in self.table.get(name, {}).get(at, {}).items():
                self.used.add(bound.key)
                values[parameter] = value_of(self.side.experiment, bound.value)
        for parameter, value in values.items():
            found[f"{name}.{parameter}"] = value
            for nested in (
                REFERENCE.findall(value) if isinstance(value, str) and value.startswith(("@", "(", "[")) else ()
            ):
                self._collect(nested, inner, found, seen)


def _prefixes(scope: str) -> list[str]:
    return list(accumulate(scope.split("/"), lambda a, b: f"{a}/{b}")) if scope else []


def value_of(e: Experiment, text: str) -> object:
    """A value in gin's syntax as plain data, macros followed; what holds a reference stays text."""

    def macro(found: re.Match[str]) -> str:
        value = e.definitions[found[1]].value if found[1] in e.definitions else found[0]
        return repr(value.source if isinstance(value, Text) else value)

    replaced = MACRO.sub(macro, text) if "%" in text and text[:1] not in "'\"" else text
    try:
        return ast.literal_eval(replaced)
    except (ValueError, SyntaxError):
        return replaced


def differing(a: Mapping[str, object], b: Mapping[str, object]) -> Iterator[tuple[str, object, object]]:
    """Keys whose values differ, as they stand in b and then in a.

    Of an object that only one side makes nothing is told but that: the parameter that holds it differs.
    """
    for key in dict.fromkeys((*b, *a)):
        before, after = a.get(key, MISSING), b.get(key, MISSING)
        whose = key.split(".")[0] + "."
        there = all(any(k.startswith(whose) for k in side) for side in (a, b))
        if not same_value(before, after) and (there or "." not in key):
            yield key, before, after


# -- networks -----------------------------------------------------------------------------------------------


def network_names(side: Side) -> list[str]:
    """Networks that the step uses, unrolled ones included."""
    unrolled = {n.name for n in side.graph.nodes.values() if n.kind == "unroll"}
    return [n for n in side.experiment.networks if n in side.graph.networks or n in unrolled]


def network_changes(view: View, a: Bindings, b: Bindings) -> Iterator[Change]:
    """Networks that are new or gone, their classes, arguments and parameters."""
    first, second = network_names(view.a), network_names(view.b)
    for name in [n for n in first if n not in second]:
        yield replace(removed(view, "network", name, "networks"), before=_class(view.a.experiment.networks[name]))
    for name in [n for n in second if n not in first]:
        yield Change("networks", name, "network", after=_class(view.b.experiment.networks[name]), kind="added",
                     level="graph")  # fmt: skip
    for name in [n for n in second if n in first]:
        yield from _network(view, a, b, name)


def _class(network: Network) -> str:
    if network.module is not None:
        return network.module.name
    return f"average of {network.ema_of}" if network.ema_of else f"{network.unroll_of}, unrolled"


def _network(view: View, a: Bindings, b: Bindings, name: str) -> Iterator[Change]:
    m, n = view.a.experiment.networks[name], view.b.experiment.networks[name]
    if _class(m) != _class(n):
        yield Change(
            "networks", name, "class", _class(m), _class(n), level="graph" if m.derived or n.derived else "setting"
        )
    if m.module is not None and n.module is not None:
        found = a.arguments(m.module.name, name), b.arguments(n.module.name, name)
        if m.module.name == n.module.name:
            for key, before, after in differing(*found):
                yield Change("networks", name, key, before, after, because=b.causes(view, key, name))
    for what in ATTRIBUTES:
        before, after = plain(view, getattr(m, what), first=True), plain(view, getattr(n, what), first=False)
        if what in ("ema_beta", "unroll_minimize") and view.match.exact and isinstance(after, str):
            continue  # the same values, however they are written
        if not same_value(before, after):
            numbers = (is_number(before) and is_number(after)) or what in ("init", "eval_mode", "load")
            level: Level = "setting" if what in SETTINGS and numbers else "graph"
            because = through_gin(view, f"{name}/Network.{what}")
            yield Change("networks", name, what, before, after, level=level, because=because)
    one, other = (", ".join(s.graph.shared.get(name, ())) or "none" for s in (view.a, view.b))
    if one != other:
        yield Change("networks", name, "shares tensors with", one, other, level="graph")
    count = view.a.cost.parameters.get(name), view.b.cost.parameters.get(name)
    if None not in count and count[0] != count[1]:
        yield Change("networks", name, "parameters", *count, because=(name,))


# -- optimizers ---------------------------------------------------------------------------------------------


def optimizer_changes(view: View, a: Bindings, b: Bindings) -> Iterator[Change]:
    """Those that step on both sides: their class and arguments, schedules included."""
    first, second = _optimizers(view.a), _optimizers(view.b)
    for key in [k for k in second if k in first]:
        (scope, m), (_, n) = first[key], second[key]
        if m.name != n.name:
            yield Change("optimizers", key, "class", _spelled(view, m, first=True), _spelled(view, n, first=False))
        for name, before, after in differing(_arguments(view, m, a, scope), _arguments(view, n, b, scope)):
            yield Change("optimizers", key, name, before, after, because=b.causes(view, name, scope))


def _spelled(view: View, o: Optimizer, *, first: bool) -> str:
    """``SGD(lr=0.1)``: an optimizer with what the file binds of it."""
    return f"{o.name}({', '.join(f'{k}={_argument(view, v, first=first)}' for k, v in o.arguments.items())})"


def _optimizers(side: Side) -> dict[str, tuple[str, Optimizer]]:
    """Key -> (scope, optimizer) of those that step."""
    found: dict[str, tuple[str, Optimizer]] = {}
    for update in side.graph.updates:
        declared = side.experiment.updates[update.name]
        if declared.optimizer is not None:
            found[f"{update.name}/Update"] = update.name, declared.optimizer
        else:
            for name in update.steps:
                if (optimizer := side.experiment.networks[name].optimizer) is not None:
                    found[name] = name, optimizer
    return found


def _arguments(view: View, o: Optimizer, bindings: Bindings, scope: str) -> dict[str, object]:
    """Bound arguments and those of the schedules among them; expressions in the words of b."""
    first = bindings.side is view.a
    found: dict[str, object] = {f"{o.name}.{k}": v for k, v in bindings.side.defaults.get(o.name, {}).items()}
    bindings.arguments(o.name, scope)  # looked at
    for key, value in o.arguments.items():
        found[f"{o.name}.{key}"] = _argument(view, value, first=first)
        for reference in _references(value):
            found |= bindings.arguments(reference.name, scope)
    return found


def _argument(view: View, value: object, *, first: bool) -> object:
    if isinstance(value, (tuple, list)):
        return tuple(_argument(view, v, first=first) for v in value)
    if isinstance(value, Reference):
        return repr(value)
    return plain(view, value, first=first)


def _references(value: object) -> Iterator[Reference]:
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for v in value.values() if isinstance(value, dict) else value:
            yield from _references(v)


# -- ops, schedules of the step, data, the loop -------------------------------------------------------------


def op_changes(view: View, a: Bindings, b: Bindings) -> Iterator[Change]:
    """Parameters of ops that both steps call, and of schedule objects that both read."""
    called = [{s.graph.nodes[n].target for n in reached(s.graph)} for s in (view.a, view.b)]
    for name in [n for n in view.b.experiment.ops if n in called[0] & called[1] and n in view.a.experiment.ops]:
        bound = [{**s.defaults.get(name, {}), **s.experiment.ops[name].bound} for s in (view.a, view.b)]
        for key, before, after in differing(*[{k: _flat(v) for k, v in x.items()} for x in bound]):
            yield Change("ops", f"{name}.{key}", "", before, after)
    for x, y in view.match.names.items():
        m, n = view.a.experiment.definitions[x].value, view.b.experiment.definitions[y].value
        if isinstance(m, Reference) and isinstance(n, Reference) and y in view.b.graph.names:
            for key, before, after in differing(a.arguments(m.name), b.arguments(n.name)):
                yield Change("ops", y, key, before, after)


def _flat(value: object) -> object:
    return repr(value) if isinstance(value, Reference) else value


def trainer_changes(view: View, a: Bindings, b: Bindings) -> Iterator[Change]:
    """The dataset and its parameters, its fields, then what surrounds the step."""
    first, second = view.a.experiment.trainer.get("data"), view.b.experiment.trainer.get("data")
    if repr(first) != repr(second):
        yield Change("data", "Trainer.data", "", _name(first), _name(second))
    arguments = [x.arguments(d.name) if isinstance(d, Reference) else {} for x, d in ((a, first), (b, second))]
    if repr(first) == repr(second):
        for key, before, after in differing(*arguments):
            yield Change("data", key, "", before, after, because=b.causes(view, key))
    fields = [_fields(s.experiment) for s in (view.a, view.b)]
    for key, before, after in differing(*fields):
        yield Change("data", f"field {key}", "", before, after, because=("Trainer.data",))
    bound = [{**s.defaults.get("Trainer", {}), **s.experiment.trainer} for s in (view.a, view.b)]
    settings = [
        {k: _setting(view, k, v, first=i == 0) for k, v in x.items() if k != "data"} for i, x in enumerate(bound)
    ]
    for key, before, after in differing(*settings):
        level: Level = "setting" if key in LEARNING else "loop"
        yield Change("trainer", key, "", before, after, level=level, because=through_gin(view, f"Trainer.{key}"))


def _name(value: object) -> object:
    return value.name if isinstance(value, Reference) else value


def _fields(e: Experiment) -> dict[str, object]:
    return {f.name: " ".join([*(["×".join(map(str, f.shape))] if f.shape else []), f.dtype, f.domain]).strip()
            for f in (e.fields or {}).values()}  # fmt: skip


def _setting(view: View, name: str, value: object, *, first: bool) -> object:
    """A value of Trainer; the expressions of ``show`` and ``metrics`` in the words of b."""
    if name == "show" and isinstance(value, (str, tuple, list)):
        return tuple(_expression(view, v, first=first) for v in ((value,) if isinstance(value, str) else value))
    if name == "metrics" and isinstance(value, (dict, tuple, list)):
        items = value if isinstance(value, dict) else {v: v for v in value}
        return tuple(f"{k}: {_expression(view, v, first=first)}" for k, v in items.items())
    if isinstance(value, dict):
        return tuple(f"{k}: {v}" for k, v in value.items())
    return _flat(value)


def _expression(view: View, value: object, *, first: bool) -> object:
    return plain(view, Text(value, view.a.experiment.location), first=first) if isinstance(value, str) else repr(value)


def other_changes(view: View, a: Bindings, b: Bindings) -> Iterator[Change]:
    """Bindings of what a constructor makes by itself, and imports."""
    first, second = _rest(a), _rest(b)
    looked = a.used | b.used
    for key, before, after in differing(first, second):
        if key not in looked:
            yield Change("other", key, "", before, after)
    one, other = (", ".join(sorted(s.experiment.imports)) or "none" for s in (view.a, view.b))
    if one != other:
        yield Change("other", "import", "", one, other)


def _rest(bindings: Bindings) -> dict[str, object]:
    """Bindings that nothing so far stands for; a scope that names nothing has no effect, ops are compared as ops."""
    e = bindings.side.experiment
    scopes = {"", *e.networks, *e.updates, *e.definitions}
    optimizers = [n.optimizer for n in e.networks.values()] + [u.optimizer for u in e.updates.values()]
    skipped = {*DECLARED, *e.ops, *(o.name for o in optimizers if o is not None)}
    return {
        x.key: value_of(e, x.value)
        for x in e.bindings
        if x.parameter and x.selector.rsplit(".", 1)[-1] not in skipped and x.scope.split("/")[0] in scopes
    }
