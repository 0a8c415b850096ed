"""The same config, seed and machine give the same bits; what may differ is said."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ganflow
from ganflow import determinism
from ganflow.data.loader import loader
from ganflow.determinism import only_deterministic, said
from ganflow.errors import GanflowError
from ganflow.rundir import plain_name
from ganflow.step import TrainStep
from ganflow.trainer import Trainer, dataset, prepare
from golden_text import GOLDEN

BASE = GOLDEN / "errors" / "base.gin"
SHORT = ["Trainer.steps = 7", "Trainer.batch_size = 2", "Trainer.log_every = 2", "Trainer.sample_every = 0",
         "Trainer.checkpoint_every = 0", "Trainer.eval_every = 3", "Trainer.probe = False"]  # fmt: skip


class Noisy:
    """Pictures that are drawn when they are read, with every generator there is; three batches an epoch."""

    splits = ("train", "val")

    def __init__(self) -> None:
        self.tint, self.rng = torch.rand(3, 1, 1), np.random.default_rng(0)

    def open(self, split: str) -> Any:
        own = self

        class Split:
            base = random.random()

            def __len__(self) -> int:
                return 6

            def __getitem__(self, i: int) -> dict[str, Any]:
                numbers = random.random() + np.random.rand() + own.rng.random() + self.base + i
                return {n: torch.rand(3, 16, 16) * own.tint - numbers / 10 for n in ("real_A", "real_B")}

        return Split()


class Unsteady(nn.Module):
    """A network that draws from Python and NumPy."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) * random.random() + float(np.random.rand())


@pytest.fixture(autouse=True)
def _sources_as_before() -> Iterator[None]:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()
    yield
    torch.set_rng_state(before[0]), random.setstate(before[1]), np.random.set_state(before[2])


def disturb(number: int) -> None:
    """What somebody drew before."""
    torch.manual_seed(number), random.seed(number), np.random.seed(number)


def run(path: Path, *overrides: str) -> tuple[dict[str, Any], list[str]]:
    """The weights of a run, and what it logged but times."""
    experiment = ganflow.load(BASE, [*SHORT, *overrides])
    prepared = dataset_of(experiment)
    Trainer(experiment, path, data=prepared, networks={"G": network()}, progress=False).fit()
    weights = torch.load(path / "weights.pt", weights_only=True)["networks"]
    rows = (path / "metrics.jsonl").read_text().splitlines()
    return weights, [", ".join(p for p in row.split(", ") if not p.startswith('"time/')) for row in rows]


def network() -> nn.Module:
    torch.manual_seed(0)  # made by the caller, who sees to it
    return Unsteady()


def dataset_of(experiment: Any) -> Noisy:
    torch.manual_seed(1)  # made by the caller, too
    return Noisy()


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return torch.equal(a, b)


def test_a_whole_run_has_the_same_bits_with_any_number_of_workers(tmp_path: Path) -> None:
    """Two epochs and a bit; the dataset and a network draw from everything."""
    disturb(1)
    weights, rows = run(tmp_path / "0")
    for workers in (1, 2):
        disturb(2 + workers)
        found = run(tmp_path / str(workers), f"Trainer.workers = {workers}")
        assert same(found[0], weights) and found[1] == rows
    other = run(tmp_path / "other", "Trainer.seed = 1")
    assert not same(other[0], weights) and other[1] != rows


def test_a_step_goes_on_in_mid_epoch(tmp_path: Path) -> None:
    """What a resumed run does: the weights as they were, and the batches from where they were."""
    experiment = ganflow.load(BASE, SHORT)
    for workers in (0, 2):
        whole, again = (batches(Noisy_fixed(), workers) for _ in range(2))
        wanted = [b["real_A"].numpy().tobytes() for b in fetched(TrainStep(experiment, whole), 8)]
        again.resume(1, 1)
        assert [b["real_A"].numpy().tobytes() for b in fetched(TrainStep(experiment, again), 4)] == wanted[4:]
        assert again.position == (2, 2) == whole.position


def Noisy_fixed() -> Noisy:  # noqa: N802
    torch.manual_seed(1)
    return Noisy()


def batches(data: Any, workers: int) -> Any:
    return loader(data, "train", batch_size=2, shuffle=True, seed=0, drop_last=True, workers=workers)


