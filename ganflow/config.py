"""Gin -> Experiment.

    experiment = load("experiments/pix2pix.gin", overrides=["lambda_A = 10"])

What each name of the language is: macros become definitions, scopes of ``Network``, ``Update`` and ``State`` become
networks, updates and states. All of gin's bindings are kept as text, so that networks can be built later, in any
order, whatever gin's global configuration holds by then (``build.py``).
"""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gin import config as gin_config

from ganflow import components
from ganflow.bindings import Table, check_macros, check_network_options, check_numbers, plain
from ganflow.errors import GanflowError, Location, did_you_mean
from ganflow.experiment import (
    COUNTERS,
    RESERVED,
    Binding,
    Definition,
    Diagnostic,
    Experiment,
    Field,
    Network,
    Optimizer,
    Reference,
    State,
    Text,
    Update,
)
from ganflow.ginfile import Line, Reading, isolated, read
from ganflow.optable import ops_of

INHERITED = ("clip_norm", "clip_value", "nan_to_num", "microbatches", "optimizer")


def load(path: str | Path | Sequence[str | Path], overrides: Sequence[str] = ()) -> Experiment:
    """The experiment that a gin file declares; several files compose left to right, then the overrides."""
    paths = [path] if isinstance(path, (str, Path)) else list(path)
    return _experiment(Path(paths[0]).stem, paths, None, overrides)


def loads(text: str, overrides: Sequence[str] = (), name: str = "experiment") -> Experiment:
    """The experiment that a text in gin's syntax declares."""
    return _experiment(name, [], text, overrides)


def _experiment(name: str, paths: Sequence[Any], text: str | None, overrides: Sequence[str]) -> Experiment:
    components.register()
    with isolated():
        reading = read(paths, text=text, overrides=overrides)
        return _declared(name, reading)


def _declared(name: str, given: Reading) -> Experiment:
    check_macros(given.lines, Table(given.lines))
    check_numbers(given.lines)
    reading = replace(given, lines=tuple(x for x in given.lines if not is_of_ablation(x)))
    table = Table(reading.lines)
    networks = {scope: _network(table, scope) for scope in table.scopes("Network")}
    updates = {scope: _update(table, scope, networks) for scope in table.scopes("Update")}
    states = {scope: _state(table, scope) for scope in table.scopes("State")}
    read_by_gin = {name for line in given.lines for name in re.findall(r"%(\w+)", repr(line.value))}
    definitions = {n: _definition(n, line, n in read_by_gin) for n, line in table.macros.items()}
    schedule = _schedule(table, updates, reading)
    trainer = table.at("Trainer", "")
    return Experiment(
        name=name,
        definitions=definitions,
        networks=networks,
        updates=updates,
        states=states,
        schedule=schedule,
        ops=ops_of(reading.lines, table, reading.imports),
        fields=_fields(trainer),
        trainer={p: plain(line.value) for p, line in trainer.items()},
        trainer_where={p: line.location for p, line in trainer.items()},
        bindings=tuple(Binding(x.scope, x.selector, x.parameter, repr(x.value), x.location) for x in reading.lines),
        imports=reading.imports,
        diagnostics=tuple(_redefined(reading.lines)),
        location=Location(reading.files[0] if reading.files else "<string>", 1),
    )


def is_of_ablation(line: Line) -> bool:
    """What a file says of variants and seeds is about many runs, and no part of the experiment of any one."""
    return bool(line.parameter) and line.selector.rsplit(".", 1)[-1] == "Ablation"


def _text(line: Line) -> Text:
    value = plain(line.value)
    if not isinstance(value, str):
        raise GanflowError(
            f"`{line.parameter}` is {value!r}; it takes an expression in quotes", location=line.location, code="type"
        )
    return Text(value, line.string)


def _definition(name: str, line: Line, used: bool) -> Definition:
    if keyword.iskeyword(name) or name in RESERVED or name in COUNTERS or name.startswith("__"):
        raise GanflowError(
            f"`{name}` cannot be a definition: it is {'a counter' if name in COUNTERS else 'reserved'}",
            location=line.location, hint="choose another name", code="reserved-name",
        )  # fmt: skip
    value = plain(line.value)
    return Definition(name, Text(value, line.string) if isinstance(value, str) else value, line.location, used)


def _merged(table: Table, name: str, scope: str) -> dict[str, Line]:
    return {**table.at(name, ""), **table.at(name, scope)}


def _expect(line: Line, value: Any, kinds: tuple[type, ...], what: str) -> Any:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise GanflowError(f"`{_key(line)}` is {value!r}; it takes {what}", location=line.location, code="type")
    return value


