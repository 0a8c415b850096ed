"""Faults, each made to happen: signals, a full disk, damage, a run directory that goes away, clocks, two processes."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from commands import ganflow as command
from fault_tools import CONFIG, eventually, first_difference, fit, forked, left, to_the_end
from ganflow import board as board_module
from ganflow import eventfiles, loop, rundir, saving
from ganflow.data import sink
from ganflow.store import Store

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of children that use no other thread


def mostly_slow(cases: Iterable[Any], *, fast: Collection[Any]) -> list[Any]:
    """Parameters of a test, of which the fast suite tries a few."""
    return [case if case in fast else pytest.param(*_tuple(case), marks=pytest.mark.slow) for case in cases]


def _tuple(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an uninterrupted run leaves."""
    folder = tmp_path_factory.mktemp("straight")
    fit(folder / "warm", "Trainer.steps = 4", progress=False)  # what is forked from here has imported everything
    to_the_end(folder / "run")
    return left(folder / "run")


def check_same(run: Path, wanted: dict[str, Any]) -> None:
    assert first_difference(wanted, left(run)) == ""


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def logged(run: Path, step: int) -> Callable[[], bool]:
    """Whether a row of that step is there."""
    rows = run / "metrics.jsonl"
    return lambda: rows.exists() and f'{{"step": {step},' in rows.read_text()


def at_step(number: int, action: Callable[[], object]) -> None:
    """In this process, do this when the iteration of that number is done."""
    iterate = loop.Loop.iteration

    def iteration(self: loop.Loop) -> None:
        iterate(self)
        if self.step.counters.step == number:
            action()

    loop.Loop.iteration = iteration  # type: ignore[method-assign]


# -- signals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_after_its_iteration(
    tmp_path: Path, wanted: dict[str, Any], number: int, status: int, workers: int
) -> None:
    run, option = tmp_path / "run", [f"Trainer.workers = {workers}"] * bool(workers)
    child = forked(tmp_path / "out", lambda: fit(run, *option))
    eventually(logged(run, 8))
    os.killpg(child.pid, number)
    assert child.wait() == status, child.said()
    said, last = child.said(), Store(run / "checkpoints").steps()[-1]
    assert f"interrupted at step {last}" in said and f"to go on with it: ganflow resume {run}" in said
    assert "Traceback" not in said and said.count("finishing the iteration") == 1, said
    to_the_end(run, *option)
    if workers:  # how many they are is written in the config, and nowhere else
        straight = tmp_path / "straight"
        to_the_end(straight, *option)
        wanted = left(straight)
    check_same(run, wanted)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_it_at_once(tmp_path: Path, wanted: dict[str, Any], number: int, status: int) -> None:
    run = tmp_path / "run"

    def slow() -> None:
        at_step(5, lambda: time.sleep(60))
        fit(run)

    child = forked(tmp_path / "out", slow)
    eventually(logged(run, 4))
    time.sleep(0.3)
    os.killpg(child.pid, number)
    eventually(lambda: "once more ends it at once" in child.said())
    start = time.monotonic()
    os.killpg(child.pid, number)
    assert child.wait() == status and time.monotonic() - start < 20, child.said()
    to_the_end(run)
    check_same(run, wanted)


