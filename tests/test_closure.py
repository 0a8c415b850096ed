"""The state of a step, taken, sent through a file and put onto another step: it goes on bit for bit."""

from __future__ import annotations

import io
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganflow
from ganflow.closure import Closure
from ganflow.codec import Unencodable, decode, encode, same
from ganflow.draws import SeededRandom
from ganflow.errors import GanflowError
from golden_text import GOLDEN
from handwritten.zoo.cases import CASES
from test_zoo import PROGRAMS, experiment
from zoo_networks import known

WHERE = [(p, s) for p in PROGRAMS for s in (False, True)]


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    with known():
        yield


class Data:
    """Batches, and how many of them were read."""

    def __init__(self, batches: Sequence[Mapping[str, Tensor]], place: int = 0) -> None:
        self.batches, self.place = list(batches), place

    def __iter__(self) -> Iterator[Mapping[str, Tensor]]:
        while self.place < len(self.batches):
            self.place += 1
            yield self.batches[self.place - 1]
        self.place = 0


def through_a_file(state: Any) -> Any:
    held = io.BytesIO()
    torch.save(state, held)
    held.seek(0)
    return torch.load(held, weights_only=True)


def step_of(program: str, stateful: bool, data: Data) -> tuple[Any, Closure]:
    case = CASES[program]
    step = ganflow.TrainStep(
        experiment(program, stateful=stateful), data, networks=case.build(stateful=stateful),
        random=SeededRandom(0, dtype=torch.float64),
    )  # fmt: skip
    return step, Closure(step)


@pytest.mark.parametrize(("program", "stateful"), WHERE, ids=[f"{p}-{'stateful' if s else 'plain'}" for p, s in WHERE])
def test_a_program_goes_on_from_its_state(program: str, stateful: bool) -> None:
    case = CASES[program]
    straight, closure = step_of(program, stateful, Data(case.batches()))
    torch.manual_seed(1)
    for _ in range(3):
        straight()
    place, state = straight.batches.place, through_a_file(closure.state())
    expected = [straight() for _ in range(case.iterations - 3)]

    resumed, other = step_of(program, stateful, Data(case.batches(), place))
    torch.manual_seed(99)
    random.seed(99)
    np.random.seed(99)
    with torch.no_grad():
        for network in resumed.networks.values():
            for x in (*network.parameters(), *network.buffers()):
                x.add_(1)
    other.restore(state)
    found = [resumed() for _ in range(case.iterations - 3)]
    assert same(encode(found), encode(expected))
    assert same(encode(other.state()), encode(closure.state()))


# -- what a run keeps beside its networks' weights -------------------------------------------------------------