def _network(table: Table, scope: str) -> Network:
    own = table.at("Network", scope)
    lines = _merged(table, "Network", scope)
    where = {p: line.location for p, line in lines.items()}
    first = next(iter(own.values())).location
    if not scope.isidentifier():
        raise GanflowError(f"`{scope}` cannot name a network: it must be one plain name", location=first, code="name")
    values: dict[str, Any] = {p: plain(line.value) for p, line in lines.items()}
    derived = values.get("ema_of") or values.get("unroll_of")
    module, optimizer = values.pop("module", None), values.pop("optimizer", None)
    if module is None and not derived:
        raise GanflowError(
            f"network {scope} has no module", location=first, code="no-module",
            hint=f"bind one: {scope}/Network.module = @UNetGenerator()",
        )  # fmt: skip
    if module is not None and not (isinstance(module, Reference) and module.evaluate):
        raise GanflowError(
            f"`{scope}/Network.module` is {module!r}; it takes a network such as @UNetGenerator()",
            location=where["module"], code="type",
        )  # fmt: skip
    if values.get("buffers_in") is not None:
        values["buffers_in"] = _names(lines["buffers_in"], ())
    if values.get("clamp") is not None:
        values["clamp"] = _bounds(lines["clamp"], values["clamp"])
    check_network_options(lines, values)
    for p in ("ema_beta", "unroll_minimize"):
        if isinstance(values.get(p), str):
            values[p] = Text(values[p], lines[p].string)
    return Network(
        scope, first, module=module, where=where, entry_points=_entry_points(module),
        optimizer=None if derived or optimizer is None else _optimizer(table, optimizer, scope, lines["optimizer"]),
        **values,
    )  # fmt: skip


def _bounds(line: Line, value: Any) -> tuple[float, float]:
    numbers = isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(v, (int, float)) for v in value)
    if not numbers or not value[0] <= value[1]:
        raise GanflowError(f"`{line.parameter}` is {value!r}; it takes two numbers, such as (-0.01, 0.01)",
                           location=line.location, code="type")  # fmt: skip
    return float(value[0]), float(value[1])


def _entry_points(module: Reference | None) -> tuple[str, ...] | None:
    found = gin_config._REGISTRY.get_match(module.name.rsplit("/", 1)[-1]) if module else None
    return components.entry_points(found.wrapped) if found and inspect.isclass(found.wrapped) else None


def _optimizer(table: Table, reference: Any, scope: str, line: Line) -> Optimizer:
    if not isinstance(reference, Reference) or reference.evaluate:
        raise GanflowError(
            f"`Network.optimizer` is {reference!r}; it takes an optimizer class such as @Adam (without parentheses)",
            location=line.location, code="type",
        )  # fmt: skip
    *own_scopes, name = reference.name.split("/")
    arguments: dict[str, Any] = {}
    where: dict[str, Location] = {}
    scopes = ["", *["/".join(scope.split("/")[: i + 1]) for i in range(len(scope.split("/")))], "/".join(own_scopes)]
    for s in dict.fromkeys(scopes):
        for parameter, bound in table.at(name, s).items():
            arguments[parameter], where[parameter] = _optimizer_argument(bound), bound.location
    return Optimizer(name, arguments, line.location, where)


