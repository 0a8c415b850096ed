"""Experiment -> torch objects: networks, optimizers, ops and schedules, built under the experiment's own bindings.

    with configured(experiment):
        G = network(experiment, "G", seed=0)

Gin's global configuration is borrowed while something is built and given back afterwards, so two experiments can be
built in one process in any order.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import gin
import torch
from gin import config as gin_config
from torch import nn

from ganflow import components
from ganflow.codegen import Printer, variable_names
from ganflow.draws import site_seed
from ganflow.errors import GanflowError, Location
from ganflow.experiment import Experiment, Network, Optimizer, Reference, Text
from ganflow.ginfile import isolated
from ganflow.graph import StepGraph
from ganflow.nn.init import init_weights
from ganflow.ops import power
from ganflow.resolve import resolve


@contextlib.contextmanager
def configured(experiment: Experiment, singletons: dict[str, Any] | None = None) -> Iterator[None]:
    """Gin holds this experiment's bindings, and only these, inside the block.

    Args:
        singletons: what ``@trunk/singleton()`` made in earlier blocks, and where it is kept for later ones.
    """
    components.register()
    for module in experiment.imports:
        importlib.import_module(module)
    with isolated():
        for b in experiment.bindings:
            plain = "@" not in b.value and "%" not in b.value  # gin's own parser takes ten times as long
            value = ast.literal_eval(b.value) if plain else gin.config.parse_value(b.value)
            key = (b.scope, b.selector, b.parameter) if b.parameter else (b.selector, "gin.macro", "value")
            gin.bind_parameter(key, value)
        made: dict[str, Any] = gin_config._SINGLETONS
        made.update(singletons or {})
        yield
        if singletons is not None:
            singletons.update(made)


def configurable(name: str) -> Any:
    """The function or class that gin knows by ``name``, without gin's wrapper."""
    return gin_config._REGISTRY.get_match(name).wrapped


def make(reference: Reference, scope: str = "") -> Any:
    """What ``@reference()`` makes, under a scope; call it inside :func:`configured`."""
    *scopes, name = reference.name.split("/")
    with contextlib.ExitStack() as stack:
        for s in [*([scope] if scope else []), *scopes]:
            stack.enter_context(gin.config_scope(s))
        return gin.get_configurable(name)()


def value(given: Any) -> Any:
    """A bound value with its references made."""
    if isinstance(given, Reference):
        return make(given) if given.evaluate else configurable(given.name.rsplit("/", 1)[-1])
    if isinstance(given, (tuple, list)):
        return type(given)(value(v) for v in given)
    return given


def network(
    experiment: Experiment,
    name: str,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    singletons: dict[str, Any] | None = None,
) -> nn.Module:
    """Build one network, seeded by (run seed, its name): removing D does not change how G starts.

    Args:
        singletons: handed to every network of a step, so that two of them may hold one module.
    """
    declared = experiment.networks[name]
    where = declared.where.get("module", declared.location)
    assert declared.module is not None
    with torch.random.fork_rng(devices=[]), configured(experiment, singletons), _blame(f"network {name}", where):
        torch.manual_seed(site_seed(seed, f"init/{name}"))
        with torch.device(device):
            module = make(declared.module, name)
        if not isinstance(module, nn.Module):
            raise GanflowError(
                f"`{name}/Network.module` made a {type(module).__name__}; it takes a torch.nn.Module", location=where,
                code="type",
            )  # fmt: skip
        kind = declared.init or getattr(module, "default_init", "none")
        if declared.load is not None and not Path(declared.load).is_file():  # said by `check` as well
            raise _no_weights(name, declared.load, declared.where["load"])
        if torch.device(device).type != "meta":
            init_weights(module, kind, generator=torch.Generator().manual_seed(site_seed(seed, f"weights/{name}")))
            if declared.load is not None:
                load_weights(module, name, declared.load, declared.where["load"])
    return _prepared(module, declared)