# -- a full disk ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(place: Path, size: int) -> Iterator[None]:
    """A tmpfs of that many bytes."""
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, f"size={size}".encode()):
        pytest.skip(f"no tmpfs can be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        libc.umount2(os.fsencode(place), 2)  # detached even while something in it is open


def fill(place: Path, room: int) -> None:
    """Leave that much of the disk."""
    with open(place / "ballast", "ab") as file:
        status = os.statvfs(place)
        with contextlib.suppress(OSError):  # a checkpoint that is being written takes some
            file.write(b"\0" * max(0, status.f_bavail * status.f_frsize - room))


# Bytes that are left, from when on (-1: before the run begins).
FULL = [(-1, 0), (-1, 8_000), (-1, 40_000), *((at, room) for at in (4, 7, 35) for room in (0, 4_096, 20_000, 120_000))]


@pytest.mark.parametrize(("step", "room"), mostly_slow(FULL, fast=[(-1, 8_000), (7, 0), (35, 20_000)]))
def test_a_full_disk_is_one_message_and_harms_nothing(
    tmp_path: Path, wanted: dict[str, Any], step: int, room: int
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 4_000_000):
        run = disk / "run"

        def filled() -> None:
            at_step(step, lambda: fill(disk, room))
            if step < 0:
                fill(disk, room)
            fit(run)

        child = forked(tmp_path / "out", filled)
        status, said = child.wait(), child.said()
        # what was being written when the disk was filled may have been removed, and so have made room
        assert status == (room < 100_000 or status) and said.count("error[disk-full]: no space left") == status, said
        assert "Traceback" not in said and "Exception" not in said, said
        store = Store(run / "checkpoints")
        assert all(store.is_whole(s) for s in store.steps())
        (disk / "ballast").unlink()
        to_the_end(run)
        check_same(run, wanted)


@pytest.mark.parametrize("room", mostly_slow([0, 4_096, 20_000], fast=[0]))
def test_a_disk_that_is_full_when_a_run_is_resumed(tmp_path: Path, wanted: dict[str, Any], room: int) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 4_000_000):
        run = disk / "run"
        store = interrupted_at(run, 16)
        (run / "weights.pt").unlink()  # room may be needed for it, too
        fill(disk, room)
        child = forked(tmp_path / "out", lambda: fit(run))
        assert child.wait() == 1 and child.said().count("error[disk-full]: no space left") == 1, child.said()
        assert "Traceback" not in child.said() and store.is_whole(16)
        (disk / "ballast").unlink()
        to_the_end(run)
        check_same(run, wanted)


KINDS = ["config.gin", "environment.json", "probe.txt", "000000.png", "000009.png", "000003.pt", "000003.json",
         "weights.pt", "000036.png", "000036.pt"]  # fmt: skip


@pytest.mark.parametrize("name", mostly_slow(KINDS, fast=["environment.json", "000003.pt", "000036.pt"]))
def test_no_space_for_one_file(tmp_path: Path, wanted: dict[str, Any], name: str) -> None:
    """Without a small disk: from the first write of that file on there is none for it. Checkpoints are tried again."""
    run = tmp_path / "run"

    def full() -> None:
        write_all = sink.Sink._write_all

        def refuse(self: Any, view: memoryview) -> None:
            if f"/.{name}." in str(self.name):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write_all(self, view)

        sink.Sink._write_all = refuse  # type: ignore[method-assign]
        fit(run)

    child = forked(tmp_path / "out", full)
    status, said = child.wait(), child.said()
    background = name in ("000003.pt", "000003.json")
    assert status == (0 if background else 1) and "Traceback" not in said, said
    assert "no space left to write" in said and name in said, said
    if background:
        assert f"warning: no space left to write {run / 'checkpoints' / name}; training goes on" in said, said
    to_the_end(run)
    check_same(run, wanted)


@pytest.mark.parametrize("size", mostly_slow([1_000, 5_000, 12_000, 30_000, 60_000], fast=[30_000]))
def test_files_that_may_not_grow(tmp_path: Path, wanted: dict[str, Any], size: int) -> None:
    """A quota in place of a disk: each file may have so many bytes."""
    run = tmp_path / "run"

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        fit(run)

    child = forked(tmp_path / "out", limited)
    status, said = child.wait(), child.said()
    assert status == 1 and "Traceback" not in said, (status, said)
    to_the_end(run)
    check_same(run, wanted)


# -- damage -----------------------------------------------------------------------------------------------------


def interrupted_at(run: Path, step: int) -> Store:
    """A run that ended there, by SIGTERM."""

    def ended() -> None:
        at_step(step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        fit(run)

    child = forked(run.parent / "interrupted.out", ended)
    assert child.wait() == 143, child.said()
    store = Store(run / "checkpoints")
    assert store.steps()[-1] == step and len(store.steps()) >= 2
    return store


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 3] ^= 4
    path.write_bytes(whole)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def without_summary(path: Path) -> None:
    path.with_suffix(".json").write_text("{}")


