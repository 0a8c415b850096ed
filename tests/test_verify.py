"""`verify` accepts what the scheduler makes and rejects what was tampered with; JSON says everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

import ganflow
from ganflow.codegen import variants
from ganflow.errors import GanflowError
from ganflow.graph import Evaluate, Free, Phase, Reuse, StepGraph
from ganflow.json_view import from_json, to_json
from ganflow.scheduler import schedule
from ganflow.verify import verify
from plan_mutants import mutants
from test_scheduler import PIX2PIX, UPDATES
from test_zoo import PROGRAMS, experiment
from toy import experiment as toy
from zoo_networks import known


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    with known():
        yield


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_satisfies_the_specification_and_survives_json(program: str) -> None:
    for graph in variants(ganflow.schedule(experiment(program))):
        verify(graph)
        assert from_json(to_json(graph)) == graph
        assert str(from_json(to_json(graph))) == str(graph)


def pix2pix() -> StepGraph:
    return schedule(toy(PIX2PIX, UPDATES, ["D", "G"]))


def tampered(graph: StepGraph, place: int, change: Callable[[Phase], Phase]) -> StepGraph:
    phases = list(graph.phases)
    phases[place] = change(phases[place])
    return replace(graph, phases=tuple(phases))


def without(kind: type, node: str = "") -> Callable[[Phase], Phase]:
    def change(phase: Phase) -> Phase:
        kept = [a for a in phase.actions if not isinstance(a, kind) or (node and getattr(a, "node", "") != node)]
        return replace(phase, actions=tuple(kept))

    return change


def with_(node: str, **fields: object) -> Callable[[Phase], Phase]:
    def change(phase: Phase) -> Phase:
        actions = (replace(a, **fields) if getattr(a, "node", "") == node else a for a in phase.actions)
        return replace(phase, actions=tuple(actions))

    return change


def first_update(**fields: object) -> Callable[[Phase], Phase]:
    return lambda phase: replace(phase, updates=(replace(phase.updates[0], **fields), *phase.updates[1:]))


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (0, with_("pred_fake", cut=()), "lets gradient into fake_B"),
        (1, with_("pred_fake", freezes=()), "freezes"),
        (1, with_("pred_fake", cut=(("pred_fake.1", 1),)), "has to pass"),
        (1, lambda p: replace(p, fetch=True), "not what the graph declares"),
        (0, without(Evaluate, "fake_B"), "not there"),
        (0, without(Free), "never freed"),
        (0, with_("fake_B", graph=False, kept_for=()), "does not have"),
        (0, with_("fake_B", graph=False), "does not have"),
        (0, with_("pred_fake", cut=(("pred_real.1", 1),)), "does not enter"),
        (0, with_("pred_fake", graph=False), "no graph"),
        (0, first_update(moves=("D", "G")), "have stepped|from before|has to pass"),
        (0, first_update(trains=("D", "G")), "gets no gradient"),
        (0, first_update(steps=()), "nothing steps"),
        (1, without(Evaluate, "pred_fake"), "is gone"),
        (1, with_("fake_B", stale=("G",)), "from before"),
        (1, with_("fake_B", graph=False), "never uses it"),
        (1, lambda p: replace(p, frees=(*p.frees, "fake_B")), "freed but not there"),
        (1, lambda p: replace(p, times=0), "0 times"),
    ],
)
def test_a_plan_that_was_tampered_with_is_rejected(place: int, change: Callable, message: str) -> None:
    graph = pix2pix()
    verify(graph)
    with pytest.raises(AssertionError, match=message):
        verify(tampered(graph, place, change))


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_plan_that_differs_in_one_place_is_accepted(program: str) -> None:
    """A sample of all of them; the slow test tries more."""
    reject(program, every=41)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_no_plan_that_differs_in_one_of_many_places_is_accepted(program: str) -> None:
    reject(program, every=5)


def reject(program: str, every: int) -> None:
    graph = ganflow.schedule(experiment(program))
    for i, (what, mutant) in enumerate(mutants(graph)):
        if i % every == 0:
            try:
                verify(mutant)
            except AssertionError:
                continue
            pytest.fail(f"accepted: {what}")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": ("G",)}, "does not step|step, and"),
        ({"steps": ("nobody",)}, "step, and"),
        ({"trains": ("D", "G")}, "does not move|gets no gradient"),
        ({"terms": ()}, "not those of its loss"),
    ],
)
def test_an_update_that_contradicts_itself_everywhere_is_rejected(fields: dict, message: str) -> None:
    graph = pix2pix()
    groups = tuple(tuple(replace(u, **fields) if u.name == "D" else u for u in g) for g in graph.groups)
    everywhere = replace(tampered(graph, 0, first_update(**fields)), groups=groups)
    with pytest.raises(AssertionError, match=message):
        verify(everywhere)


def test_a_trained_network_that_is_not_trainable_is_rejected() -> None:
    graph = pix2pix()
    plans = {n: replace(p, trainable=False) for n, p in graph.plans.items()}
    with pytest.raises(AssertionError, match="not trainable"):
        verify(replace(graph, plans=plans))


def test_a_group_that_does_not_retain_its_graph_is_rejected() -> None:
    graph = schedule(toy(PIX2PIX, UPDATES, [("D", "G")]))
    verify(graph)
    with pytest.raises(AssertionError, match="not retained"):
        verify(tampered(graph, 0, first_update(retain_graph=False)))


def test_a_reuse_of_what_was_differentiated_is_rejected() -> None:
    graph = schedule(toy(PIX2PIX, UPDATES, ["G", "D"]))
    verify(graph)
    stale = next(a for a in graph.phases[1].actions if isinstance(a, Reuse))
    with pytest.raises(AssertionError, match="is gone"):
        verify(tampered(graph, 1, with_(stale.node, graph=True)))


def test_json_of_something_else_is_refused() -> None:
    with pytest.raises(GanflowError, match="version"):
        from_json('{"version": 99}')
