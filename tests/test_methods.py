"""Published methods beyond the zoo, in the language and as plain PyTorch: the same numbers, and no false alarm."""

from __future__ import annotations

import copy
import functools
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ganflow
import methods_networks  # noqa: F401  (registers what the programs name)
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
# gradient, the way from the mean of past weights) and a part that fades in give no gradient. MCD means its several
# steps on one batch, which in most methods is a mistake.
SAID = {"mcd": "stale-repeat", "dann": "gradient-zero", "historical": "gradient-zero", "progan": "gradient-zero"}


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    with known():
        yield
    torch.set_default_dtype(torch.float32)


def load(name: str, overrides: tuple[str, ...] = ()) -> Experiment:
    return ganflow.load(PROGRAMS / f"{name}.gin", overrides)


def loop(name: str) -> Callable[..., Any]:
    found = [getattr(importlib.import_module(f"handwritten.methods.{f}"), name, None) for f in FAMILIES]
    return next(f for f in found if f is not None)


def trained(
    name: str, *, changed: str = "", overrides: tuple[str, ...] = ()
) -> tuple[dict[str, Any], Draws, dict[str, nn.Module], int]:
    """The result of the program, what it drew, the networks that it started from, and how many batches it took.

    ``changed``: a site where its draws are others.
    """
    experiment, draws = load(name, overrides), Draws(changed=changed)
    batches = dataset(experiment)
    step = ganflow.TrainStep(experiment, batches, random=draws)
    start = {n: copy.deepcopy(m) for n, m in step.networks.items() if not experiment.networks[n].derived}
    torch.manual_seed(1)  # dropout's
    for _ in range(ITERATIONS):
        step()
    return result(step.networks, step.states), draws, start, batches.fetched