@pytest.mark.parametrize("damage", mostly_slow([truncate, flip, empty, without_summary], fast=[flip]))
def test_the_checkpoint_before_a_damaged_one_is_used(
    tmp_path: Path, wanted: dict[str, Any], damage: Callable[[Path], None]
) -> None:
    run = tmp_path / "run"
    store = interrupted_at(run, 16)
    before = store.steps()[-2]
    damage(store.file(16))
    child = forked(tmp_path / "out", lambda: fit(run, checkpoint=16))
    assert child.wait() == 2 and "is damaged: " in child.said() and f"step {before}" in child.said(), child.said()
    said = to_the_end(run)
    assert f"warning: {store.file(16)} is damaged: " in said, said
    assert f"going on from step {before}, the newest checkpoint that is whole" in said
    check_same(run, wanted)


def test_where_all_are_damaged_nothing_is_touched(tmp_path: Path) -> None:
    run = tmp_path / "run"
    store = interrupted_at(run, 16)
    for step in store.steps():
        flip(store.file(step))
    before = files(run)
    child = forked(tmp_path / "out", lambda: fit(run))
    assert child.wait() == 2, child.said()
    assert "error[bad-checkpoint]" in child.said() and "--overwrite begins it anew" in child.said()
    assert files(run) == before


def test_going_back_to_an_earlier_one_and_killed_there(tmp_path: Path, wanted: dict[str, Any]) -> None:
    """Later checkpoints are those of logs that are gone: going on from them would leave a hole."""
    run = tmp_path / "run"
    store = interrupted_at(run, 16)
    earlier, *later = store.steps()
    for step in later:
        flip(store.file(step))

    def killed() -> None:
        at_step(earlier + 1, lambda: os.kill(os.getpid(), signal.SIGKILL))
        fit(run)

    child = forked(tmp_path / "out", killed)
    assert child.wait_for_kill(), child.said()
    to_the_end(run)
    check_same(run, wanted)


# -- the run directory ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deleted", "moved", "replaced", "another run"])
def test_a_run_directory_that_goes_away_under_the_run(tmp_path: Path, wanted: dict[str, Any], how: str) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    if how == "another run":
        interrupted_at(other, 8)

    def away() -> None:
        run.rename(tmp_path / "moved")
        if how == "deleted":
            shutil.rmtree(tmp_path / "moved")
        if how == "replaced":
            run.mkdir()
            (run / "mine.txt").write_text("somebody's own")
        if how == "another run":
            other.rename(run)

    def gone() -> None:
        at_step(10, away)
        fit(run)

    before = files(other) if other.exists() else {"mine.txt": b"somebody's own"} if how == "replaced" else {}
    child = forked(tmp_path / "out", gone)
    status, said = child.wait(), child.said()
    assert status == 1 and said.count("error[") == 1, said
    assert "error[run-gone]" in said and "Traceback" not in said, said
    assert (files(run) if run.exists() else {}) == before
    if how == "moved":
        assert not run.exists()
        to_the_end(tmp_path / "moved")
        check_same(tmp_path / "moved", wanted)


def test_a_clock_that_goes_backwards(tmp_path: Path, wanted: dict[str, Any]) -> None:
    """By a year between the halves of a run, and by a day in the midst of each."""
    run, real = tmp_path / "run", time.time

    def backwards(by: float, until: int | None) -> None:
        shift = [0.0]
        time.time = lambda: real() - by - shift[0]  # type: ignore[assignment]
        at_step(6, lambda: shift.__setitem__(0, 86_400.0))
        at_step(20, lambda: shift.__setitem__(0, 2 * 86_400.0))
        if until is not None:
            at_step(until, lambda: os.kill(os.getpid(), signal.SIGKILL))
        fit(run)

    child = forked(tmp_path / "out", lambda: backwards(0, 14))
    assert child.wait_for_kill(), child.said()
    child = forked(tmp_path / "out", lambda: backwards(365 * 86_400, None))
    assert child.wait() == 0, child.said()
    check_same(run, wanted)
    written = [r.wall_time for path in eventfiles.written_in(run) for r in eventfiles.records(path)]
    assert written == sorted(written) and len(eventfiles.written_in(run)) == 2
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(value >= 0 for row in rows for name, value in row.items() if name.startswith("time/"))


