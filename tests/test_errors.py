"""Bad input: one clear message with its place and cure, exit status 2, nothing on the disk touched."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commands import ganflow
from golden_text import GOLDEN, check_golden

ERRORS = GOLDEN / "errors"
ROOT = GOLDEN.parent.parent
CASES = sorted(p.stem for p in ERRORS.glob("*.gin") if p.stem != "base")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the gin files as the working directory."""
    for path in ERRORS.glob("*.gin"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_run_refuses_in_one_message(case: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ganflow(capsys, "run", f"{case}.gin", "--strict")
    assert found.status == 2 and found.out == ""
    assert "Traceback" not in found.err and "[internal]" not in found.err
    assert not (here / "runs").exists()
    check_golden(ERRORS / f"{case}.txt", found.err.replace(str(here), "HERE").replace(str(ROOT), "ROOT"))


@pytest.mark.parametrize("case", CASES)
def test_check_finds_the_same_without_running(case: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ganflow(capsys, "check", f"{case}.gin", "--strict")
    assert found.status == 2
    first = (ERRORS / f"{case}.txt").read_text(encoding="utf-8").splitlines()[0]
    assert first.replace("error", "", 1) in (found.err + found.out).replace("warning", "").replace("error", "")


def test_base_is_fine(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ganflow(capsys, "check", "base.gin", "--strict")
    assert (found.status, found.out) == (0, "0 errors, 0 warnings, 0 notes\n")


def test_missing_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ganflow(capsys, "run", "bade.gin")
    assert found.status == 2
    assert found.err.startswith("error[missing-file]: no such file: bade.gin\n  did you mean `base.gin`")


def test_an_override_is_named_as_one(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ganflow(capsys, "plan", "base.gin", "--set", "UNetGenerator.bse = 8")
    assert found.status == 2 and "--set" in found.err and "did you mean `base`?" in found.err


def test_debug_shows_the_traceback(here: Path) -> None:
    command = [sys.executable, "-m", "ganflow", "check", "cycle.gin", "--debug"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode != 0 and "Traceback" in found.stderr


# -- what surrounds a run -----------------------------------------------------------------------------------


def test_corrupt_data(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANFLOW_CACHE", str(tmp_path / "cache"))
    assert ganflow(capsys, "data", "base.gin").status == 0
    [file] = (tmp_path / "cache").glob("*.h5")
    whole = file.read_bytes()
    file.write_bytes(whole[:20_000])
    found = ganflow(capsys, "run", "base.gin")
    assert found.status == 2 and not (here / "runs").exists()
    assert found.err.startswith(f"error[damaged-dataset]: {file}: is not a readable HDF5 file")
    assert "delete the file" in found.err
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + bytes(4000) + whole[middle + 4000 :])
    found = ganflow(capsys, "run", "base.gin")
    assert found.status == 2 and str(file) in found.err and "Traceback" not in found.err


def test_a_run_is_never_overwritten_by_itself(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "runs" / "mine").mkdir(parents=True)
    (here / "runs" / "mine" / "thesis.txt").write_text("years of work")
    for extra, golden in ((), "run-exists"), (("--overwrite",), "not-a-run-to-overwrite"):
        found = ganflow(capsys, "run", "base.gin", "--name", "mine", *extra)
        assert found.status == 2
        check_golden(ERRORS / f"{golden}.txt", found.err)
    assert (here / "runs" / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_directory_that_cannot_be_written_to(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "locked").mkdir(mode=0o555)
    if os.geteuid() == 0:  # root may write anywhere
        monkeypatch.setattr(os, "access", lambda path, mode, **_: not (mode & os.W_OK and Path(path).name == "locked"))
    found = ganflow(capsys, "run", "base.gin", "--runs", "locked", "--name", "x")
    assert found.status == 2
    check_golden(ERRORS / "read-only.txt", found.err.replace(str(here), "HERE"))


def test_no_space_left(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A limit on the size of files stands for the full disk; what was written before stays whole."""
    assert ganflow(capsys, "data", "base.gin").status == 0

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    command = [sys.executable, "-m", "ganflow", "run", "base.gin"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limited)
    assert found.returncode == 1
    check_golden(ERRORS / "disk-full.txt", re.sub(r"tfevents[.\d]+", "tfevents", found.stderr))
    assert (here / "runs" / "base" / "config.gin").read_text().startswith("lambda_A = 100.0")


# -- what is bound is looked at before anything runs ---------------------------------------------------------


@pytest.mark.parametrize("binding", ["D/Update.clip_norm = -1.0", "Update.clip_value = 0", "G/Update.clip_norm = 0.0"])
def test_a_gradient_is_clipped_to_more_than_nothing(
    binding: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "own.gin").write_text(f"include 'base.gin'\n{binding}\n")
    for word in ("check", "run"):
        found = ganflow(capsys, word, "own.gin")
        assert found.status == 2 and "own.gin:2: error[type]: `" in found.out + found.err
        assert f"is {binding.split()[-1]}; it takes a number above 0" in found.out + found.err


@pytest.mark.parametrize(
    ("given", "code"),
    [("[[['D']], 'G']", "type"), ("[1, 'G']", "type"), ("['D', (), 'G']", "schedule"), ("[]", "no-schedule")],
)
def test_a_schedule_is_made_of_names_and_groups(
    given: str, code: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ganflow(capsys, "check", "base.gin", "--set", f"Schedule.updates = {given}")
    assert found.status == 2 and found.err.startswith(f"--set (1):1: error[{code}]: ")


def test_a_dataset_that_cannot_say_its_fields(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "unready.py").write_text(
        "import gin\n\n\n@gin.configurable\nclass Unready:\n    @property\n    def fields(self):\n"
        "        raise KeyError('no size')\n"
    )
    (here / "own.gin").write_text("include 'base.gin'\nimport unready\nTrainer.data = @Unready()\n")
    found = ganflow(capsys, "check", "own.gin")
    assert found.status == 2
    assert found.err.startswith(
        "own.gin:3: error[data]: the `fields` of @Unready() cannot be read: KeyError: 'no size'"
    )


def test_an_unknown_start_of_the_weights_is_found_by_check(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "own.gin").write_text("include 'base.gin'\nD/Network.init = 'norml'\n")
    for words in (("check",), ("plan", "--no-shapes"), ("run",)):
        found = ganflow(capsys, *words, "own.gin")
        assert found.status == 2 and found.err.startswith("own.gin:2: error[type]: `Network.init` is 'norml'")
        assert "normal" in found.err
