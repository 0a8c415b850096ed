"""Random experiments: what the compiler's step does is what the naive interpreter does."""

from __future__ import annotations

import copy
import functools
import itertools
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import ganflow
from ganflow.codegen import variants
from ganflow.experiment import Experiment
from ganflow.graph import StepGraph
from ganflow.json_view import from_json, to_json
from ganflow.verify import verify
from naive import Declared, Naive
from plan_mutants import mutants

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # shrinking takes minutes: an experiment is a large value
NETWORKS = ("P", "Q", "R", "S", "T")
FRAME = """
Network.module = @MLP()
Network.optimizer = @SGD
SGD.lr = 0.3
MLP.in_features = 3
MLP.out_features = 3
"""


class Sites:
    """The n-th draw of a site; both sides count."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def draw(self, site: str, kind: str, *shape: int) -> Tensor:
        self.counts[site] += 1
        g = torch.Generator().manual_seed(1000 * self.counts[site] + sum(map(ord, site)) % 997)
        return torch.randn(*shape, generator=g, dtype=torch.float64)


@cache  # to make a strategy takes longer than to draw from it
def expressions(names: tuple[str, ...], states: tuple[str, ...], among: tuple[str, ...]) -> st.SearchStrategy[str]:
    leaf = st.sampled_from(["x", "randn(4, 3)", *names, *names])
    weight = st.sampled_from(["0.5", "2.0", *states])

    def deeper(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        networks = st.sampled_from(among)
        return st.one_of(
            st.builds("{}({})".format, networks, inner),
            st.builds("{}({})".format, networks, inner),
            st.builds("frozen({})({})".format, networks, inner),
            st.builds("detach({})".format, inner),
            st.builds(gradient, networks, networks, *[st.sampled_from(["x", *names])] * 2, st.integers(0, 4)),
            st.builds("tanh({})".format, inner),
            st.builds("({} + {})".format, inner, inner),
            st.builds("({} * {})".format, weight, inner),
        )

    return st.recursive(leaf, deeper, max_leaves=4)


def gradient(n: str, m: str, x: str, y: str, way: int) -> str:
    return (
        f"grad({n}({x}), {x})",
        f"grad(square({n}(tanh({x}))), {x})",
        f"grad(frozen({n})({m}({x})), {x})",
        f"grad({x} * grad({n}({x}), {x}), {x})",
        f"grad({y} * tanh({x}), {x})",
    )[way]


@st.composite
def experiments(draw: Any) -> Declared:
    among = NETWORKS[: draw(st.integers(2, 5))]
    states = draw(st.lists(st.sampled_from(["k", "m"]), unique=True, max_size=2))
    names: list[str] = []
    definitions: dict[str, str] = {}
    for i in range(draw(st.integers(1, 5))):
        definitions[f"d{i}"] = draw(expressions(tuple(names), tuple(states), among))
        names.append(f"d{i}")
    value = expressions(tuple(names), tuple(states), among)
    tensor_test = st.builds("mean({}) > 0.0".format, value)
    tests = st.sampled_from([None, None, None, "step % 2 == 0", "step > 0", *(f"{s} > 0.1" for s in states)])
    whens = st.one_of(tests, tests, tensor_test)
    updates: dict[str, dict[str, Any]] = {}
    for i in range(draw(st.integers(1, 4))):
        trains = draw(st.lists(st.sampled_from(among), unique=True, min_size=1, max_size=2))
        parts = [f"mean(square({draw(value)}))" for _ in range(draw(st.integers(1, 2)))]
        parts += [f"mean(square({n}({draw(value)})))" for n in trains]
        updates[f"u{i}"] = {
            "minimize": " + ".join(parts), "trains": tuple(trains), "when": draw(whens),
            "gain": draw(st.sampled_from([1.0, 1.0, 0.5])),
        }  # fmt: skip
    schedule: list[tuple[str, ...]] = []
    for u in updates:
        if schedule and draw(st.integers(0, 3)) == 0:
            schedule[-1] = (*schedule[-1], u)
        else:
            schedule.append((u,))
    fresh = st.lists(st.sampled_from([*names, "draws", "batch"]), unique=True, max_size=2)
    for group in schedule:
        if len(group) == 1:
            updates[group[0]] |= {"fresh": tuple(draw(fresh)), "repeat": draw(st.sampled_from([1, 1, 2, 3, 5]))}
            if draw(st.booleans()):
                updates[group[0]]["repeat_fresh"] = tuple(draw(fresh))
    declared = {
        s: {
            "init": 0.3, "next": f"0.5 * {s} + mean({draw(value)})", "when": draw(whens),
            "after": draw(st.sampled_from([None, *updates])),
        }
        for s in states
    }  # fmt: skip
    averages = {"P_ema": ("P", draw(st.sampled_from(["0.5", "0.9 * 0.5", *(f"tanh({s})" for s in states)])))}
    return Declared(definitions, updates, schedule, declared, averages if draw(st.booleans()) else {})


def gin(d: Declared) -> str:
    lines = [FRAME, *(f"{n} = {text!r}" for n, text in d.definitions.items())]
    trained = {n for u in d.updates.values() for n in u["trains"]}
    lines += [f"{n}/Network.trainable = {n in trained}" for n in NETWORKS]
    for scope, table in (("Update", d.updates), ("State", d.states)):
        for name, values in table.items():
            given = {k: v for k, v in values.items() if v is not None}
            lines += [f"{name}/{scope}.{k} = {list(v) if isinstance(v, tuple) else v!r}" for k, v in given.items()]
    for name, (source, beta) in d.averages.items():
        lines += [f"{name}/Network.ema_of = {source!r}", f"{name}/Network.ema_beta = {beta!r}"]
    return "\n".join([*lines, f"Schedule.updates = {[g if len(g) > 1 else g[0] for g in d.schedule]!r}"])


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {n: nn.Sequential(nn.Linear(3, 3), nn.Tanh()).double() for n in NETWORKS}


@functools.cache  # never written to
def batches(count: int = 400) -> list[dict[str, Tensor]]:
    """More than any schedule reads: every run of an update may fetch one."""
    g = torch.Generator().manual_seed(5)
    return [{"x": torch.randn(4, 3, generator=g, dtype=torch.float64)} for _ in range(count)]


few = settings(max_examples=25, phases=PHASES, suppress_health_check=list(HealthCheck))
many = settings(max_examples=1000, phases=PHASES, suppress_health_check=list(HealthCheck))


@few
@given(experiments())
def test_the_step_is_what_the_words_say(d: Declared) -> None:
    compare(d)


@pytest.mark.slow
@pytest.mark.parametrize("part", [1, 2])
@many
@given(experiments())
def test_the_step_is_what_the_words_say_two_thousand_times(part: int, d: Declared) -> None:
    compare(d)


def accepted(d: Declared) -> tuple[Experiment, StepGraph]:
    experiment = ganflow.loads(gin(d))
    try:
        return experiment, ganflow.schedule(experiment)
    except ganflow.GanflowError as error:
        event(f"refused: {error.code}")
        assume(False)
        raise


def compare(d: Declared) -> None:
    experiment, planned = accepted(d)
    for graph in variants(planned):
        assert from_json(to_json(graph, indent=None)) == graph  # which verifies it
    ours, theirs = networks(), networks()
    sites, other = Sites(), Sites()
    step = ganflow.TrainStep(experiment, batches(), networks=copy.copy(ours), random=sites)
    naive = Naive(d, theirs, batches(), other, lr=0.3)
    for i in range(3):
        step()
        naive.iteration()
        for name in NETWORKS:
            for (key, a), b in zip(ours[name].named_parameters(), theirs[name].parameters(), strict=True):
                assert torch.allclose(a, b, atol=1e-10, equal_nan=True), (i, name, key)
        for name, value in naive.states.items():
            gap = torch.as_tensor(step.states[name]).double() - torch.as_tensor(value).double()
            assert gap.abs() < 1e-10 or gap.isnan(), (i, name)
        for name, values in naive.averages.items():
            source = step.networks.get(name)  # none where nothing uses what it follows
            for key, p in source.named_parameters() if source else ():
                assert torch.allclose(p, values[key], atol=1e-10, equal_nan=True), (i, name, key)
        assert sites.counts == other.counts, i


# -- a plan that was changed, and a weight of zero ------------------------------------------------------------------


@few
@given(experiments(), st.integers(0, 300))
def test_a_changed_plan_is_rejected(d: Declared, place: int) -> None:
    tampered(d, place)


@pytest.mark.slow
@many
@given(experiments(), st.integers(0, 300))
def test_a_changed_plan_is_rejected_a_thousand_times(d: Declared, place: int) -> None:
    tampered(d, place)


def tampered(d: Declared, place: int) -> None:
    changed = list(itertools.islice(mutants(accepted(d)[1]), place + 1))
    what, mutant = changed[-1]
    try:
        verify(mutant)
    except AssertionError:
        return
    raise AssertionError(f"accepted: {what}")


class Counted(TorchDispatchMode):
    """How often each operation of torch is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls[str(function)] += 1
        return function(*args, **(kwargs or {}))


