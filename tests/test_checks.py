"""Static checks: each has a stable code, a level, a place with a caret, and the right cure; none cries wolf."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import check_networks  # noqa: F401 - registers what some of the files name
from commands import ganflow
from ganflow.config import load
from ganflow.inspection import inspect
from ganflow.step import TrainStep
from golden_text import GOLDEN, check_golden
from test_zoo import PROGRAMS, experiment
from zoo_networks import known

CHECKS = GOLDEN / "checks"
FINE = ("base", "cyclegan", "pix2pix")
CASES = sorted(p.stem for p in CHECKS.glob("*.gin") if p.stem not in FINE)

LEVELS = {
    "unknown-name": "error", "name-clash": "error", "cycle": "error", "arguments": "error", "unknown-part": "error",
    "starved-network": "error", "starved-term": "error", "constant-term": "warning", "no-owner": "error",
    "no-optimizer": "error", "two-owners": "error", "not-trainable": "error", "derived": "error", "group": "error",
    "microbatches": "error", "redefined": "warning", "unused": "warning", "stale-repeat": "warning",
    "lazy-gain": "warning", "not-scalar": "error", "shape": "error", "grad-batch-norm": "warning",
    "wgan-unbounded": "warning", "same-target": "warning", "opposed": "warning", "domains": "warning",
    "same-text": "note", "host-sync": "note",
    "interpolation": "warning", "zero-weight": "note", "grad-unrelated": "error",
    "slow-critic": "warning", "hinge-generator": "warning", "maximized": "warning", "same-argument": "warning",
    "never-changes": "warning", "ema": "warning", "frozen-mode": "warning", "unregistered": "warning",
    "activation": "warning", "penalty-norm": "warning", "broadcast": "warning", "learning-rate": "warning",
    "other-label": "warning", "no-loss": "error",
}  # fmt: skip
OTHER_LEVELS = {
    "constant-term-elsewhere": "note",
    "never-changes-switch": "note",
    "ema-beyond": "error",
    "learning-rate-negative": "error",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the gin files as the working directory."""
    for path in CHECKS.glob("*.gin"):
        shutil.copy(path, tmp_path)
    shutil.copy(GOLDEN / "errors" / "base.gin", tmp_path / "pix2pix.gin")
    monkeypatch.chdir(tmp_path)
    with known():
        yield tmp_path


def code_of(case: str) -> str:
    """``starved-term`` of ``starved-term-hidden``."""
    return max((c for c in LEVELS if f"{case}-".startswith(f"{c}-")), key=len)


@pytest.mark.parametrize("case", CASES)
def test_a_finding_has_its_code_level_place_and_cure(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = ganflow(capsys, "check", f"{case}.gin")
    code = code_of(case)
    level = OTHER_LEVELS.get(case, LEVELS[code])
    assert re.search(rf"^\S+\.gin:\d+: {level}\[{code}\]: ", found.out + found.err, re.MULTILINE)
    assert found.status == (2 if level == "error" else 0)
    check_golden(CHECKS / f"{case}.txt", found.out + found.err)


@pytest.mark.parametrize("case", [c for c in CASES if LEVELS[code_of(c)] == "warning" and c not in OTHER_LEVELS])
def test_strict_refuses_what_is_only_suspicious(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ganflow(capsys, "check", f"{case}.gin", "--strict").status == 2


def test_every_check_has_a_case() -> None:
    assert {code_of(c) for c in CASES} == LEVELS.keys()


@pytest.mark.parametrize("case", FINE)
def test_what_is_fine_has_no_findings(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ganflow(capsys, "check", f"{case}.gin").out == "0 errors, 0 warnings, 0 notes\n"


# What the zoo's programs are told: each is true, and none of it is a mistake.
NOTES = {"vaegan": {"constant-term", "same-text", "host-sync"}}


@pytest.mark.parametrize("program", PROGRAMS)
def test_published_programs_are_not_suspected(program: str) -> None:
    found = inspect(experiment(program)).findings
    assert [f for f in found if f.level != "note"] == []
    assert {f.code for f in found} == NOTES.get(program, set())


def test_a_module_that_meta_cannot_build_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    found = ganflow(capsys, "check", "base.gin", "--set", "D/Network.module = @Measured()")
    assert found.status == 0 and "note[untraceable]" in found.out and "0 errors, 0 warnings, 1 note" in found.out


@pytest.mark.parametrize("trains", [["Q", "D"], ["Q", "D.trunk"]])
def test_networks_may_hold_one_module(trains: list[str]) -> None:
    """`@trunk/singleton()` is made once for a step, whoever builds first; another step has its own."""
    declared = load("two-owners.gin", [f"Q/Update.trains = {trains}", "Schedule.updates = ['Q', 'G', 'D']"])
    assert [f for f in inspect(declared).findings if f.level == "error"] == []
    one, other = (TrainStep(declared, [{"real": torch.randn(4, 6)}]) for _ in range(2))
    assert one.networks["D"].trunk is one.networks["Q"].trunk
    assert one.networks["D"].trunk is not other.networks["D"].trunk
    assert one.graph.updates[0].moves == ("Q", "D")
    before = one.networks["Q"].trunk.layer.weight.clone()
    one()
    assert not torch.equal(one.networks["Q"].trunk.layer.weight, before)


@pytest.mark.parametrize("call", ["D(real, 1)", "D(real, labels=real)", "D()", "D(x=real, y=real)"])
def test_a_call_that_the_network_does_not_take(call: str) -> None:
    found = inspect(load("base.gin", [f"D_real = 'gan({call}, True)'"])).findings
    assert [(f.level, f.code) for f in found] == [("error", "arguments")]
