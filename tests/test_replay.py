"""``ganflow replay``: the iteration that went wrong, again, down to the operation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

import ganflow
from commands import ganflow as command
from ganflow.births import Births
from ganflow.errors import GanflowError
from ganflow.replay import replay
from ganflow.trainer import Trainer
from test_nonfinite import D_ROOT, GAN, LOG, RATE, ROOT, RUN, Points, at, step_of, stopped


def test_the_operation_of_the_forward_pass(tmp_path: Path) -> None:
    stopped(tmp_path / "run", at(LOG, 29))
    found = replay(tmp_path / "run")
    assert found.iteration == 30 and found.now == found.then and found.now is not None
    birth = found.telling()[0]
    assert (birth.op, birth.value, birth.node, birth.given) == ("aten::log", "nan", "D_real", "6×2 of -1")
    assert "aten::log made nan" in str(found) and "D_real = gan(D(real), True) + mean(log(" in str(found)


@pytest.mark.parametrize(("change", "update", "parts"), [(ROOT, "G", 1), (D_ROOT, "D", 1), (ROOT, "G", 2)])
def test_the_operation_of_the_backward_pass(change: str, update: str, parts: int, tmp_path: Path) -> None:
    stopped(tmp_path / "run", at(change, 29), f"Update.microbatches = {parts}")
    found = replay(tmp_path / "run", 30)
    assert found.now == found.then
    birth = found.telling()[0]
    assert birth.backward == (update, "SqrtBackward0") and birth.node == {"G": "G_GAN", "D": "D_real"}[update]
    assert re.search(r"anomaly detection: Function '\w+Backward0' returned nan values", str(found))


def test_the_layer_of_a_network(tmp_path: Path) -> None:
    stopped(tmp_path / "run", *RATE)
    found = replay(tmp_path / "run")
    birth = found.telling()[0]
    assert birth.op == "aten::addmm" and birth.module.startswith("D.layers.") and "e+30" in birth.given


def test_of_bad_data_no_operation_is_to_blame(tmp_path: Path) -> None:
    stopped(tmp_path / "run", bad=17)
    found = replay(tmp_path / "run")
    assert found.now == found.then and not found.births and "the first on the way to it: real (nan)" in str(found)


def test_an_iteration_of_several_batches(tmp_path: Path) -> None:
    stopped(tmp_path / "run", "D/Update.repeat = 3", "D/Update.fresh = '*'", bad=17)
    found = replay(tmp_path / "run")
    assert found.now == found.then and found.now is not None and found.now.field == "real"


OP = """
import gin
import torch

@gin.configurable
def distance(a, b):
    return torch.sqrt(((a - b) ** 2).sum(1))
"""


def test_the_line_of_an_op_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At distance 0 the root has no derivative; the line is that of the forward pass, though it is the backward one."""
    (tmp_path / "own_ops.py").write_text(OP, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    same = "G_GAN = 'gan(D(fake), True) + mean(distance(fake, detach(fake) if step == 3 else real))'"
    text = "import own_ops\n" + "\n".join(line for line in (GAN + RUN).splitlines() if not line.startswith("G_GAN"))
    with pytest.raises(GanflowError, match="in iteration 4 the gradient of update G in network G is nan"):
        Trainer(ganflow.loads(f"{text}\n{same}"), tmp_path / "run", data=Points(), progress=False).fit()
    birth = replay(tmp_path / "run").telling()[0]
    line = OP.splitlines().index("    return torch.sqrt(((a - b) ** 2).sum(1))") + 1
    assert birth.backward == ("G", "SqrtBackward0") and birth.place == f"{tmp_path / 'own_ops.py'}:{line}"


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    error = stopped(Path("run"), at(ROOT, 29))
    told = next(line for line in error.hint.splitlines() if " replay " in line).split()
    assert told == ["ganflow", "replay", "run", "--step", "30"]
    before = {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()}
    found = command(capsys, *told[1:])
    assert found.status == 0 and "aten::div in SqrtBackward0 made inf, the backward pass of update G" in found.out
    assert {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()} == before
    other = command(capsys, "replay", "run", "--step", "7")
    assert other.status == 2 and "error[no-bundle]: iteration 7 of run was not kept" in other.err
    assert "there is: 30" in other.err


def test_looking_at_every_operation_changes_no_number() -> None:
    plain, seen = step_of(), step_of()
    for _ in range(3):
        births = Births(seen)
        with births:
            logs = seen(observe=births.observe)
        assert all(torch.equal(v, logs[k]) for k, v in plain().items() if isinstance(v, Tensor)) and not births.found
    for name, network in plain.networks.items():
        pairs = zip(network.parameters(), seen.networks[name].parameters(), strict=True)
        assert all(torch.equal(p, q) for p, q in pairs)
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in seen.networks[name].modules())