@functools.cache
def unchanged(name: str) -> tuple[dict[str, Any], Draws, dict[str, nn.Module], int]:
    return trained(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_equals_the_hand_written_loop(name: str) -> None:
    ours, drawn, start, fetched = unchanged(name)
    nets, draws, batches = copy.deepcopy(start), Draws(), dataset(load(name))
    torch.manual_seed(1)
    states = loop(name)(nets, [batches.batch(i) for i in range(fetched)], draws)
    assert difference(ours, result(nets, states or {})) <= 1e-12
    assert drawn.counts == draws.counts


@pytest.mark.parametrize("name", NAMES)
def test_another_draw_or_rate_is_noticed(name: str) -> None:
    ours, drawn, *_ = unchanged(name)
    for site in [*drawn.counts, ""][:1]:
        other = trained(name, changed=site) if site else trained(name, overrides=("Adam.lr = 1.1e-2",))
        assert difference(ours, other[0]) > 1e-6, site


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_said_of_a_method_that_is_right(name: str) -> None:
    experiment = load(name)
    found = [*inspect(experiment).findings, *probe(ganflow.TrainStep(experiment, dataset(experiment))).findings]
    said = [f for f in found if f.level != "note" and f.code != SAID.get(name)]
    assert not said, "\n".join(map(str, said))


# -- what these programs need of the language, and how it is refused ---------------------------------------------


SMALL = """
Trainer.data = @Batches()
Trainer.batch_size = 8
Batches.x = (6,)
Network.optimizer = @SGD
SGD.lr = 0.1
E/Network.module = @Net()
Schedule.updates = ['E']
"""


def small(*lines: str) -> ganflow.TrainStep:
    experiment = ganflow.loads("\n".join([SMALL, *lines]))
    return ganflow.TrainStep(experiment, dataset(experiment), random=Draws())


def test_a_state_starts_as_an_expression_over_draws() -> None:
    step = small("E/Update.minimize = 'mean(E(x) * q[0])'", "q/State.init = '2 * randn(4)'", "q/State.next = 'q + 1'")
    first = 2 * Draws().draw("q.init", "randn", 4)
    assert torch.equal(step.states["q"], first)
    step()
    assert torch.equal(step.states["q"], first + 1)


@pytest.mark.parametrize("reads", ["mean(x)", "step", "E(randn(8, 6))", "q"])
def test_the_first_value_of_a_state_reads_nothing_of_an_iteration(reads: str) -> None:
    with pytest.raises(ganflow.GanflowError, match="before the first iteration"):
        small("E/Update.minimize = 'mean(E(x) * q)'", f"q/State.init = '{reads}'", "q/State.next = 'q + 1'")


@pytest.mark.parametrize(("mode", "own"), [("train", True), (None, False)])
def test_an_average_may_run_in_training_mode(mode: str | None, own: bool) -> None:
    lines = ["T/Network.ema_of = 'E'", "T/Network.ema_beta = 0.5", f"T/Network.mode = {mode!r}"]
    lines += ["T/Network.ema_buffers = 'own'", "E/Net.norm = True", "E/Update.minimize = 'mse(E(x), T(x))'"]
    step = small(*lines)
    step()
    assert step.networks["T"].training is own
    assert step.networks["T"].state_dict()["trunk.1.num_batches_tracked"] == (1 if own else 0)


def test_a_frozen_call_of_an_unrolled_network_gives_its_source_nothing() -> None:
    """Beside a live call of the same one, whose gradient it must not add to."""
    lines = ["N/Network.unroll_of = 'E'", "N/Network.unroll_minimize = 'mse(E(x), 1)'", "N/Network.unroll_steps = 1"]
    lines += ["N/Network.unroll_lr = 0.1", "F/Network.module = @Net()", "F/Net.outputs = 6"]
    lines += ["E/Update.trains = ['E', 'F']"]
    live = small(*lines, "E/Update.minimize = 'mean(N(x) ** 2) + mean(F(x))'")
    both = small(*lines, "E/Update.minimize = 'mean(N(x) ** 2) + mean(frozen(N)(F(x)) ** 3)'")
    live()
    both()
    assert all(torch.equal(p, q) for p, q in zip(*(s.networks["E"].parameters() for s in (live, both)), strict=True))


def test_what_a_template_reads_twice_is_evaluated_once() -> None:
    step = small("twice = 'lambda v: mean(v * v) + mean(v)'", "E/Update.minimize = 'twice(sqrt(square(E(x))))'")
    assert step.source.text.count("sqrt(") == 1


def test_a_term_may_be_a_number_while_it_is_switched_off() -> None:
    step = small("E/Update.minimize = 'mse(E(x), 1) + (mean(E(x)) if step >= 1 else 0.0)'")
    assert step()["loss/E.2"] == 0.0 and isinstance(step()["loss/E.2"], torch.Tensor)


def test_a_loss_may_have_a_constant() -> None:
    step = small("E/Update.minimize = 'mse(E(x), 1) + (0.1 if step >= 0 else 0.0)'")
    assert step()["loss/E.2"] == 0.1


def test_grad_of_a_network_is_one_vector() -> None:
    step = small("g = 'grad(mse(E(x), 1), E)'", "E/Update.minimize = 'sum(square(g))'")
    module = copy.deepcopy(step.networks["E"])
    loss = (module(dataset(step.experiment).batch(0)["x"]) - 1).square().mean()
    slopes = torch.autograd.grad(loss, list(module.parameters()))
    assert float(step()["loss/E"]) == pytest.approx(float(sum(g.square().sum() for g in slopes)), rel=1e-12)
    with pytest.raises(ganflow.GanflowError, match="a frozen network has no gradient"):
        small("E/Update.minimize = 'sum(square(grad(mse(E(x), 1), frozen(E))))'")


def test_parts_of_a_network_in_one_group_have_optimizers_of_their_own_or_one() -> None:
    parts = ["Schedule.updates = [('E', 'b')]", "b/Update.minimize = 'mean(E(x))'", "E/Update.minimize = 'mean(E(x))'"]
    parts += ["b/Update.trains = ['E.heads']", "E/Update.trains = ['E.trunk']", "b/Update.optimizer = @SGD"]
    with pytest.raises(ganflow.GanflowError, match="in one group with different optimizers"):
        small(*parts)
    small(*parts, "E/Update.optimizer = @SGD")
    with pytest.raises(ganflow.GanflowError, match="in one group with different optimizers"):
        small(*parts, "E/Update.optimizer = @SGD", "E/Update.trains = ['E']")
