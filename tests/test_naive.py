"""Random experiments: what the compiler's step does is what the naive interpreter does."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import ganflow
from ganflow.codegen import variants
from ganflow.json_view import from_json, to_json
from ganflow.verify import verify
from naive import Declared, Naive

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # shrinking takes minutes: an experiment is a large value
NETWORKS = ("P", "Q", "R", "S")
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


def expressions(names: list[str], states: list[str]) -> st.SearchStrategy[str]:
    leaf = st.sampled_from(["x", "randn(4, 3)", *names, *names])
    weight = st.sampled_from(["0.5", "2.0", *states])

    def deeper(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        networks = st.sampled_from(NETWORKS)
        return st.one_of(
            st.builds("{}({})".format, networks, inner),
            st.builds("{}({})".format, networks, inner),
            st.builds("frozen({})({})".format, networks, inner),
            st.builds("detach({})".format, inner),
            st.builds("tanh({})".format, inner),
            st.builds("({} + {})".format, inner, inner),
            st.builds("({} * {})".format, weight, inner),
        )

    return st.recursive(leaf, deeper, max_leaves=4)


@st.composite
def experiments(draw: Any) -> Declared:
    states = draw(st.lists(st.sampled_from(["k", "m"]), unique=True, max_size=2))
    names: list[str] = []
    definitions: dict[str, str] = {}
    for i in range(draw(st.integers(1, 5))):
        definitions[f"d{i}"] = draw(expressions(names, states))
        names.append(f"d{i}")
    value = expressions(names, states)
    tensor_test = st.builds("mean({}) > 0.0".format, value)
    tests = st.sampled_from([None, None, None, "step % 2 == 0", "step > 0", *(f"{s} > 0.1" for s in states)])
    whens = st.one_of(tests, tests, tensor_test)
    updates: dict[str, dict[str, Any]] = {}
    for i in range(draw(st.integers(1, 4))):
        trains = draw(st.lists(st.sampled_from(NETWORKS), unique=True, min_size=1, max_size=2))
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


def batches(count: int = 40) -> list[dict[str, Tensor]]:
    g = torch.Generator().manual_seed(5)
    return [{"x": torch.randn(4, 3, generator=g, dtype=torch.float64)} for _ in range(count)]


@settings(max_examples=25, phases=PHASES, suppress_health_check=list(HealthCheck))
@given(experiments())
def test_the_step_is_what_the_words_say(d: Declared) -> None:
    compare(d)


@pytest.mark.slow
@settings(max_examples=1000, phases=PHASES, suppress_health_check=list(HealthCheck))
@given(experiments())
def test_the_step_is_what_the_words_say_a_thousand_times(d: Declared) -> None:
    compare(d)


def compare(d: Declared) -> None:
    experiment = ganflow.loads(gin(d))
    try:
        ganflow.schedule(experiment)
    except ganflow.GanflowError as error:
        event(f"refused: {error.code}")
        assume(False)
    for graph in variants(ganflow.schedule(experiment)):
        verify(graph)
        assert from_json(to_json(graph)) == graph
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