# -- two processes ----------------------------------------------------------------------------------------------


def test_the_second_process_is_refused(
    tmp_path: Path, wanted: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "runs" / "run"
    stopped = tmp_path / "stopped"

    def halted() -> None:
        at_step(10, lambda: (stopped.touch(), os.kill(os.getpid(), signal.SIGSTOP)))
        fit(run)

    child = forked(tmp_path / "out", halted)
    eventually(stopped.exists)
    time.sleep(0.5)  # what is being written in the background stops, too
    before = files(run)
    for words in (
        ("run", CONFIG, "--runs", run.parent, "--resume"), ("resume", run),
        ("run", CONFIG, "--runs", run.parent, "--overwrite"), ("run", CONFIG, "--runs", run.parent, "--name", "run"),
    ):  # fmt: skip
        found = command(capsys, *words)
        assert found.status == 2 and "Traceback" not in found.err, found
        assert ("still running" in found.err) == ("--name" not in words), found
        assert files(run) == before
    child.send(signal.SIGCONT)
    assert child.wait() == 0, child.said()
    check_same(run, wanted)


@pytest.mark.parametrize("options", [{}, {"resume": False}], ids=["resume", "new"])
def test_of_two_that_begin_at_once_one_is_refused(
    tmp_path: Path, wanted: dict[str, Any], options: dict[str, Any]
) -> None:
    """Both have seen that there is nothing, and stand before making it; and one stands in the midst of making it."""
    run = tmp_path / "run"
    children = [forked(tmp_path / f"{k}.out", _together(run, tmp_path, k, options)) for k in range(3)]
    found = [child.wait() for child in children]
    said = "\n".join(child.said() for child in children)
    assert sorted(found) == [0, 2, 2] and "Traceback" not in said, said
    check_same(run, wanted)


def _together(run: Path, folder: Path, number: int, options: dict[str, Any]) -> Callable[[], object]:
    def begin() -> None:
        create = rundir.create

        def together(*args: Any, **kwargs: Any) -> Path:
            (folder / f"ready-{number}").touch()
            eventually(lambda: len(list(folder.glob("ready-*"))) == 3)
            return create(*args, **kwargs)

        rundir.create = together
        fit(run, **options)

    return begin


def test_one_that_is_being_made_is_neither_resumed_nor_cleared(tmp_path: Path) -> None:
    run, stopped = tmp_path / "run", tmp_path / "stopped"

    def halted() -> None:
        write = rundir.write_whole

        def stop(path: Path, *args: Any, **kwargs: Any) -> Path:
            if path.name == rundir.ENVIRONMENT:
                stopped.touch()
                os.kill(os.getpid(), signal.SIGSTOP)
            return write(path, *args, **kwargs)

        rundir.write_whole = stop
        fit(run)

    child = forked(tmp_path / "out", halted)
    eventually(stopped.exists)
    for options in ({}, {"resume": False, "overwrite": True}, {"resume": False}):
        second = forked(tmp_path / "second.out", lambda options=options: fit(run, **options))
        assert second.wait() == 2, second.said()
    assert "Traceback" not in second.said()
    child.send(signal.SIGCONT)
    assert child.wait() == 0, child.said()


# -- killed at certain moments ---------------------------------------------------------------------------------


def test_killed_after_the_last_checkpoint_and_before_its_weights(tmp_path: Path, wanted: dict[str, Any]) -> None:
    run = tmp_path / "run"

    def killed() -> None:
        save = saving.Saving.save_weights

        def save_weights(self: saving.Saving, networks: Any, step: int) -> None:
            if step == 36:
                os.kill(os.getpid(), signal.SIGKILL)
            save(self, networks, step)

        saving.Saving.save_weights = save_weights  # type: ignore[method-assign]
        fit(run)

    child = forked(tmp_path / "out", killed)
    assert child.wait_for_kill(), child.said()
    assert torch.load(run / "weights.pt", weights_only=True)["step"] < 36
    for name in ("weights.pt", "probe.txt", "config.gin", "plan-until-000003.txt"):
        (run / f".{name}.writing-1").write_text("half of it")
    assert "is done" in to_the_end(run)
    check_same(run, wanted)


# -- killed while it was made -----------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [[], ["plan.txt"], ["plan.txt", "step.py"], ["plan.txt", "step.py", "config.gin"],
                                     ["plan.txt", ".step.py.writing-1"]])  # fmt: skip
