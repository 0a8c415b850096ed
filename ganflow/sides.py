"""What `ganflow diff` compares: a gin file or a run's directory, scheduled and measured.

compare(side("pix2pix.gin"), side("runs/pix2pix", overrides=["lambda_A = 10"]))
"""

from __future__ import annotations

import inspect as python
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gin import config as gin_config

from ganflow import rundir
from ganflow.config import load
from ganflow.diff import Comparison, Measured, Side, lines
from ganflow.experiment import Experiment
from ganflow.inspection import Inspection, inspect, refuse

STYLES = {"a": "red", "b": "green", "title": "bold", "head": "bold", "added": "green", "removed": "red"}
PLAIN = (bool, int, float, str, type(None))


def side(path: str | Path, *, overrides: Sequence[str] = (), shapes: bool = True) -> Side:
    """The experiment in a gin file, or of a run's directory.

    Args:
        overrides: gin lines over the file.
        shapes: measure parameters and FLOPs too, on meta tensors.

    Raises:
        GanflowError: what ``ganflow check`` calls an error, ``not-a-run``.
    """
    path = Path(path)
    config = rundir.load(path).path / rundir.CONFIG if path.is_dir() else path
    experiment = load(config, overrides)
    if path.is_dir():
        experiment = replace(experiment, name=path.absolute().name)
    return side_of(experiment, shapes=shapes)


def side_of(experiment: Experiment, *, shapes: bool = True) -> Side:
    """An experiment with its step graph, cost and the defaults of what it binds."""
    inspection = inspect(experiment, shapes=shapes)
    refuse(inspection.findings)
    return side_from(experiment, inspection)


def side_from(experiment: Experiment, inspection: Inspection) -> Side:
    """The same of an experiment that has been looked at."""
    cost = inspection.cost
    measured = Measured(dict(cost.updates), cost.textbook, dict(cost.parameters))
    return Side(experiment, inspection.graph, measured, defaults_of(experiment))


def defaults_of(experiment: Experiment) -> Mapping[str, Mapping[str, object]]:
    """Configurable -> its parameters that have a plain default, for all that the file binds or names."""
    names = {b.selector for b in experiment.bindings if b.parameter} | set(experiment.ops)
    names |= {n.module.name.split("/")[-1] for n in experiment.networks.values() if n.module is not None}
    owners = (*experiment.networks.values(), *experiment.updates.values())
    names |= {o.optimizer.name for o in owners if o.optimizer is not None}
    return {name.rsplit(".", 1)[-1]: _defaults(name) for name in sorted(names)}


def _defaults(name: str) -> Mapping[str, object]:
    found = gin_config._REGISTRY.get_match(name)
    try:
        parameters = python.signature(found.wrapped).parameters.values() if found else ()
    except (TypeError, ValueError):  # a builtin that has no signature
        return {}
    return {p.name: p.default for p in parameters if p.default is not p.empty and _is_plain(p.default)}


def _is_plain(value: object) -> bool:
    return all(map(_is_plain, value)) if isinstance(value, tuple) else isinstance(value, PLAIN)


def print_comparison(comparison: Comparison, *, labels: tuple[str, str]) -> None:
    """The text of a comparison on stdout, in colour in a terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for line in lines(comparison, labels=labels):
        console.print(Text(line.text, style=STYLES.get(line.style, "")))