def _optimizer_argument(line: Line) -> Any:
    """A number, a schedule, or an expression over counters; also inside a tuple."""

    def read(value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return tuple(map(read, value))
        return Text(value, line.string) if isinstance(value, str) else value

    return read(plain(line.value))


def _names(line: Line | None, default: tuple[str, ...]) -> tuple[str, ...]:
    if line is None:
        return default
    value = plain(line.value)
    value = (value,) if isinstance(value, str) else value
    _expect(line, value, (tuple, list), "a list of names")
    for item in value:
        _expect(line, item, (str,), "a list of names in quotes")
    return tuple(value)


def _update(table: Table, scope: str, networks: Mapping[str, Network]) -> Update:
    parts = scope.split("/")
    lines = dict(table.at("Update", ""))
    for depth in range(1, len(parts)):
        parent = table.at("Update", "/".join(parts[:depth]))
        lines |= {p: x for p, x in parent.items() if p in INHERITED}
    own = table.at("Update", scope)
    lines |= own
    first = next(iter(own.values())).location
    values: dict[str, Any] = {p: plain(x.value) for p, x in lines.items()}
    for p in ("minimize", "when"):
        values[p] = _text(lines[p]) if p in lines and values[p] is not None else None
    values["trains"] = _names(lines.get("trains"), (parts[0],))
    for p, default in (("fresh", ()), ("repeat_fresh", ("*",))):
        values[p] = _names(lines.get(p), default)
    if values.get("optimizer") is not None:
        values["optimizer"] = _optimizer(table, values["optimizer"], scope, lines["optimizer"])
    for p in ("gain", "clip_norm", "clip_value"):
        if values.get(p) is not None:
            _expect(lines[p], values[p], (int, float), "a number")
    if values["minimize"] is None:
        raise GanflowError(
            f"update {scope} minimizes nothing", location=first, code="no-loss",
            hint=f"bind its loss: {scope}/Update.minimize = '...'",
        )  # fmt: skip
    for trained in values["trains"]:
        if trained.split(".")[0] not in networks:
            place = lines["trains"].location if "trains" in lines else first
            raise GanflowError(
                f"update {scope} trains `{trained}`, which is not a network", location=place, code="unknown-name",
                hint=did_you_mean(trained, networks) or (f"networks: {', '.join(networks)}" if networks else
                     f"each has a line of its own: {trained.split('.')[0]}/Network.module = @UNetGenerator()"),
            )  # fmt: skip
    return Update(scope, first, where={p: x.location for p, x in lines.items()}, **values)


def _state(table: Table, scope: str) -> State:
    lines = table.at("State", scope)
    values: dict[str, Any] = {p: plain(x.value) for p, x in lines.items()}
    for p in ("next", "when"):
        values[p] = _text(lines[p]) if p in lines else None
    if isinstance(values.get("init"), str):
        values["init"] = _text(lines["init"])
    first = next(iter(lines.values())).location
    return State(scope, first, where={p: x.location for p, x in lines.items()}, **values)


def _schedule(table: Table, updates: Mapping[str, Update], reading: Reading) -> tuple[tuple[str, ...], ...]:
    line = table.at("Schedule", "").get("updates")
    if line is None:
        where = Location(reading.files[0], 1) if reading.files else None
        raise GanflowError(
            "there is no schedule", location=where, code="no-schedule",
            hint=f"add: Schedule.updates = {list(updates) or ['D', 'G']!r}",
        )  # fmt: skip
    value = _expect(line, plain(line.value), (tuple, list), "a list of update names")
    groups = tuple(tuple(g) if isinstance(g, (tuple, list)) else (g,) for g in value)
    if not all(groups):
        raise GanflowError("the schedule has a group without updates", location=line.location, code="schedule",
                           hint="drop the (), or name its members: ('D', 'G')")  # fmt: skip
    seen: list[str] = []
    for name in (n for g in groups for n in g):
        _expect(line, name, (str,), "names of updates in quotes, and groups of them such as ('D', 'G')")
        if name not in updates:
            raise GanflowError(
                f"the schedule names `{name}`, which is not an update", location=line.location, code="unknown-name",
                hint=did_you_mean(str(name), updates) or f"updates: {', '.join(updates)}",
            )  # fmt: skip
        if name in seen:
            raise GanflowError(f"the schedule names `{name}` twice", location=line.location, code="schedule",
                               hint=f"to run it several times, bind {name}/Update.repeat")  # fmt: skip
        seen.append(name)
    if not seen:
        raise GanflowError("the schedule is empty", location=line.location, code="no-schedule")
    return groups


def _fields(trainer: Mapping[str, Line]) -> dict[str, Field] | None:
    """What the dataset declares, before any data exists."""
    line = trainer.get("data")
    if line is None or line.value is None:
        return None
    made = _made(line)
    try:
        declared = getattr(made, "fields", None)
    except GanflowError as error:
        raise GanflowError(error.message, location=line.location, hint=error.hint, code=error.code) from None
    except Exception as error:  # a property of the user's
        reason = f"{type(error).__name__}: {error}".split("\n")[0]
        raise GanflowError(f"the `fields` of {line.value!r} cannot be read: {reason}", location=line.location,
                           code="data") from error  # fmt: skip
    if not isinstance(declared, Mapping):
        raise GanflowError(
            f"`Trainer.data` is {line.value!r}, which declares no `fields`", location=line.location, code="data",
            hint="a dataset has `fields`: name -> shape without batch, such as (3, 64, 64)",
        )  # fmt: skip
    return {n: _field(n, f, line) for n, f in declared.items()}


def _field(name: str, given: Any, line: Line) -> Field:
    """A shape alone, or an object that says dtype and domain too."""
    shape = given if isinstance(given, (tuple, list)) else getattr(given, "shape", None)
    dtype, domain = getattr(given, "dtype", "float32"), getattr(given, "domain", "")
    if shape is None or not all(isinstance(n, int) for n in shape) or not isinstance(dtype, str):
        raise GanflowError(
            f"field `{name}` of {line.value!r} is {given!r}", location=line.location, code="data",
            hint="give its shape without batch, such as (3, 64, 64), or a ganflow.data.fields.Field",
        )  # fmt: skip
    return Field(name, tuple(shape), dtype, domain)


def _made(line: Line) -> Any:
    value = line.value
    if isinstance(value, gin_config.ConfigurableReference) and value.evaluate:
        try:
            return value.scoped_configurable_fn()
        except GanflowError as error:
            raise GanflowError(error.message, location=line.location, hint=error.hint, code=error.code) from None
        except Exception as error:
            message = str(error).split("\n")[0]
            raise GanflowError(f"cannot make {value!r}: {message}", location=line.location, code="data") from error
    return value


def _redefined(lines: Sequence[Line]) -> Iterable[Diagnostic]:
    """The same name twice in one file: gin silently takes the last."""
    seen: dict[tuple[str, str, str, str], Line] = {}
    for line in lines:
        key = (line.source, line.scope, line.selector, line.parameter)
        if key in seen and not line.source.startswith("--set"):
            yield Diagnostic(
                "warning", "redefined",
                f"`{_key(line)}` is bound twice; the first binding ({seen[key].location}) is lost",
                line.location, "drop one of them; to override, include the file or use --set",
            )  # fmt: skip
        seen[key] = line


def _key(line: Line) -> str:
    return f"{line.scope + '/' if line.scope else ''}{line.selector}{'.' + line.parameter if line.parameter else ''}"
