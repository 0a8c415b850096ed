"""The plan: what is evaluated, reused, cut, frozen and stepped, on small experiments made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ganflow.errors import GanflowError
from ganflow.experiment import Text
from ganflow.graph import Evaluate, Reuse, StepGraph
from ganflow.scheduler import schedule
from ganflow.views import forwards
from toy import WHERE, experiment

PIX2PIX = {
    "lambda_GAN": 1.0, "lambda_A": 100.0,
    "fake_B": "G(real_A)", "pred_fake": "D(cat(real_A, fake_B))", "pred_real": "D(cat(real_A, real_B))",
    "D_fake": "gan(pred_fake, False)", "D_real": "gan(pred_real, True)",
    "G_GAN": "gan(pred_fake, True)", "G_L1": "l1(fake_B, real_B)",
}  # fmt: skip
UPDATES = {"D": "0.5 * (D_fake + D_real)", "G": "lambda_GAN * G_GAN + lambda_A * G_L1"}


def pix2pix(**changes: object) -> StepGraph:
    return schedule(experiment({**PIX2PIX, **changes}, UPDATES, ["D", "G"]))


def made(graph: StepGraph, phase: int, node: str) -> Evaluate:
    return next(a for a in graph.phases[phase].evaluations if a.node == node)


def test_pix2pix_detaches_freezes_and_reuses_as_the_paper_does() -> None:
    graph = pix2pix()
    assert forwards(graph) == {"G": 1, "D": 3}
    assert made(graph, 0, "fake_B").kept_for == ("G",)
    assert made(graph, 0, "pred_fake").cut == (("pred_fake.1", 1),)
    assert made(graph, 1, "pred_fake").mode == "through" and made(graph, 1, "pred_fake").freezes == ("D",)
    assert made(graph, 1, "pred_fake").cut == ()
    assert Reuse("fake_B", "D", graph=True, stale=()) in graph.phases[1].actions
    assert [(t.name, t.weight) for t in graph.updates[1].terms] == [("G_GAN", 1.0), ("G_L1", 100.0)]


def test_a_zero_weight_drops_the_term_and_the_whole_discriminator() -> None:
    graph = pix2pix(lambda_GAN=0.0)
    assert graph.networks == ("G",) and [u.name for u in graph.updates] == ["G"]
    assert [(p.kind, p.name) for p in graph.pruned] == [("term", "G_GAN"), ("update", "D"), ("network", "D")]


def test_an_update_whose_whole_loss_has_weight_zero_goes_with_it() -> None:
    updates = {"D": "zero * (D_fake + D_real)", "G": "G_L1"}
    graph = schedule(experiment(PIX2PIX | {"zero": 0.0}, updates, ["D", "G"]))
    assert graph.networks == ("G",) and [u.name for u in graph.updates] == ["G"]
    assert ("update", "D") in [(p.kind, p.name) for p in graph.pruned]


@pytest.mark.parametrize("weight", ["off * step", "step * off", "off * (0.5 if step > 3 else 1.0)", "off / (1 + step)"])
def test_a_weight_that_is_zero_whatever_the_counters_are_costs_nothing(weight: str) -> None:
    updates = {"D": "D_fake + D_real", "G": f"G_L1 + {weight} * G_GAN"}
    graph = schedule(experiment(PIX2PIX | {"off": 0.0}, updates, ["D", "G"]))
    assert graph.networks == ("G",) and [u.name for u in graph.updates] == ["G"]


def test_an_update_stays_while_a_condition_reads_its_network() -> None:
    declared = experiment(PIX2PIX, {"D": "D_fake + D_real", "G": "G_L1 + 0.0 * G_GAN"}, ["D", "G"])
    when = replace(declared.updates["G"], when=Text("mean(D(real_B)) < 5", WHERE))
    graph = schedule(replace(declared, updates=declared.updates | {"G": when}))
    assert [u.name for u in graph.updates] == ["D", "G"]


def test_generator_first_gives_d_the_fake_from_before_the_step() -> None:
    graph = schedule(experiment(PIX2PIX, UPDATES, ["G", "D"]))
    assert Reuse("fake_B", "G", graph=False, stale=("G",)) in graph.phases[1].actions
    assert forwards(graph) == {"G": 1, "D": 3}
    assert made(graph, 0, "fake_B").mode == "train"


def test_in_a_group_one_evaluation_serves_both_and_its_graph_is_retained() -> None:
    graph = schedule(experiment(PIX2PIX, UPDATES, [("D", "G")]))
    assert forwards(graph) == {"G": 1, "D": 2}
    assert [u.retain_graph for u in graph.updates] == [True, False]
    assert made(graph, 0, "pred_fake").freezes == ()


def test_gradient_penalty_differentiates_a_leaf() -> None:
    definitions = {"fake": "G(z)", "r2": "sum(square(grad(D(fake), fake)))"}
    graph = schedule(experiment(definitions, {"D": "mean(D(real)) + r2", "G": "mean(D(fake))"}, ["D", "G"]))
    call = next(n for n in graph.nodes.values() if n.text == "D(fake)" and n.owner == "r2")
    assert made(graph, 0, call.id).cone == ((call.id, 0),)
    assert next(a for a in graph.phases[0].evaluations if graph.nodes[a.node].kind == "grad").create_graph


@pytest.mark.parametrize(
    ("definitions", "updates", "code"),
    [
        ({"fake": "G(x)"}, {"G": "mean(D(detach(fake)))", "D": "mean(D(fake))"}, "starved"),
        ({"a": "b", "b": "a + 1"}, {"G": "mean(G(x)) + a"}, "cycle"),
        ({}, {"G": "mean(G(x))  + men(x)"}, "unknown-name"),
        ({"G": 3}, {"G": "mean(G(x))"}, "name-clash"),
        ({}, {"G": "l1(G(x))"}, "arguments"),
        ({"f": "lambda a: f(a)"}, {"G": "mean(f(G(x)))"}, "cycle"),
        ({}, {"G": "mean(D(G(x)))"}, "no-owner"),
    ],
)
def test_wrong_declarations_are_refused(definitions: dict, updates: dict, code: str) -> None:
    toy = experiment(definitions, updates, list(updates))
    with pytest.raises(GanflowError) as error:
        schedule(toy)
    assert code in error.value.code


def test_the_host_chooses_by_what_it_knows() -> None:
    definitions = {"y": "G(x) if step > 3 else G(x) + 1"}
    graph = schedule(experiment(definitions, {"G": "mean(y)"}, ["G"]))
    branches = [made(graph, 0, n).guard for n in graph.nodes if graph.nodes[n].kind == "call"]
    assert [guard[0][1] for guard in branches] == [True, False]
    with pytest.raises(GanflowError, match="reads a tensor"):
        schedule(experiment({"y": "G(x) if mean(x) > 3 else x"}, {"G": "mean(y)"}, ["G"]))