class Odd(nn.Module):
    """Keeps things where no state dict looks."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.calls, self.history, self.names = 0, deque[float](maxlen=2), {"last": "none"}
        self.own, self.theirs = random.Random(5), np.random.default_rng(5)
        self.noise = torch.Generator().manual_seed(5)
        self.weights = [self.layer.weight]
        self.rate = 0.5

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen += x.detach().mean()
        self.history.append(float(self.seen))
        self.names["last"] = f"call {self.calls}"
        scale = self.own.random() + self.theirs.random() + torch.rand((), generator=self.noise) + self.history[0]
        scale = scale + random.random() + np.random.rand() + torch.rand(())  # noqa: NPY002 - people do
        return self.layer(x) * scale + self.weights[0].sum()


def odd(data: Data, text: str = "", **networks: nn.Module) -> tuple[Any, Closure]:
    declared = ganflow.loads(f"""
        G/Network.module = @Generator()
        G/Network.optimizer = @AdamW
        AdamW.lr = 0.01
        G/Update.minimize = 'mean(square(G(x)))'
        Schedule.updates = ['G']
        {text}
    """)
    step = ganflow.TrainStep(declared, data, networks=networks)
    return step, Closure(step)


def test_what_modules_keep_in_attributes_goes_on_too() -> None:
    batches = [{"x": torch.full((2, 4), float(k))} for k in range(6)]
    torch.manual_seed(0)
    straight, closure = odd(Data(batches), G=Odd())
    for _ in range(3):
        straight()
    state = through_a_file(closure.state())
    expected = [straight()["loss/G"] for _ in range(3)]
    torch.manual_seed(7)
    network = Odd()
    history, generator = network.history, network.own
    resumed, other = odd(Data(batches, 3), G=network)
    other.restore(state)
    assert network.history is history and network.own is generator and network.weights[0] is network.layer.weight
    assert same([resumed()["loss/G"] for _ in range(3)], expected)
    assert network.names == {"last": "call 6"} and network.calls == 6 and network.rate == 0.5


def test_an_attribute_that_did_not_change_is_the_configs() -> None:
    _, closure = odd(Data([{"x": torch.ones(2, 4)}]), G=Odd())
    assert closure.state()["attributes"] == {}
    changed = Odd()
    changed.rate = 0.25
    _, other = odd(Data([]), G=changed)
    other.restore(closure.state())
    assert changed.rate == 0.25


def test_an_optimizers_number_that_the_config_changed_is_the_configs() -> None:
    batches = [{"x": torch.ones(2, 4)}] * 3
    step, closure = odd(Data(batches), G=nn.Linear(4, 4))
    step()
    step.optimizers["G"].param_groups[0]["weight_decay"] = 0.125  # as an optimizer that adapts itself would
    state = through_a_file(closure.state())
    resumed, other = odd(Data(batches, 1), "AdamW.betas = (0.5, 0.9)", G=nn.Linear(4, 4))
    other.restore(state)
    group = resumed.optimizers["G"].param_groups[0]
    assert (group["weight_decay"], group["betas"]) == (0.125, (0.5, 0.9))
    assert same(resumed.optimizers["G"].state_dict()["state"], step.optimizers["G"].state_dict()["state"])


# -- what does not fit -------------------------------------------------------------------------------------------


def refused(state: Any, **networks: nn.Module) -> GanflowError:
    step, closure = odd(Data([]), **networks)
    before = through_a_file(closure.state())
    with pytest.raises(GanflowError) as found:
        closure.restore(state)
    assert same(encode(closure.state()), encode(before)), "nothing may be changed before all of it fits"
    assert found.value.code == "other-state" and step.counters.step == 0
    return found.value


def test_keys_that_are_missing_or_left_over_are_named() -> None:
    _, closure = odd(Data([]), G=nn.Sequential(nn.Linear(4, 4)))
    state = closure.state()
    error = refused(state, G=nn.Sequential(nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4)))
    for name in ("0.bias", "1.weight", "1.running_mean", "1.num_batches_tracked"):
        assert name in error.message
    assert "lacks 1." in error.message and "left over 0.bias" in error.message
    error = refused(state, G=nn.Sequential(nn.Linear(4, 3)))
    assert "0.weight is 4×4 float32 there and 3×4 float32 here" in error.message
    error = refused({**state, "networks": {**state["networks"], "D": {}}}, G=nn.Sequential(nn.Linear(4, 4)))
    assert "left over D" in error.message
    error = refused({**state, "pools": {"fake": {}}}, G=nn.Sequential(nn.Linear(4, 4)))
    assert "pools at 'fake'" in error.message
    error = refused({**state, "optimizers": {}}, G=nn.Sequential(nn.Linear(4, 4)))
    assert "of the optimizers it lacks G" in error.message


def test_tensors_that_are_no_longer_shared_are_named() -> None:
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    _, closure = odd(Data([]), G=tied)
    error = refused(closure.state(), G=nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))
    assert "G.0.weight = G.1.weight there, none here" in error.message


@pytest.mark.parametrize("state", [{}, {"networks": 3}, {"networks": {"G": {"weight": 1}}}, []])
def test_what_is_no_state_at_all(state: Any) -> None:
    refused(state, G=nn.Linear(4, 4))


def test_a_state_that_cannot_be_held_is_named() -> None:
    step, closure = odd(Data([{"x": torch.ones(2, 4)}]), G=nn.Linear(4, 4))
    step.pools["fake"] = {"kept": Path("x")}
    with pytest.raises(GanflowError) as found:
        closure.state()
    assert found.value.code == "bad-state" and "the pool at fake holds a value of type" in found.value.message


# -- values ------------------------------------------------------------------------------------------------------

VALUES = [
    None, True, 3, 2**200, float("nan"), -0.0, "é", b"\0", 1j, (1, [2, (3,)]), {"a": {1: 2.0}}, {3, 4}, {(1, "a"): 0},
    deque([1, 2], maxlen=3), {"<set>": [1]}, np.float32(0.1), np.arange(6, dtype=np.uint16).reshape(2, 3),
    torch.arange(3), torch.tensor(float("nan")), torch.tensor([0.1, -3.0]).to(torch.bfloat16), torch.empty(0, 3),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_from_a_file(value: Any) -> None:
    back = decode(through_a_file(encode(value)))
    assert type(back) is type(value) and same(encode(back), encode(value))
    assert isinstance(value, np.ndarray) or repr(back) == repr(value)


def test_values_that_differ_in_one_bit_are_not_the_same() -> None:
    assert not same(torch.tensor(0.0), torch.tensor(-0.0)) and not same(1, 1.0) and not same([1], (1,))
    assert not same(torch.tensor([1.0]), torch.tensor([1.0000001])) and not same({"a": 1}, {"b": 1})


@pytest.mark.parametrize("value", [object(), lambda: 0, nn.Linear(1, 1), [Path("x")], {Path("x"): 1}])
def test_what_a_checkpoint_cannot_hold(value: Any) -> None:
    with pytest.raises(Unencodable):
        encode(value)


def test_base_experiment_state_is_loadable_without_code() -> None:
    step = ganflow.TrainStep(ganflow.load(GOLDEN / "errors" / "base.gin"), [])
    assert through_a_file(Closure(step).state())["counters"]["step"] == 0