def read_saved(path: str | os.PathLike[str] | BinaryIO) -> Any:
    """``read_saved("runs/pix2pix/weights.pt")``: tensors, numbers, lists and dicts; never code.

    Raises:
        Exception: whatever torch raises for what is none of these. What it also warns of says nothing more.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def load_weights(module: nn.Module, name: str, path: str, where: Location) -> None:
    """A state dict, or the ``weights.pt`` of a run, whose network of the same name is taken; tensors only, no code."""
    try:
        found = read_saved(path)
        if isinstance(found, dict) and isinstance(found.get("networks"), dict):
            found = found["networks"][name]
        module.load_state_dict(found)
    except Exception as error:
        reason = f"it has no network {name}" if isinstance(error, KeyError) else str(error).strip().split("\n")[0]
        raise GanflowError(
            f"network {name}: the weights in {path} cannot be used: {reason}", location=where, code="bad-weights",
            hint="give a state dict of this network, or the weights.pt of a run",
        ) from error  # fmt: skip


def _prepared(module: nn.Module, declared: Network) -> nn.Module:
    module.train(declared.mode != "eval")
    if not declared.trainable:
        module.requires_grad_(False)
    return module


def _no_weights(name: str, path: str, where: Location) -> GanflowError:
    hint = "a file is seen from the working directory" if not Path(path).is_absolute() else ""
    message = f"network {name}: no such weights file: {path}"
    return GanflowError(message, location=where, code="missing-file", hint=hint)


@contextlib.contextmanager
def _blame(
    what: str, where: Location, hint: str = "bind what it needs, for example `UNetGenerator.size = 64`"
) -> Iterator[None]:
    """Whatever a constructor raises is said in one message, at the line that asked for it."""
    try:
        yield
    except GanflowError as error:
        if error.location is not None:
            raise
        raise GanflowError(
            f"cannot build {what}: {error.message}",
            location=where,
            hint=error.hint,
            code=error.code,
            status=error.status,
        ) from error
    except Exception as error:
        message = str(error).strip().split("\n")[0]
        raise GanflowError(
            f"cannot build {what}: {type(error).__name__}: {message}", location=where, code="build", hint=hint,
        ) from error  # fmt: skip


def ops(
    experiment: Experiment, graph_ops: set[str], *, device: torch.device | str = "cpu"
) -> dict[str, Callable[..., Any]]:
    """The functions that expressions call, their gin bindings applied once.

    Args:
        device: for those that make a tensor of numbers (`full`, `arange`): they have a parameter of that name.
    """
    builtin = components.builtin_ops()
    found: dict[str, Callable[..., Any]] = {}
    with configured(experiment):
        for name in sorted(graph_ops & set(experiment.ops)):
            function = builtin[name].function if name in builtin else configurable(name)
            bound = {k: value(v) for k, v in experiment.ops[name].bound.items()}
            if "device" in experiment.ops[name].keyword_only and experiment.ops[name].kind == "pure":
                bound.setdefault("device", device)
            found[name] = partial(function, **bound) if bound else function
    return found


def schedules(experiment: Experiment, graph: StepGraph) -> dict[str, Callable[[Any], float]]:
    """Definitions that are objects: a schedule of the step, called with the counters."""
    named = [n for n in graph.nodes.values() if n.kind == "schedule"]
    with configured(experiment):
        return {n.target: make(n.value) for n in named if isinstance(n.value, Reference)}


# -- optimizers ---------------------------------------------------------------------------------------------

Argument = Callable[[Any], float]
DENSE = frozenset(
    {"Adam", "AdamW", "RMSprop", "Adadelta", "Adamax", "NAdam", "RAdam"}
)  # torch's that refuse sparse ones


def optimizer(
    experiment: Experiment, declared: Optimizer, name: str, parameters: Sequence[nn.Parameter], counters: Any,
    *, sparse: bool = False,
) -> tuple[torch.optim.Optimizer, Mapping[str, Argument]]:  # fmt: skip
    """The optimizer, and those of its arguments that change from step to step.

    Args:
        sparse: some of the gradients will be, which no fused optimizer takes.
    """
    if sparse and declared.name in DENSE:
        raise GanflowError(
            f"{name} has an embedding with sparse gradients, and {declared.name} takes none",
            location=declared.location, code="type", hint="bind SGD or Adagrad, or give the embedding sparse=False",
        )  # fmt: skip
    given = "\n".join(
        f"  {declared.name}.{k} = {getattr(v, 'source', v)!r}   {declared.where.get(k, '')}".rstrip()
        for k, v in declared.arguments.items()
    )
    hint = f"it was given\n{given}" if given else f"bind what it needs, for example {declared.name}.lr = 2e-4"
    with configured(experiment), _blame(f"the optimizer of {name}", declared.location, hint):
        arguments = {k: argument(experiment, v, name, k, declared) for k, v in declared.arguments.items()}
        now = {k: v(counters) if callable(v) else v for k, v in arguments.items()}
        cls = configurable(declared.name)
        _check_numbers(cls, now, declared)
        light = _light(cls) if all(p.is_meta for p in parameters) else cls
        made = cls(parameters, **now) if sparse else _fused(light, parameters, now)
    return made, {k: v for k, v in arguments.items() if callable(v)}


def _fused(cls: Any, parameters: Sequence[nn.Parameter], arguments: dict[str, Any]) -> torch.optim.Optimizer:
    """Fused where the device supports it, which is worth several percent of a step."""
    can = "fused" in inspect.signature(cls).parameters and not {"fused", "foreach"} & arguments.keys()
    if can and all(p.is_floating_point() and p.device.type in ("cpu", "cuda", "mps") for p in parameters):
        with contextlib.suppress(RuntimeError):
            return cls(parameters, **arguments, fused=True)  # type: ignore[no-any-return]
    return cls(parameters, **arguments)  # type: ignore[no-any-return]


def _light(cls: Any) -> Any:
    """To check arguments with: torch's ``add_param_group`` has torch.compile imported, which takes over a second."""
    if cls.add_param_group is not torch.optim.Optimizer.add_param_group:
        return cls

    def add_param_group(self: Any, group: Mapping[str, Any]) -> None:
        self.param_groups.append({**self.defaults, **group})

    return type(cls.__name__, (cls,), {"add_param_group": add_param_group})