@st.composite
def zeros(draw: Any) -> tuple[Declared, str, str]:
    """An experiment, one of its updates, and a term of it whose weight is the constant 0."""
    d = draw(experiments())
    value = draw(expressions(tuple(d.definitions), tuple(d.states), NETWORKS)).replace("randn(4, 3)", "x")
    weight = draw(st.sampled_from(["0.0", "0", "off", "off * 2.0", "(1.0 - 1.0)", "-off"]))
    return d, draw(st.sampled_from(list(d.updates))), f"{weight} * mean(square({value}))"


@few
@given(zeros())
def test_a_term_of_weight_zero_is_no_term(case: tuple[Declared, str, str]) -> None:
    without(*case)


@pytest.mark.slow
@many
@given(zeros())
def test_a_term_of_weight_zero_is_no_term_a_thousand_times(case: tuple[Declared, str, str]) -> None:
    without(*case)


def without(d: Declared, update: str, term: str) -> None:
    """The same numbers to the last bit, from the same operations; a network that only that term reached is gone."""
    plain = accepted(d)[0]
    written = d.updates | {update: d.updates[update] | {"minimize": f"{term} + {d.updates[update]['minimize']}"}}
    more = replace(d, updates=written, definitions=d.definitions | {"off": 0.0})
    zeroed, graph = accepted(more)
    assume(not any(p.kind == "update" for p in graph.pruned))  # language.md: it goes with what it was for
    found = []
    for experiment in (plain, zeroed):
        made, sites = networks(), Sites()
        step = ganflow.TrainStep(experiment, batches(), networks=copy.copy(made), random=sites)
        with Counted() as counted:
            for _ in range(3):
                step()
        weights = [p.detach() for m in made.values() for p in m.parameters()]
        found.append((weights, counted.calls, sites.counts, set(step.networks)))
    (ours, *rest), (theirs, *other) = found
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(ours, theirs, strict=True))
    assert rest == other
