"""What a gin file says and nothing reads: definitions, networks, updates, states, and bindings never used.

    for warning in unused(experiment):
        print(warning)                  # pix2pix.gin:9: warning[unused]: `DD/Adam.lr` is never used ...

Gin itself is silent about all of these: a mistyped scope must not go unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from gin import config as gin_config

from ganflow import build
from ganflow import expr as E
from ganflow.errors import GanflowError, did_you_mean
from ganflow.experiment import Binding, Diagnostic, Experiment, Optimizer, Reference, Text
from ganflow.parsing import parse
from ganflow.settings import settings_of

DECLARED = ("Network", "Update")  # every scope of these declares something, unscoped ones serve all
CODE = "unused"
HINTS = 20  # so many slips of the finger nobody makes, and looking for each takes time


def unused(experiment: Experiment) -> list[Diagnostic]:
    """Warnings, each with its line. What only terms of weight 0 use counts as used: an ablation is no mistake."""
    read = names_read(experiment)
    return [*_declarations(experiment, read), *_bindings(experiment, read), *_optimizers(experiment)]


def names_read(experiment: Experiment) -> set[str]:
    """Every name that the schedule, the states, the samples or the metrics reach."""
    stack = list(_texts(experiment))
    read: set[str] = set()
    while stack:
        for name in _names(stack.pop()) - read:
            read.add(name)
            definition = experiment.definitions.get(name)
            if definition is not None and isinstance(definition.value, Text):
                stack.append(definition.value)
            network = experiment.networks.get(name)
            if network is not None:
                read |= {n for n in (network.ema_of, network.unroll_of) if n}
                stack += [t for t in (network.unroll_minimize, network.ema_beta) if isinstance(t, Text)]
    return read


def _names(text: Text) -> set[str]:
    return {node.id for node in E.walk(parse(text.source, text.location)) if isinstance(node, E.Name)}


def _texts(experiment: Experiment) -> Iterator[Text]:
    settings = settings_of(experiment)
    yield from settings.show
    yield from settings.metrics.values()
    here = experiment.location
    scheduled = [experiment.updates[n] for group in experiment.schedule for n in group]
    for update in scheduled:
        yield from (t for t in (update.minimize, update.when) if t is not None)
        yield from (Text(t.split(".")[0], here) for t in update.trains)
        yield from _arguments(update.optimizer)
    for state in experiment.states.values():
        yield from (t for t in (state.init, state.next, state.when) if isinstance(t, Text))
    for network in experiment.networks.values():
        yield from _arguments(network.optimizer)
        if network.ema_of is not None and isinstance(network.ema_beta, Text):  # it runs, whether it is shown or not
            yield network.ema_beta
    yield from (Text(n, here) for n in settings.eval_networks.values())


def _arguments(optimizer: Optimizer | None) -> Iterator[Text]:
    stack = list(optimizer.arguments.values()) if optimizer else []
    while stack:
        value = stack.pop()
        if isinstance(value, Text):
            yield value
        elif isinstance(value, (tuple, list)):
            stack += value


def _declarations(experiment: Experiment, read: set[str]) -> Iterator[Diagnostic]:
    idle = [d for d in experiment.definitions.values() if d.name not in read and not d.read_by_gin]
    idle = [d for d in idle if Path(d.location.file).parent.name != "presets"]  # a library: nobody needs all of it
    for number, d in enumerate(idle):
        hint = did_you_mean(d.name, read - {d.name}) if number < HINTS else ""
        yield _warning(f"nothing reads `{d.name}`", d.location, hint)
    for n in experiment.networks.values():
        if n.name not in read and n.ema_of not in read:  # an average is there to be saved
            yield _warning(f"nothing uses network {n.name}", n.location, "")
    scheduled = {n for group in experiment.schedule for n in group}
    for u in experiment.updates.values():
        if u.name not in scheduled:
            yield _warning(f"update {u.name} is not in Schedule.updates, so it never runs", u.location, "")
    for s in experiment.states.values():
        if s.name not in read:
            yield _warning(f"nothing reads state {s.name}", s.location, "")


def _warning(message: str, location: object, hint: str) -> Diagnostic:
    return Diagnostic("warning", CODE, message, location, hint)  # type: ignore[arg-type]


# -- bindings -----------------------------------------------------------------------------------------------


def _bindings(experiment: Experiment, read: set[str]) -> Iterator[Diagnostic]:
    """Of each binding the last line counts: what it overrides is not a mistake."""
    built = _built(experiment, read)
    if built is None:
        return
    within = {name: {p for scope in scopes for p in _prefixes(scope)} for name, scopes in built.items()}
    for b in {x.key: x for x in experiment.bindings}.values():
        name = b.selector.rsplit(".", 1)[-1]
        served = name in DECLARED or (name == "State" and b.scope) or b.scope in within.get(name, ())
        if b.parameter and not served:
            why = _why(b, name, built.get(name, set()))
            yield _warning(f"`{b.key}` is never used: {why}", b.location, _cure(b, experiment))


def _optimizers(experiment: Experiment) -> Iterator[Diagnostic]:
    """Optimizers that never step, and hyper-parameters that a line of the same file hides from every optimizer."""
    lines = list({x.key: x for x in experiment.bindings}.values())
    scheduled = [experiment.updates[n] for group in experiment.schedule for n in group]
    stepping = {t.split(".")[0] for u in scheduled if u.optimizer is None for t in u.trains}
    for b in lines:
        if b.selector.endswith("Network") and b.parameter == "optimizer" and b.scope and b.scope not in stepping:
            hint = f"it needs none, or an update that trains {b.scope}"
            yield _warning(f"the optimizer of {b.scope} never steps: `{b.key}` is not used", b.location, hint)
    owners = [o for o in (*experiment.networks.values(), *scheduled) if o.optimizer is not None]
    for b in lines:
        name = b.selector.rsplit(".", 1)[-1]
        reached = [o.name for o in owners if o.optimizer and o.optimizer.name == name and _is_prefix(b.scope, o.name)]
        nearer = [_nearest(lines, b, owner) for owner in reached]
        if nearer and all(x is not b and x.location.file == b.location.file for x in nearer):
            others = ", ".join(dict.fromkeys(f"`{x.key}`" for x in nearer))
            yield _warning(f"`{b.key}` is never used: {others} are nearer to every {name}", b.location, "drop it")


def _nearest(lines: list[Binding], b: Binding, owner: str) -> Binding:
    """The line that decides ``b``'s parameter for an owner: that of the longest scope."""
    rivals = [x for x in lines if (x.selector, x.parameter) == (b.selector, b.parameter) and _is_prefix(x.scope, owner)]
    return max(rivals, key=lambda x: len(x.scope))


