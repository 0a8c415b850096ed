"""Histograms of weights and gradients, from the numbers to TensorBoard's tab."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganflow
from boards import Tabs
from ganflow.histograms import BINS, Histograms, histogram
from ganflow.logs import Logs
from ganflow.trainer import dataset, prepare, settings_of
from golden_text import GOLDEN
from handwritten.zoo.cases import CASES
from handwritten.zoo.common import Draws
from test_zoo import PROGRAMS, experiment
from zoo_networks import known

BASE = GOLDEN / "errors" / "base.gin"


def step_of(*overrides: str) -> ganflow.TrainStep:
    experiment = ganflow.load(BASE, list(overrides))
    return prepare(experiment, dataset(experiment), settings_of(experiment), device=torch.device("cpu"))[0]


def watched(step: ganflow.TrainStep, folder: Path) -> tuple[Histograms, dict[str, float]]:
    instrument = Histograms(step)
    step(observe=instrument.observe)
    with Logs(folder) as logs:
        return instrument, instrument.report(logs, 1)


@pytest.mark.parametrize("scale", [1e-40, 1e-20, 1.0, 1e30])
def test_numbers_are_counted_as_numpy_counts_them(scale: float) -> None:
    numbers = torch.randn(5000, generator=torch.Generator().manual_seed(0)) * scale
    found, bad = histogram(numbers.view(50, 100))
    assert found is not None and bad == 0
    counts, edges = np.histogram(numbers.double().numpy(), BINS)
    assert np.allclose(found[1], edges, rtol=1e-5) and found[0].sum() == 5000
    assert np.abs(found[0] - counts).sum() <= 4, "but for numbers at an edge"


def test_what_is_not_finite_is_left_out_and_counted() -> None:
    found, bad = histogram(torch.tensor([0.0, math.nan, 1.0, math.inf, -math.inf, 1.0]))
    assert found is not None and bad == 3 and found[0].sum() == 3
    assert (found[1][0], found[1][-1], found[0][0], found[0][-1]) == (0.0, 1.0, 1, 2)
    assert histogram(torch.tensor([math.nan, math.inf])) == (None, 2)
    assert histogram(torch.empty(0, 3)) == (None, 0)
    wide, none = histogram(torch.tensor([3e38, -3e38, 0.0]))
    assert wide is not None and none == 0 and wide[0].sum() == 3 and np.isfinite(wide[1]).all()


@pytest.mark.parametrize("value", [0.0, -2.0, 1e30])
def test_equal_numbers_are_a_spike(value: float) -> None:
    found, _ = histogram(torch.full((7,), value))
    assert found is not None and sorted(found[0])[-2:] == [0, 7]
    place = int(found[0].argmax())
    room = abs(value) * 1e-6 + 1e-9
    assert found[1][place] - room <= value <= found[1][place + 1] + room


def test_kinds_of_tensors() -> None:
    sparse = torch.sparse_coo_tensor([[0, 0, 2]], [1.0, 1.0, 5.0], (4,), check_invariants=True)
    for tensor, count in (
        (torch.ones(3, dtype=torch.bfloat16), 3), (torch.ones(2, dtype=torch.complex64), 4), (sparse, 2),
        (torch.ones(5, dtype=torch.float64) * 1e300, 0), (torch.nn.Parameter(torch.ones(2, 2)), 4),
    ):  # fmt: skip
        found, _ = histogram(tensor)
        assert (found[0].sum() if found else 0) == count


def test_every_weight_and_every_gradient_has_one(tmp_path: Path) -> None:
    step = step_of()
    instrument, numbers = watched(step, tmp_path)
    names = {n: [p for p, _ in m.named_parameters()] for n, m in step.networks.items()}
    wanted = {f"weights/{n}/{p}" for n, ps in names.items() for p in ps}
    assert set(instrument.found) == wanted | {f"gradients/{n}/{n}/{p}" for n, ps in names.items() for p in ps}
    assert numbers == {} and Tabs(tmp_path).tags("histograms") == set(instrument.found)


def test_gradients_are_those_of_the_whole_batch_before_clipping(tmp_path: Path) -> None:
    """In parts, and clipped to nearly nothing: the same gradient as in one go."""
    found = []
    for i, overrides in enumerate(([], ["G/Update.clip_value = 1e-9", "D/Update.clip_value = 1e-9"],
                                   ["G/Update.repeat = 2", "D/Update.repeat = 2"])):  # fmt: skip
        (tmp_path / str(i)).mkdir()
        instrument, _ = watched(step_of(*overrides), tmp_path / str(i))
        found.append(instrument.found["gradients/D/D/layers.0.weight"])
    for counts, edges in found[1:]:
        assert np.array_equal(counts, found[0][0]) and np.allclose(edges, found[0][1])


def test_microbatches_are_added_up(tmp_path: Path) -> None:
    parts: dict[str, Any] = {}
    for n in (1, 2):
        parted = ["PatchDiscriminator.norm = 'none'", "UNetGenerator.norm = 'none'", "UNetGenerator.dropout = 0.0"]
        alone = ["Schedule.updates = ['D']", "G/Network.trainable = False", f"D/Update.microbatches = {n}"]
        step = step_of(*parted, *alone)
        (tmp_path / str(n)).mkdir()
        parts[str(n)] = watched(step, tmp_path / str(n))[0].found["gradients/D/D/layers.0.weight"]
    assert np.allclose(parts["1"][1], parts["2"][1], rtol=1e-3)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_published_program_can_be_looked_at(program: str, tmp_path: Path) -> None:
    case = CASES[program]
    with known():
        step = ganflow.TrainStep(
            experiment(program), case.batches(), networks=case.build(stateful=False), random=Draws()
        )
        instrument, numbers = watched(step, tmp_path)
    trained = {n for u in step.graph.updates for n in u.networks}
    assert {t.split("/")[1] for t in instrument.found if t.startswith("weights/")} >= trained and not numbers
    assert any(t.startswith("gradients/") for t in instrument.found)


def test_a_network_that_blew_up_is_counted_and_breaks_nothing(tmp_path: Path) -> None:
    step = step_of()
    with torch.no_grad():
        next(step.networks["D"].parameters()).fill_(math.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        instrument, numbers = watched(step, tmp_path)
    assert numbers["health/nonfinite/weights/D"] > 0 and numbers["health/nonfinite/gradients/D/D"] > 0
    assert "weights/D/layers.0.weight" not in instrument.found


def test_looking_changes_no_bit(tmp_path: Path) -> None:
    plain = step_of()
    plain()
    seen = step_of()  # which seeds dropout as the other did
    watched(seen, tmp_path)
    for name, network in plain.networks.items():
        for a, b in zip(network.parameters(), seen.networks[name].parameters(), strict=True):
            assert torch.equal(a, b)