def test_a_run_that_was_killed_while_it_was_made_is_begun_anew(
    tmp_path: Path, wanted: dict[str, Any], written: list[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in written:
        (run / name).write_text("half of it")
    (run / rundir.ENVIRONMENT).write_bytes(b"")
    to_the_end(run)
    check_same(run, wanted)


def test_a_folder_of_somebody_elses_is_not_taken_for_one(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / rundir.ENVIRONMENT).write_bytes(b"")
    (run / "thesis.txt").write_text("years of work")
    for options in ({}, {"resume": False}, {"resume": False, "overwrite": True}):
        child = forked(tmp_path / "out", lambda options=options: fit(run, **options))
        assert child.wait() == 2 and "Traceback" not in child.said(), child.said()
        assert files(run) == {"environment.json": b"", "thesis.txt": b"years of work"}


# -- what stays in its place ------------------------------------------------------------------------------------


def test_the_name_of_a_run_stays_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    interrupted_at(tmp_path / "here" / "old", 4)
    before = files(tmp_path)
    for name in ("..", ".", "", "../out", "a/b", "/out", "a/../../out"):
        for words in (("run", CONFIG, "--name", name), ("run", CONFIG, "--name", name, "--resume"),
                      ("run", CONFIG, "--name", name, "--overwrite"), ("resume", "old", "--fork", name)):  # fmt: skip
            found = command(capsys, *words)
            assert found.status == 2 and "error[name]" in found.err, (words, found)
    assert files(tmp_path) == before


@pytest.mark.parametrize("option", [[], ["--resume"], ["--overwrite"]])
def test_a_gin_file_called_dot_dot_runs_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "...gin").write_text(f"include '{CONFIG}'\n")
    monkeypatch.chdir(tmp_path)
    found = command(capsys, "run", "...gin", *option)
    assert found.status == 2 and "error[name]" in found.err, found
    assert list(files(tmp_path)) == ["...gin"]


def test_a_fork_of_the_run_that_one_stands_in_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted_at(tmp_path / "old", 35)
    monkeypatch.chdir(tmp_path / "old")
    found = command(capsys, "resume", ".", "--fork", "new")
    assert found.status == 0 and (tmp_path / "new" / "weights.pt").exists(), found
    assert not (tmp_path / "old" / "new").exists()


def test_a_checkpoint_that_carries_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    """With a digest that is right: somebody made it so."""
    run, ran = tmp_path / "run", tmp_path / "ran"
    store = interrupted_at(run, 16)

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(ran),)

    for step in store.steps():
        torch.save({**torch.load(store.file(step), weights_only=True), "loop": Evil()}, store.file(step))
        content = store.file(step).read_bytes()
        summary = json.loads(store.file(step).with_suffix(".json").read_text())
        summary |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        store.file(step).with_suffix(".json").write_text(json.dumps(summary))
    child = forked(tmp_path / "out", lambda: fit(run))
    assert child.wait() == 2 and "error[bad-checkpoint]" in child.said(), child.said()
    assert not ran.exists()


def test_tensorboard_is_on_loopback_wherever_it_is_written() -> None:
    texts = [p for f in ("README.md", "docs", "ganflow", "tools", "experiments") for p in _texts(ROOT / f)]
    starts = [line for path in texts for line in path.read_text().splitlines() if "--logdir" in line]
    assert len(starts) >= 2 and all("--host" in line for line in starts), starts
    assert board_module.HOST == "127.0.0.1"
    assert not [path for path in texts if "--bind_all" in path.read_text() or "0.0.0.0" in path.read_text()]


def _texts(place: Path) -> list[Path]:
    found = place.rglob("*") if place.is_dir() else [place]
    return [path for path in found if path.suffix in (".py", ".md", ".gin", ".toml")]
