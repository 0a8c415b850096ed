"""The hand-written loops of the zoo: they train what they should, and every mistake in one of them moves its result."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from handwritten.zoo.cases import CASES, loop
from handwritten.zoo.common import Draws, Now, difference, query
from handwritten.zoo.mutations import MUTATIONS, mutated

PROGRAMS = tuple(CASES)
VARIANTS = pytest.mark.parametrize("stateful", [False, True], ids=["plain", "stateful"])
MISTAKES = [(p, m) for p in PROGRAMS for m in MUTATIONS[p]]
SITES = [(p, s) for p in PROGRAMS for s in CASES[p].sites]


def run(program: str, *, stateful: bool = False, train: Any = None, draw: Draws | None = None) -> dict[str, Any]:
    case = CASES[program]
    nets, draw = case.build(stateful=stateful), draw or Draws()
    torch.manual_seed(1)  # dropout's
    return (train or loop(program))(nets, case.batches(), draw, iterations=case.iterations, **case.settings)


@functools.cache
def expected(program: str) -> dict[str, Any]:
    return run(program)


def test_every_program_has_a_loop_and_at_least_three_mistakes() -> None:
    assert len(PROGRAMS) == 19
    assert set(PROGRAMS) == set(MUTATIONS)
    assert min(len(m) for m in MUTATIONS.values()) >= 3


@VARIANTS
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_loop_trains_its_networks_and_leaves_them_as_they_were_otherwise(program: str, stateful: bool) -> None:
    case = CASES[program]
    nets, start = case.build(stateful=stateful), case.build(stateful=stateful)
    torch.manual_seed(1)
    out = loop(program)(nets, case.batches(), Draws(), iterations=case.iterations, **case.settings)
    numbers = [v for state in out["networks"].values() for v in state.values()] + list(out["states"].values())
    assert all(v.isfinite().all() for v in numbers)
    for name, before in start.items():
        after = out["networks"][name]
        extractor = name in ("VGG", "P")
        for key, p in before.named_parameters():
            assert torch.equal(after[key], p) == extractor, (name, key)
        for key, b in before.named_buffers():
            if b.numel() > 1 or extractor:  # spectral norm's vector for a single row is 1
                assert torch.equal(after[key], b) == extractor, (name, key)
        assert nets[name].training is not extractor
        assert all(p.requires_grad is not extractor for p in nets[name].parameters())


@VARIANTS
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_loop_is_repeatable_and_draws_at_the_declared_sites(program: str, stateful: bool) -> None:
    first, second = Draws(), Draws()
    assert difference(run(program, stateful=stateful, draw=first), run(program, stateful=stateful, draw=second)) == 0.0
    assert set(first.counts) == set(CASES[program].sites)


@pytest.mark.parametrize("program", PROGRAMS)
def test_plain_networks_leave_the_global_generator_alone(program: str) -> None:
    run(program)
    after = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(after, torch.get_rng_state())


@pytest.mark.parametrize(("program", "mistake"), MISTAKES)
def test_a_mistake_moves_the_result(program: str, mistake: str) -> None:
    assert difference(run(program, train=mutated(program, mistake)), expected(program)) > 1e-6


@pytest.mark.parametrize(("program", "site"), SITES)
def test_another_draw_at_one_site_moves_the_result(program: str, site: str) -> None:
    assert difference(run(program, draw=Draws(changed=site)), expected(program)) > 1e-6


FORWARDS = {
    "gan": {"G": 1, "D": 3},
    "lsgan": {"G": 1, "D": 3},
    "hinge_sngan": {"G": 6, "D": 11},
    "cyclegan": {"G_A": 3, "G_B": 3, "D_A": 3, "D_B": 3},
    "began": {"G": 1, "D": 3},
    "infogan": {"G": 2, "D": 4},
    "aae": {"E": 1, "Dec": 1, "D": 3},
    "bicyclegan": {"G": 2, "E": 2, "D": 3, "D2": 3},
    "cut": {"G": 5, "F": 4, "D": 3},
    "pix2pix": {"G": 1, "D": 3},
    "pix2pixhd": {"G": 1, "D": 3, "VGG": 2},
    "r3gan": {"G": 2, "D": 4},
    "unrolled": {"G": 1, "D": 13},
    "vaegan": {"E": 1, "Dec": 2, "D": 4},
    "vqgan": {"G": 2, "D": 3, "P": 1},
}


@pytest.mark.parametrize("program", FORWARDS)
def test_forwards_per_iteration(program: str) -> None:
    counts = {n: sum(calls.values()) for n, calls in expected(program)["forwards"].items() if calls}
    assert counts == {n: k * CASES[program].iterations for n, k in FORWARDS[program].items()}


def test_both_gates_of_vaegan_open_and_shut() -> None:
    case = CASES["vaegan"]
    steps: Counter[str] = Counter()
    nets = case.build()
    optimizers = {id(next(m.parameters())): n for n, m in nets.items()}

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        steps[optimizers[id(optimizer.param_groups[0]["params"][0])]] += 1

    hook = register_optimizer_step_pre_hook(note)
    try:
        loop("vaegan")(nets, case.batches(), Draws(), iterations=case.iterations, **case.settings)
    finally:
        hook.remove()
    assert steps["E"] == case.iterations
    assert 0 < steps["Dec"] < case.iterations
    assert 0 < steps["D"] < case.iterations
    assert steps["Dec"] != steps["D"]


def test_a_learning_rate_that_follows_the_counters() -> None:
    case = CASES["pix2pix"]
    seen: list[Now] = []

    def lr(now: Now) -> float:
        seen.append(now)
        return 1e-2 * (1 - 0.1 * now.epoch)

    out = loop("pix2pix")(case.build(), case.batches(), Draws(), iterations=7, lr=lr, eps=1e-3)
    assert seen[-1] == Now(step=6, epoch=2, epoch_step=0, images=48, batch_size=8)
    assert difference(out, expected("pix2pix")) > 1e-6


def test_the_pool_stores_while_it_has_room_and_then_swaps() -> None:
    stored: list[torch.Tensor] = []
    first = torch.arange(3.0)[:, None]
    assert torch.equal(query(stored, first, 2, torch.tensor([[0.9, 0.6]])), torch.tensor([[0.0], [1.0], [1.0]]))
    assert [float(s) for s in stored] == [0.0, 2.0]
    assert torch.equal(query(stored, first, 2, torch.tensor([[0.1, 0.0]] * 3)), first)
    assert query([], first, 0, torch.zeros(0, 2)) is not first


def test_difference_sees_a_missing_name_and_nan() -> None:
    a = {"networks": {"G": {"w": torch.zeros(2)}}, "states": {"k": torch.tensor(1.0)}}
    assert difference(a, a) == 0.0
    assert difference(a, {**a, "states": {}}) == float("inf")
    assert difference(a, {**a, "states": {"k": torch.tensor(float("nan"))}}) == float("inf")
    assert difference(a, {**a, "states": {"k": torch.tensor(1.5)}}) == 0.5