def fetched(step: TrainStep, count: int) -> list[Any]:
    return [step._next_batch() for _ in range(count)]


def test_every_evaluation_sees_the_same_data(tmp_path: Path) -> None:
    """Otherwise metrics could not be compared, and a resumed run would have others."""
    from ganflow.settings import settings_of
    from ganflow.validation import Validation

    experiment = ganflow.load(BASE, SHORT)
    data = Noisy_fixed()
    given = {"G": network()}
    step, _ = prepare(experiment, data, settings_of(experiment), networks=given, device=torch.device("cpu"))
    validation = Validation(step, data, settings_of(experiment))
    first = validation.metrics()
    disturb(4)
    before = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist()  # type: ignore[index]
    assert first and validation.metrics() == first
    after = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist()  # type: ignore[index]
    assert after == before


def test_the_generators_of_a_run_begin_at_its_seed() -> None:
    experiment = ganflow.load(BASE, [*SHORT, f"Trainer.seed = {2**33 + 5}"])
    found = []
    for number in (1, 2):
        disturb(number)
        from ganflow.settings import settings_of

        step, _ = prepare(experiment, Noisy_fixed(), settings_of(experiment), device=torch.device("cpu"))
        found.append(
            [
                torch.rand(1).item(),
                random.random(),
                np.random.rand(),
                *(next(step.networks["D"].parameters()).flatten().tolist()),
            ]
        )
    assert found[0] == found[1]


