"""Published methods beyond the zoo, in the language and as plain PyTorch loops: the same numbers, and no false alarm."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import ganflow
import methods_networks
from ganflow.experiment import Experiment
from ganflow.inspection import inspect
from ganflow.probe import probe
from ganflow.trainer import dataset
from handwritten.zoo.common import Draws, difference, result
from zoo_networks import known

PROGRAMS = Path(__file__).parent / "methods"
NAMES = tuple(sorted(p.stem for p in PROGRAMS.glob("*.gin") if p.stem != "common"))
FAMILIES = tuple(p.stem for p in (Path(__file__).parent / "handwritten/methods").glob("[!_]*.py"))
ITERATIONS = 7
# What is said of a program although it is right: before the first iteration a term that ramps up from 0 (the reversed
# gradient, the way from the mean of past weights) and a part that fades in give no gradient.
SAID = {"dann": "gradient-zero", "historical": "gradient-zero", "progan": "gradient-zero"}


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    with known():
        yield
    torch.set_default_dtype(torch.float32)


def load(name: str) -> Experiment:
    return ganflow.load(PROGRAMS / f"{name}.gin")


def data(experiment: Experiment) -> methods_networks.Batches:
    return dataset(experiment)


def loop(name: str) -> Callable[..., Any]:
    found = [getattr(importlib.import_module(f"handwritten.methods.{f}"), name, None) for f in FAMILIES]
    return next(f for f in found if f is not None)


def compare(name: str, *, changed: str = "") -> tuple[float, Draws, Draws]:
    experiment = load(name)
    draws, same = Draws(changed=changed), Draws()
    batches = data(experiment)
    step = ganflow.TrainStep(experiment, batches, random=draws)
    derived = {n for n, d in experiment.networks.items() if d.derived}
    nets = {n: copy.deepcopy(m) for n, m in step.networks.items() if n not in derived}
    torch.manual_seed(1)  # dropout's
    for _ in range(ITERATIONS):
        step()
    torch.manual_seed(1)
    states = loop(name)(nets, [batches.batch(i) for i in range(batches.fetched)], same)
    return difference(result(step.networks, step.states), result(nets, states or {})), draws, same


@pytest.mark.parametrize("name", NAMES)
def test_a_method_equals_the_hand_written_loop(name: str) -> None:
    gap, draws, same = compare(name)
    assert gap <= 1e-12
    assert draws.counts == same.counts


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_said_of_a_method_that_is_right(name: str) -> None:
    experiment = load(name)
    found = [*inspect(experiment).findings, *probe(ganflow.TrainStep(experiment, data(experiment))).findings]
    said = [f for f in found if f.level != "note" and f.code != SAID.get(name)]
    assert not said, "\n".join(map(str, said))
