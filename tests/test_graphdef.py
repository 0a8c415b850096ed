"""The step graph in TensorBoard's Graphs tab."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, assume, given, settings

import ganflow
from boards import check_graph
from ganflow.inspection import inspect
from ganflow.pictures.graphdef import Operation, operations_of, plain, shapes_in
from ganflow.presenting import operations
from ganflow.protos import graph_bytes
from golden_text import GOLDEN
from test_methods import NAMES as METHOD_NAMES
from test_naive import PHASES, Declared, experiments, gin
from test_pictures import graph_of, lanes_of
from test_zoo import PROGRAMS
from zoo_networks import known


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    with known():
        yield


def parsed(found: tuple[Operation, ...]) -> object:
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    return GraphDef.FromString(graph_bytes(found))


def base() -> dict[str, Operation]:
    experiment = ganflow.load(GOLDEN / "errors" / "base.gin")
    return {o.name: o for o in operations(experiment, inspect(experiment))}


def test_pix2pix_is_what_one_would_draw() -> None:
    assert {name: (o.op, o.inputs) for name, o in base().items()} == {
        "batch/real_A": ("field", ()),
        "batch/real_B": ("field", ()),
        "update_D/fake_B": ("G", ("batch/real_A",)),
        "update_D/detach": ("detach", ("update_D/fake_B",)),
        "update_D/pred_fake": ("D", ("batch/real_A", "update_D/detach")),
        "update_D/pred_real": ("D", ("batch/real_A", "batch/real_B")),
        "update_D/D_fake": ("gan", ("update_D/pred_fake",)),
        "update_D/D_real": ("gan", ("update_D/pred_real",)),
        "update_D/loss_D": ("minimize", ("update_D/D_fake", "update_D/D_real")),
        "step_D": ("Adam", ("update_D/loss_D",)),
        "update_G/pred_fake": ("D", ("batch/real_A", "update_D/fake_B", "^step_D")),  # D has moved
        "update_G/G_GAN": ("gan", ("update_G/pred_fake",)),
        "update_G/G_L1": ("l1", ("update_D/fake_B", "batch/real_B")),  # the fake is taken over
        "update_G/loss_G": ("minimize", ("update_G/G_GAN", "update_G/G_L1")),
        "step_G": ("Adam", ("update_G/loss_G",)),
    }


def test_attributes_say_mode_shape_cost_and_place() -> None:
    found = base()
    fake, judged = found["update_D/fake_B"], found["update_D/pred_fake"]
    assert (fake.shapes, found["batch/real_A"].shapes) == (((4, 3, 16, 16),),) * 2
    assert fake.attributes["shape"] == "4x3x16x16" and fake.attributes["FLOPs"].endswith("FLOP forward")
    assert fake.attributes["where"].endswith("base.gin:15") and fake.attributes["expression"] == "fake_B = G(real_A)"
    assert (fake.mode, judged.mode, found["update_G/pred_fake"].mode) == ("kept", "train", "through")
    assert judged.attributes["detached inputs"] == "update_D/fake_B"
    assert "detached inputs" not in found["update_G/pred_fake"].attributes
    assert found["update_G/pred_fake"].attributes["network"] == "D, frozen, gradient passes through"
    assert found["update_G/loss_G"].attributes["term"] == "1 x G_GAN; 100 x G_L1"
    assert found["step_G"].attributes["optimizer"] == "Adam lr 0.0002"


@pytest.mark.parametrize("program", (*PROGRAMS, *METHOD_NAMES))
def test_it_opens_for_every_program(program: str) -> None:
    graph = graph_of(program)
    found = operations_of(graph)
    check_graph(parsed(found))
    seen: set[str] = set()
    for operation in found:
        assert {i.removeprefix("^") for i in operation.inputs} <= seen, "what enters it stands before it"
        seen.add(operation.name)
    steps = {o.name.split(".")[0] for o in found if "/" not in o.name}
    assert {f"step_{plain(key)}".split(".")[0] for phase in graph.walk() for key in phase.steps} == steps


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_evaluation_is_an_operation_and_every_cut_a_detach(program: str) -> None:
    graph = graph_of(program)
    found = operations_of(graph)
    there = [g.nodes[a.node] for g, phase in lanes_of(graph) for a in phase.evaluations]  # type: ignore[attr-defined]
    made = Counter(o.name.rpartition("/")[2] for o in found)
    assert Counter(plain(n.id) for n in there if n.is_statement) <= made
    written = any(n.kind == "detach" for n in graph.nodes.values())
    assert any(o.op == "detach" for o in found) == (written or any(a.cut for p in graph.walk() for a in p.evaluations))


@settings(max_examples=15, phases=PHASES, suppress_health_check=list(HealthCheck))
@given(experiments())
def test_it_opens_for_any_experiment(declared: Declared) -> None:
    try:
        graph = ganflow.schedule(ganflow.loads(gin(declared)))
    except ganflow.GanflowError:
        assume(False)
    check_graph(parsed(operations_of(graph)))


def test_names_of_any_alphabet_are_told_apart() -> None:
    assert plain("D.r1") == "D.r1" and plain("grüße/ß") == "gr_e._".strip("_")
    assert plain("") == "x" and plain("_a") == "a" and plain("-a") == ".-a"


def test_shapes_are_read_from_the_plan() -> None:
    assert shapes_in("8×3×64") == ((8, 3, 64),) and shapes_in("scalar") == ((),)
    assert shapes_in("[8×1, 8×4]") == ((8, 1), (8, 4))
    assert shapes_in("[8×1, 8×4, 8×2, …]") == shapes_in("?") == shapes_in("") == ()
