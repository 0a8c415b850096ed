"""The command line in a process of its own: terminals, pipes, disks and signals as they are."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commands import Outcome
from commands import ganflow as command
from ganflow import __version__
from golden_text import GOLDEN

BASE = GOLDEN / "errors" / "base.gin"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(BASE, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ganflow(*words: str, **given: Any) -> subprocess.CompletedProcess[str]:
    given = {"capture_output": True, "text": True} | given
    return subprocess.run([sys.executable, "-m", "ganflow", *words], check=False, **given)


def test_output_that_cannot_be_written_is_one_message(here: Path) -> None:
    with open("/dev/full", "w") as full:
        found = ganflow("plan", "base.gin", "--no-shapes", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert found.returncode == 1
    assert found.stderr == "error[cannot-write]: the output cannot be written: No space left on device\n"


def test_a_reader_that_goes_away_is_no_error(here: Path) -> None:
    words = [sys.executable, "-m", "ganflow", "source", "base.gin"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_a_terminal_without_unicode_shows_the_plan(here: Path) -> None:
    found = ganflow("plan", "base.gin", "--no-shapes", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert found.returncode == 0 and "pred_fake = D(cat(real_A, ? fake_B))" in found.stdout


def test_a_file_with_a_byte_order_mark_is_read(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = command(capsys, "plan", "base.gin", "--no-shapes")
    (here / "base.gin").write_bytes(b"\xef\xbb\xbf" + BASE.read_bytes())
    assert command(capsys, "plan", "base.gin", "--no-shapes") == plain and plain.status == 0


def test_what_is_no_text_is_said_to_be_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "photo.gin").write_bytes(b"\x89PNG\xff\xfe\x00")
    found = command(capsys, "plan", "photo.gin")
    assert found.status == 2 and "[unreadable-file]" in found.err and "photo.gin" in found.err


def test_a_module_that_ends_the_program_is_an_error(here: Path) -> None:
    (here / "leaves.py").write_text("import sys\n\nsys.exit(0)\n")
    (here / "own.gin").write_text("include 'base.gin'\nimport leaves\n")
    found = ganflow("check", "own.gin")
    assert found.returncode == 2 and found.stderr.startswith("own.gin:2: error[import]: cannot import `leaves`")


def test_a_run_that_goes_on_is_not_overwritten(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [sys.executable, "-u", "-m", "ganflow", "run", "base.gin", "--name", "x", "--set", "Trainer.steps = 100000"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        while not process.stdout.readline().startswith("step 3/"):
            assert process.poll() is None
        found = command(capsys, "run", "base.gin", "--name", "x", "--overwrite", "--set", "Trainer.steps = 1")
        assert found.status == 2 and "runs/x is still running, so --overwrite deletes nothing there" in found.err
        assert "100000" in (here / "runs" / "x" / "config.gin").read_text()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert command(capsys, "run", "base.gin", "--name", "x", "--overwrite", "--set", "Trainer.steps = 1").status == 0
    assert json.loads((here / "runs" / "x" / "environment.json").read_text())


def test_an_op_that_draws_as_it_transforms_has_a_shape_and_a_cost(tmp_path: Path) -> None:
    """In a process of its own: gin knows each configurable once, and for all tests."""
    (tmp_path / "own_draw.py").write_text(
        "import gin\nimport torch\n\n@gin.configurable\ndef jitter(x, *, generator=None):\n"
        "    return torch.cat((x, torch.randn(x.shape, generator=generator, device=x.device)), 1)[:, :1]\n"
    )
    text = f"include '{BASE}'\nimport own_draw\nG_L1 = 'l1(jitter(fake_B), jitter(real_B))'\n"
    (tmp_path / "own.gin").write_text(text)
    found = ganflow("plan", "own.gin", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "meta device" not in found.stdout + found.stderr and "per iteration" in found.stdout


LEAVES = """import sys

import gin
from torch import nn


@gin.configurable
class Leaving(nn.Module):
    def __init__(self, end=0):
        super().__init__()
        if isinstance(end, str):
            raise type(end, (BaseException,), {})("for good")
        sys.exit(end)