def _check_numbers(cls: Any, arguments: Mapping[str, Any], declared: Optimizer) -> None:
    for name, given in arguments.items():
        flat = given if isinstance(given, (tuple, list)) else (given,)
        if any(not isinstance(v, (int, float, bool, type(None), torch.Tensor)) for v in flat):
            raise GanflowError(f"`{declared.name}.{name}` is {given!r}; it takes a number", location=declared.location,
                               code="type")  # fmt: skip


def argument(experiment: Experiment, given: Any, name: str, key: str, declared: Optimizer) -> Any:
    """A number, or a callable(counters) for an expression or a schedule, also inside a tuple."""
    if isinstance(given, (tuple, list)):
        parts = [argument(experiment, v, name, key, declared) for v in given]
        if any(map(callable, parts)):
            return lambda counters: tuple(p(counters) if callable(p) else p for p in parts)
        return tuple(parts)
    if isinstance(given, Reference):
        return make(given, name)
    if isinstance(given, Text):
        return host_function(experiment, given, f"{declared.name}.{key}")
    return given


def host_function(experiment: Experiment, text: Text, owner: str) -> Argument:
    """An expression over counters and constants as a callable(counters)."""
    program = resolve(experiment, {owner: text})
    node = program.nodes[program.roots[owner]]
    if not node.host:
        raise GanflowError(
            f"`{owner}` reads a tensor: {text.source!r}", location=text.location, code="type",
            hint="it takes a number, a schedule object, or an expression over counters and constants",
        )  # fmt: skip
    graph = StepGraph("", program.nodes, program.names, (), ())
    code = Printer(program.nodes, variable_names(graph)).text(node.id)
    made = {n.target: make(n.value) for n in program.nodes.values() if isinstance(n.value, Reference)}
    called = {n.target for n in program.nodes.values() if n.kind == "op"}
    space = {**ops(experiment, called), "schedules": made, "power": power}
    return eval(compile(f"lambda counters: {code}", f"<{owner}>", "eval"), space)  # type: ignore[no-any-return]