def _is_prefix(scope: str, full: str) -> bool:
    return not scope or f"{full}/".startswith(f"{scope}/")


def _prefixes(scope: str) -> Iterator[str]:
    """Every scope that a line for ``scope`` may stand in: for ``a/b`` those of '', a and a/b."""
    parts = scope.split("/")
    yield ""
    yield from ("/".join(parts[:k]) for k in range(1, len(parts) + 1))


def _why(b: Binding, name: str, scopes: set[str]) -> str:
    if not scopes:
        return f"nothing makes a `{name}`"
    shown = ", ".join(sorted(s or "(none)" for s in scopes))
    return f"no `{name}` is made in the scope `{b.scope}`; the scopes are {shown}"


def _cure(b: Binding, experiment: Experiment) -> str:
    return did_you_mean(b.scope.split("/")[0], [*experiment.networks, *experiment.updates]) if b.scope else ""


def _built(experiment: Experiment, read: set[str]) -> dict[str, set[str]] | None:
    """Configurable -> the scopes in which this experiment makes or calls it; None where that cannot be known."""
    found: dict[str, set[str]] = {name: {""} for name in ("Trainer", "Schedule", *experiment.ops)}
    for name in experiment.ops.keys() - read:
        found.pop(name)
    if read & {"adv_d", "adv_g"}:
        found["adv"] = {""}
    owners = [*experiment.networks.values(), *experiment.updates.values()]
    for owner in owners:
        if owner.optimizer is not None:
            found.setdefault(owner.optimizer.name, set()).add(owner.name)
    try:
        made = _made(experiment)
    except GanflowError:
        raise
    except Exception:  # a module that cannot be made on meta: say nothing rather than cry wolf
        return None
    for scope, selector in made:
        found.setdefault(selector.rsplit(".", 1)[-1], set()).add(scope)
    return found


def _made(experiment: Experiment) -> set[tuple[str, str]]:
    """(scope, selector) of every configurable that gin calls while the experiment's objects are made."""
    references: list[tuple[str, Reference]] = [
        (n.name, n.module) for n in experiment.networks.values() if n.module is not None
    ]
    for n in experiment.networks.values():
        references += [(n.name, r) for r in _references(n.optimizer.arguments if n.optimizer else {})]
    references += [("", r) for r in _references({d.name: d.value for d in experiment.definitions.values()})]
    references += [("", r) for r in _references(experiment.trainer)]
    with build.configured(experiment), torch.device("meta"), torch.random.fork_rng(devices=[]):
        for scope, reference in references:
            build.make(reference, scope)
        return set(gin_config._OPERATIVE_CONFIG)


def _references(values: Mapping[str, object]) -> Iterator[Reference]:
    stack = list(values.values())
    while stack:
        value = stack.pop()
        if isinstance(value, Reference) and value.evaluate:
            yield value
        elif isinstance(value, (tuple, list)):
            stack += value
        elif isinstance(value, dict):
            stack += value.values()
