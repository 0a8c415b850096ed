"""Published programs against plain PyTorch loops: the same weights, batches and draws, the same numbers."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import ganflow
from handwritten.zoo.cases import CASES, loop
from handwritten.zoo.common import Draws, difference, result
from zoo_networks import known

ZOO = Path(__file__).parent / "zoo"
PROGRAMS = tuple(CASES)


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    with known():
        yield


VARIANTS = pytest.mark.parametrize("stateful", [False, True], ids=["plain", "stateful"])


def experiment(program: str, *, stateful: bool = False, changes: tuple[str, ...] = ()) -> ganflow.Experiment:
    return ganflow.load(ZOO / f"{program}.gin", overrides=[*CASES[program].gin(stateful=stateful), *changes])


def trained(
    program: str,
    *,
    stateful: bool = False,
    changes: tuple[str, ...] = (),
    draws: Draws | None = None,
    observe: Callable[[str, str, Any], None] | None = None,
) -> Any:
    """What the program's step makes of the networks that the loop starts from."""
    case, draws = CASES[program], draws or Draws()
    declared = experiment(program, stateful=stateful, changes=changes)
    step = ganflow.TrainStep(declared, case.batches(), networks=case.build(stateful=stateful), random=draws)
    torch.manual_seed(1)  # dropout's
    for _ in range(case.iterations):
        step(observe=observe)
    return result(step.networks, step.states) | {"draws": draws.counts}


@functools.cache
def expected(program: str, stateful: bool = False) -> Any:
    case = CASES[program]
    nets, draws = case.build(stateful=stateful), Draws()
    torch.manual_seed(1)
    out = loop(program)(nets, case.batches(), draws, iterations=case.iterations, **case.settings)
    return out | {"draws": draws.counts}


@VARIANTS
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_equals_the_hand_written_loop(program: str, stateful: bool) -> None:
    ours, theirs = trained(program, stateful=stateful), expected(program, stateful)
    assert difference(ours, theirs) <= 1e-12
    assert {s: ours["draws"][s] for s in CASES[program].sites} == theirs["draws"]  # a pool of size 0 decides nothing
    for network, calls in theirs["forwards"].items():
        assert sum(ours["forwards"][network].values()) <= sum(calls.values()), network


@pytest.mark.parametrize(("program", "site"), [(p, s) for p in PROGRAMS for s in CASES[p].sites])
def test_another_draw_at_one_site_is_noticed(program: str, site: str) -> None:
    assert difference(trained(program, draws=Draws(changed=site)), expected(program)) > 1e-6


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_iteration_that_is_looked_at_has_the_same_bits(program: str) -> None:
    seen = Counter[str]()
    looked_at = trained(program, stateful=True, observe=lambda phase, node, value: seen.update([node]))
    assert seen["backward"] and len(seen) > 4
    assert difference(looked_at, trained(program, stateful=True)) == 0.0


def test_every_program_is_here() -> None:
    assert {p.stem for p in ZOO.glob("*.gin")} == set(PROGRAMS)
    assert Counter(PROGRAMS).total() == 19