"""


@pytest.mark.parametrize(
    ("end", "said"), [("0", "called sys.exit(0)"), ("None", "called sys.exit()"), ("'Gone'", "raised Gone: for good")]
)
@pytest.mark.parametrize("word", ["check", "run"])
def test_user_code_that_ends_the_program_is_no_success(here: Path, word: str, end: str, said: str) -> None:
    (here / "leaving.py").write_text(LEAVES)
    (here / "own.gin").write_text(
        f"include 'base.gin'\nimport leaving\nD/Network.module = @Leaving()\nLeaving.end = {end}\n"
    )
    found = ganflow(word, "own.gin")
    line = 12 if end == "'Gone'" else 13
    assert found.returncode == 2 and found.stdout == ""
    assert found.stderr == f"error[exit]: user code {said}\n  raised at {here / 'leaving.py'}:{line}\n"


def test_a_module_that_raises_what_is_no_exception_is_an_error(here: Path) -> None:
    (here / "leaves.py").write_text("class Gone(BaseException):\n    pass\n\n\nraise Gone('for good')\n")
    (here / "own.gin").write_text("include 'base.gin'\nimport leaves\n")
    found = ganflow("check", "own.gin")
    assert found.returncode == 2
    assert found.stderr.startswith("own.gin:2: error[import]: cannot import `leaves`: Gone: for good")
    assert f"raised at {here / 'leaves.py'}:5" in found.stderr


def test_debug_changes_no_exit_status(here: Path) -> None:
    for words, status in ((("check", "missing.gin"), 2), (("run", "base.gin", "--name", "a/b"), 2)):
        plain, debug = ganflow(*words), ganflow(*words, "--debug")
        assert (plain.returncode, debug.returncode) == (status, status)
        assert "Traceback" in debug.stderr and "Traceback" not in plain.stderr
    assert plain.stderr.startswith("error[name]: --name 'a/b' has a folder in it")


def test_version_and_short_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(capsys, "--version") == Outcome(0, f"ganflow {__version__}\n", "")
    for words in ((), ("plan",)):
        short, long = (command(capsys, *words, flag) for flag in ("-h", "--help"))
        assert short == long and short.status == 0 and "Usage: ganflow" in short.out


def test_the_plan_says_when_a_state_is_committed_at_the_end(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = "k/State.init = 0.0\nk/State.next = 'k + 1'\nk/State.when = 'step % 4 == 3'\n"
    (here / "own.gin").write_text(f"include 'base.gin'\n{state}Trainer.show = ['fake_B * k']\n")
    found = command(capsys, "plan", "own.gin", "--no-shapes")
    assert "at the end\n  state k = k + 1   when step % 4 == 3\n" in found.out
    after = command(capsys, "plan", "own.gin", "--no-shapes", "--set", "k/State.after = 'D'")
    assert after.out.count("when step % 4 == 3") == 1 and "trains D   k/State when step % 4 == 3\n" in after.out


OWN = """
import gin
import torch
from torch import nn

SHARED = nn.Conv2d(3, 3, 1)


@gin.configurable
class Cut(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.layer(x).data


@gin.configurable
class MakesItsOwn(Cut):
    def forward(self, x):
        return self.layer(x) + torch.zeros(1, 3, 1, 1)


@gin.configurable
class Borrows(Cut):
    def __init__(self):
        super().__init__()
        self.borrowed = SHARED

    def forward(self, x):
        return self.layer(self.borrowed(x))
"""


@pytest.fixture
def own(here: Path) -> Path:
    """Networks of a user's own beside the gin file, each in a process of its own."""
    (here / "own_nets.py").write_text(OWN)
    for name in ("Cut", "MakesItsOwn", "Borrows"):
        (here / f"{name}.gin").write_text(f"include 'base.gin'\nimport own_nets\nG/Network.module = @{name}()\n")
    return here


def test_a_network_that_returns_data_is_starved_and_the_probe_says_where(own: Path) -> None:
    found = ganflow("check", "Cut.gin")
    assert found.returncode == 2 and "error[gradient-starved]: the loss of update G has no gradient" in found.stdout
    found = ganflow("check", "Cut.gin", "--probe")
    assert (
        found.returncode == 2
        and "term G_L1 of update G gives G no gradient" in found.stdout
        and "stops inside `fake_B" in found.stdout
    )
    assert ganflow("run", "Cut.gin").returncode == 2 and not (own / "runs").exists()


@pytest.mark.parametrize("name", ["MakesItsOwn", "Borrows"])
def test_what_only_meta_tensors_cannot_do_is_a_note(name: str, own: Path) -> None:
    found = ganflow("check", f"{name}.gin", "--probe")
    assert found.returncode == 0 and "note[untraceable]" in found.stdout and "0 errors" in found.stdout, found.stderr
    assert ganflow("run", f"{name}.gin", "--set", "Trainer.steps = 1").returncode == 0


def test_a_name_that_no_file_can_have_is_wrong_input(here: Path) -> None:
    found = ganflow("plan", "base.gin", "--out", "a" * 300 + ".svg")
    assert found.returncode == 2 and "File name too long" in found.stderr
