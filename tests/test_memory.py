"""Out of memory: what the plan holds, and what to change, said by runs that really have not enough."""

from __future__ import annotations

import os
import re
import resource
import shutil
import traceback
from pathlib import Path

import pytest
import torch

import ganflow
from commands import ganflow as command
from ganflow.errors import GanflowError
from ganflow.inspection import inspect
from ganflow.memory import by_phase, explained, table
from ganflow.running import out_of_memory
from ganflow.trainer import Trainer
from golden_text import GOLDEN

BASE = GOLDEN / "errors" / "base.gin"
HUGE = "G_L1 = 'l1(fake_B, real_B) + mean(full((3000000, 4000000), 1.0) * mean(fake_B))'"  # 48 TB


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session_cache: str) -> Path:
    shutil.copy(BASE, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("changes", [(), ("Update.microbatches = 2",), ("Schedule.updates = [('D', 'G')]",)])
def test_a_value_that_fits_nowhere(changes: tuple[str, ...], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = [x for change in (HUGE, "Trainer.metrics = {}", *changes) for x in ("--set", change)]
    found = command(capsys, "run", "base.gin", *sets)
    assert found.status == 1 and "Traceback" not in found.err
    said = found.err[found.err.index("error[") :]
    assert said.startswith("error[out-of-memory]: there is not enough memory: in `G_L1`: 48 TB were asked for at once")
    assert re.search(r"^ +update (D, )?G +48 TB  most in `G_L1` 48 TB, ", said, re.MULTILINE)
    assert "Trainer.batch_size = 2: half" in said and re.search(r"G/Update.microbatches = [24]: ", said)


def test_networks_that_fit_nowhere(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = command(capsys, "run", "base.gin", "--set", "UNetGenerator.base = 4000000")
    assert found.status == 1 and "error[out-of-memory]: there is not enough memory: cannot build network G" in found.err
    assert "smaller networks: their weights take most of it" in found.err and not Path("runs").exists()


def test_a_batch_that_does_not_fit_beside_the_others(here: Path) -> None:
    """In a process that may have little more memory than it has now."""
    changes = ["UNetGenerator.base = 128", "Trainer.batch_size = 4000", "Trainer.metrics = {}", "Trainer.probe = False"]
    experiment = ganflow.load("base.gin", [*changes, "Trainer.sample_every = 0", "Trainer.log_every = 0"])
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        said = "nothing was raised"
        try:
            size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (size + 2**29,) * 2)
            Trainer(experiment, "run", progress=False).fit()
        except GanflowError as error:
            said = f"{error.status} {error}"
        except BaseException:
            said = traceback.format_exc()
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        said = file.read()
    os.waitpid(child, 0)
    assert said.startswith("1 ") and "error[out-of-memory]: there is not enough memory" in said
    assert "Trainer.batch_size = 2000" in said and "microbatches = 2" in said


def test_the_table_adds_up() -> None:
    """Of pred_real of a discriminator of one hidden layer: what autograd holds of it, by hand."""
    inspection = inspect(ganflow.load(BASE))
    rows = table(inspection.graph, inspection.cost)
    assert [row.split("  ")[0].strip() for row in rows] == ["weights", "update D", "update G"]
    held = by_phase(inspection.cost)
    spent = inspection.cost.spent
    for phase, own in held.items():
        assert list(own.values()) == sorted(own.values(), reverse=True)
        assert all(own[v] == spent[phase, v].value + spent[phase, v].kept for v in own)
    weights = sum(p.numel() * 4 for n in ("G", "D") for p in ganflow.build.network(ganflow.load(BASE), n).parameters())
    assert f"{weights / 1e3:.3g} kB" in rows[0]


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes."), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (GanflowError("something else", code="step"), False),
    ],
)
def test_what_is_taken_for_it(error: Exception, is_it: bool) -> None:
    assert out_of_memory(error) is is_it
    experiment = ganflow.load(BASE)
    with pytest.raises(GanflowError if is_it else type(error)) as raised, explained(experiment, inspect(experiment)):
        raise error
    if not is_it:
        assert raised.value is error
    elif isinstance(error, torch.OutOfMemoryError):
        assert "21.5 GB were asked for at once" in str(raised.value)