def test_a_dataset_that_draws_when_it_is_made_or_opened_is_the_same_in_every_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "drawn_data.py").write_text(
        "import random, torch, gin\n\n\n@gin.configurable\nclass Drawn:\n"
        "    fields = {'real_A': (3, 16, 16), 'real_B': (3, 16, 16)}\n\n"
        "    def __init__(self):\n        self.x = torch.rand(4, 3, 16, 16)\n\n"
        "    def open(self, split):\n        self.number = random.random()\n        return self\n\n"
        "    def __len__(self):\n        return 4\n\n"
        "    def __getitem__(self, i):\n        return {'real_A': self.x[i], 'real_B': self.x[i] * self.number}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = BASE.read_text().replace("@earth()", "@Drawn()")
    (tmp_path / "base.gin").write_text(
        "import drawn_data\n" + "\n".join(line for line in text.splitlines() if not line.startswith("earth."))
    )
    found = []
    for number, seed in ((1, 0), (2, 0), (3, 1)):
        experiment = ganflow.load(tmp_path / "base.gin", [f"Trainer.seed = {seed}"])
        disturb(number)
        before = torch.get_rng_state()
        data = dataset(experiment)
        assert torch.equal(torch.get_rng_state(), before)
        found.append(next(iter(batches(data, 0)))["real_B"])
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


# --deterministic


def switches() -> tuple[Any, ...]:
    return (
        torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark, os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    )  # fmt: skip


@pytest.mark.parametrize("given", [None, ":16:8"])
def test_only_deterministic_algorithms_and_all_as_before(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if given:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", given)
    before = switches()
    with only_deterministic(False):
        assert switches() == before
    with contextlib.suppress(ZeroDivisionError), only_deterministic(True):
        assert switches() == (True, False, False, given or ":4096:8")
        raise ZeroDivisionError
    assert switches() == before


class Puts(nn.Module):
    """``put_`` has no deterministic algorithm on any device."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen.append(torch.are_deterministic_algorithms_enabled())
        made = self.layer(x)
        made.detach().clone().put_(torch.tensor([0]), torch.tensor([1.0]))
        return made


seen: list[bool] = []


def test_a_run_refuses_what_is_not_deterministic_by_name(tmp_path: Path) -> None:
    for wanted in (False, True):
        seen.clear()
        experiment = ganflow.load(BASE, [*SHORT, f"Trainer.deterministic = {wanted}", "Trainer.eval_every = 0",
                                         "Trainer.show = ['real_A']", "Trainer.metrics = None"])  # fmt: skip
        trainer = Trainer(
            experiment, tmp_path / str(wanted), data=Noisy_fixed(), networks={"G": Puts()}, progress=False
        )
        if not wanted:
            trainer.fit()
        else:
            with pytest.raises(GanflowError, match="in `fake_B`: put_ has no deterministic implementation") as error:
                trainer.fit()
            assert error.value.code == "nondeterministic" and "--deterministic" in error.value.hint
        assert set(seen) == {wanted} and not torch.are_deterministic_algorithms_enabled()


def networks(**modules: nn.Module) -> dict[str, nn.Module]:
    return modules


def on(device: str, ops: tuple[tuple[str, str], ...] = (), **modules: nn.Module) -> Any:
    nodes = {name: SimpleNamespace(kind="op", target=target, name=name, owner="") for name, target in ops}
    return SimpleNamespace(device=torch.device(device), networks=modules, graph=SimpleNamespace(nodes=nodes))


class MyConv(nn.Conv2d):
    """A user's own."""


def test_what_bits_depend_on_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    [line] = said(on("cpu", G=nn.Conv2d(1, 1, 1)), deterministic=False)
    assert line == f"reproducible bit for bit with torch {torch.__version__}, 2 threads and this processor"
    assert said(on("mps"), deterministic=True) == ("not reproducible bit for bit: torch promises nothing of mps",)


def test_what_differs_on_cuda_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = nn.Sequential(nn.ReflectionPad2d(1), MyConv(3, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    upsampled = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Upsample(scale_factor=2))
    step = on("cuda", (("loss_class", "ce"), ("total", "mean")), G=generator, F=upsampled, M=nn.Linear(1, 1))
    assert said(step, deterministic=False) == (
        "not reproducible bit for bit: G (Conv2d, ReflectionPad2d); F (Upsample(bilinear)); loss_class (NLLLoss)",
        "--deterministic makes it so, but refuses G (ReflectionPad2d); F (Upsample(bilinear)); loss_class (NLLLoss)",
    )
    assert said(step, deterministic=True) == (
        f"reproducible bit for bit with torch {torch.__version__} and this device",
        "--deterministic: torch refuses G (ReflectionPad2d); F (Upsample(bilinear)); loss_class (NLLLoss)",
    )
    assert said(on("cuda", D=MyConv(1, 1, 1)), deterministic=False)[1] == "--deterministic makes it so"
    [line] = said(on("cuda", M=nn.Linear(1, 1)), deterministic=False)
    assert line.startswith("reproducible bit for bit") and line.endswith("as far as torch documents")


def test_torch_documents_what_is_listed() -> None:
    """With another torch these lists may be others."""
    text = torch.use_deterministic_algorithms.__doc__ or ""
    chosen, refused = text.split("operations will throw a", 1)
    assert all(f"nn.{name}`" in chosen for name in determinism.CHOSEN)
    assert all(f"nn.{name}`" in refused for name in determinism.REFUSED)
    assert all(f"``{mode}``" in refused for mode in determinism.SMOOTH) and "EmbeddingBag" in refused


# names of runs


@pytest.mark.parametrize("name", ["pix2pix-2", "a", ".hidden", "lr 2e-4, λ=10", "v1.2", "..."])
def test_plain_names(name: str) -> None:
    assert plain_name(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is empty"), (" ", "is empty"), (".", "is no name"), ("..", "is no name"), ("a/b", "has a folder in it"),
        ("../x", "has a folder in it"), ("/etc", "has a folder in it"), ("a\\b", "has a folder in it"),
        ("a/", "has a folder in it"), ("a\nb", "cannot be shown"), ("a\x00", "cannot be shown"),
        ("\x1b[2J", "cannot be shown"), ("a\u202eb", "cannot be shown"), ("\udcff", "cannot be shown"),
        ("x" * 201, "is longer than 200 bytes"), ("λ" * 101, "is longer than 200 bytes"),
        (" a", "begins or ends with a blank"), ("--overwrite", "begins with a -"),
    ],
)  # fmt: skip
def test_names_that_would_lead_elsewhere_are_refused(name: str, why: str) -> None:
    with pytest.raises(GanflowError) as error:
        plain_name(name, option="--fork")
    assert why in error.value.message and error.value.message.startswith("--fork ")
    assert (error.value.code, error.value.status) == ("name", 2) and str(error.value).isprintable() is False
    assert all(c.isprintable() or c == "\n" for c in str(error.value))
