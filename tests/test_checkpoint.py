"""Checkpoints: whole or not there, known by their digest, written in the background without losing an error."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ganflow.checkpoint import Store, Writer, snapshot
from ganflow.data import sink as sink_module
from ganflow.errors import GanflowError

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of children that use no other thread


def payload(seed: int = 0) -> dict[str, Any]:
    g = torch.Generator().manual_seed(seed)
    weight = torch.randn(40, 50, generator=g)
    return {
        "networks": {"G": OrderedDict(weight=weight), "D": {"weight": weight, "row": weight[3]}},
        "random": {"torch": g.get_state(), "python": random.Random(seed).getstate()},
        "counters": {"step": seed, "seconds": 0.5, "name": "é", "raw": b"\0\xff", "none": None, "flag": True},
        "pool": [torch.zeros(0), (torch.ones(2, dtype=torch.int64), [])],
        3: torch.randn(2, 3, 4, 4, generator=g).to(memory_format=torch.channels_last),
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.stride() == b.stride() and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "checkpoints")


def fill_the_disk(monkeypatch: pytest.MonkeyPatch, after: int = 0, name: str = "") -> None:
    """There is room for ``after`` more bytes in files of that name."""
    write_all, left = sink_module.Sink._write_all, [after]

    def refuse(sink: Any, view: memoryview) -> None:
        if name in str(sink.name):
            left[0] -= len(view)
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_all(sink, view)

    monkeypatch.setattr(sink_module.Sink, "_write_all", refuse)


# -- what is written is read ----------------------------------------------------------------------------------


def test_what_was_written_is_read_bit_for_bit(store: Store) -> None:
    path = store.write(100, payload(), metrics={"psnr": 13.5})
    assert same(store.read(100), payload())
    assert path.name == "000100.pt" and store.steps() == (100,) and store.metrics(100) == {"psnr": 13.5}
    assert same(torch.load(path, weights_only=True), payload())


@pytest.mark.parametrize("through", ["store", "snapshot", "writer", "writer again"])
def test_names_of_one_storage_share_one_afterwards(store: Store, through: str) -> None:
    given, writer = payload(), Writer(store)
    for _ in range(2 if through == "writer again" else 1):
        found = snapshot(given) if through == "snapshot" else given
        if through.startswith("writer"):
            writer.put(1, writer.snapshot(given))
            writer.close()
        elif through == "store":
            store.write(1, given)
    networks = (found if through == "snapshot" else store.read(1))["networks"]
    networks["D"]["row"].fill_(7)
    assert torch.equal(networks["G"]["weight"], networks["D"]["weight"]) and networks["G"]["weight"][3, 0] == 7
    assert same(given, payload())  # nothing of the original has moved


def test_a_snapshot_does_not_change_with_what_it_was_taken_of() -> None:
    given = payload()
    taken = snapshot(given)
    given["networks"]["G"]["weight"].zero_()
    given["counters"]["step"] = 9
    given["pool"].append(1)
    assert same(taken, payload())


def test_a_small_part_of_a_large_tensor_is_a_small_file(store: Store) -> None:
    path = store.write(1, snapshot({"row": torch.zeros(1000, 1000)[3]}))
    assert path.stat().st_size < 20_000


def test_memory_that_is_used_again_holds_the_newest_numbers(store: Store) -> None:
    writer = Writer(store)
    for seed in (1, 2, 3):
        writer.put(seed, writer.snapshot(payload(seed)))
        writer.wait()
    assert all(same(store.read(seed), payload(seed)) for seed in (1, 2, 3))


@pytest.mark.parametrize(
    "value", [object(), np.zeros(3), {1, 2}, nn.Linear(1, 1), print], ids=lambda v: type(v).__name__
)
def test_what_cannot_be_loaded_again_is_refused_with_its_place(store: Store, value: object) -> None:
    for refuse in (snapshot, lambda given: store.write(1, given)):
        with pytest.raises(GanflowError, match=r"cannot hold optimizers\.G\[1\]") as error:
            refuse({"optimizers": {"G": [1, value]}})
        assert error.value.code == "cannot-save"
    assert store.steps() == ()


def test_numbers_of_numpy_become_plain_ones(store: Store) -> None:
    store.write(1, {"loss": np.float64(0.1)}, metrics={"psnr": np.float32(0.5)})  # type: ignore[dict-item]
    assert type(store.read(1)["loss"]) is float and store.read(1)["loss"] == 0.1 and store.metrics(1) == {"psnr": 0.5}


# -- what is damaged ------------------------------------------------------------------------------------------


def damaged(store: Store, step: int, reason: str) -> GanflowError:
    with pytest.raises(GanflowError, match=reason) as error:
        store.read(step)
    assert (error.value.code, error.value.status) == ("bad-checkpoint", 2)
    assert str(store.file(step)) in error.value.message
    return error.value


def test_a_flipped_bit_is_noticed_wherever_it_is(store: Store) -> None:
    path = store.write(1, payload())
    whole = path.read_bytes()
    for place in random.Random(0).sample(range(len(whole)), 150):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        damaged(store, 1, "SHA-256")
    path.write_bytes(whole)
    assert same(store.read(1), payload())


def test_the_newest_whole_one_before_a_damaged_one_is_named(store: Store) -> None:
    for step in (1, 2, 3, 4):
        store.write(step, payload(step))
    for step in (2, 3):
        store.file(step).write_bytes(store.file(step).read_bytes()[:-1])
    error = damaged(store, 3, "bytes and was written with")
    assert "the newest whole one before it: step 1" in error.hint
    store.file(1).with_suffix(".json").unlink()
    assert "no whole one before it" in damaged(store, 3, "bytes").hint
    assert store.latest() == (4, 3, 2)


def test_no_checkpoint_lists_those_there_are(store: Store) -> None:
    with pytest.raises(GanflowError, match="nothing was saved there yet") as error:
        store.read(1)
    assert error.value.code == "no-checkpoint"
    store.write(5, {})
    with pytest.raises(GanflowError, match="there are 5"):
        store.read(1)


SUMMARIES = [
    b"", b"{", b"null", b"[]", b"7", b"[" * 100_000, 
    b'{"sha256": 1}', b"\xff\xfe", b"9" * 5000, b'"' + b"x" * 2_000_000,
    *(
        json.dumps({"sha256": "0" * 64, "bytes": 1, "step": 1, "metrics": {}} | wrong).encode()
        for wrong in (
            {"sha256": None}, {"sha256": "é"}, {"bytes": "1"}, {"bytes": -1}, {"bytes": 1.5}, {"bytes": 10**30},
            {"step": 2}, {"step": "1"}, {"metrics": None}, {"metrics": 3}, {"metrics": {"a": []}},
            {"metrics": {"a": "x"}}, {"metrics": [["a"]]}, {"metrics": {"a": 10**400}},
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("summary", SUMMARIES, ids=lambda s: s[:70].decode(errors="replace"))
def test_a_wrong_summary_is_one_message(store: Store, summary: bytes) -> None:
    store.write(1, {}, metrics={"a": 1.0})
    store.file(1).with_suffix(".json").write_bytes(summary)
    damaged(store, 1, "is damaged")
    store.prune(1)
    store.best("a", larger=True)
    assert not store.is_whole(1)


class Evil:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("executed",)


def disguise(store: Store, content: bytes) -> None:
    """Content with a summary that agrees with it."""
    import hashlib

    summary = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "step": 1, "metrics": {}}
    store.folder.mkdir(exist_ok=True)
    store.file(1).write_bytes(content)
    store.file(1).with_suffix(".json").write_text(json.dumps(summary))


def test_a_wrong_content_of_the_right_digest_is_one_message(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other.pt"
    chance, contents = random.Random(0), [b"", b"PK\x03\x04", b"\x80\x02."]
    whole = store.write(1, payload()).read_bytes()
    contents += [chance.randbytes(n) for n in (1, 10, 1000)] + [whole[: len(whole) * k // 10] for k in range(1, 10)]
    for value in ([1, 2], torch.zeros(2), "text", Evil(), {"a": Evil()}, {"m": nn.Linear(1, 1)}):
        for zipped in (True, False):
            torch.save(value, other, _use_new_zipfile_serialization=zipped)
            contents.append(other.read_bytes())
    for content in contents:
        disguise(store, content)
        damaged(store, 1, "it cannot be read|it holds a")
    for _ in range(100):  # one that can be read after all is as good as any
        place = chance.randrange(len(whole))
        disguise(store, whole[:place] + chance.randbytes(1) + whole[place + 1 :])
        try:
            assert isinstance(store.read(1), dict)
        except GanflowError as error:
            assert error.code == "bad-checkpoint"
    assert not Path("executed").exists()


def test_folders_and_other_names_are_no_checkpoints(store: Store) -> None:
    store.write(1, {})
    for name in ("1.pt", "1.json", "0000001.pt", "0000001.json", "x.pt", "000002.pt", "000003.json", "٠٠٠٠٠٤.pt"):
        (store.folder / name).write_text("{}")
    assert store.steps() == (1,)
    store.file(1).unlink()
    store.file(1).mkdir()
    damaged(store, 1, "it is no file")


# -- a full disk ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [0, 1000, 9000])
@pytest.mark.parametrize("name", [".pt", ".json"])
def test_a_full_disk_harms_no_earlier_one(store: Store, monkeypatch: pytest.MonkeyPatch, room: int, name: str) -> None:
    store.write(1, payload(1))
    with monkeypatch.context() as patch:
        fill_the_disk(patch, min(room, 100) if name == ".json" else room, name)
        with pytest.raises(GanflowError, match="no space left") as error:
            store.write(2, payload(2))
        assert (error.value.code, error.value.status) == ("disk-full", 1)
        assert sorted(p.name for p in store.folder.iterdir()) == ["000001.json", "000001.pt"]
        if name == ".pt":  # the one of this step that is there goes only when the new one is on the disk
            with pytest.raises(GanflowError):
                store.write(1, payload(3))
    assert store.steps() == ((1,) if name == ".pt" else store.steps())
    assert same(store.read(1), payload(1))
    store.write(2, payload(2))
    assert same(store.read(2), payload(2))


def test_the_same_step_again(store: Store) -> None:
    store.write(1, payload(1))
    store.write(1, payload(2))
    assert same(store.read(1), payload(2)) and store.steps() == (1,)


# -- which are kept -------------------------------------------------------------------------------------------


def test_the_last_few_and_those_named_are_kept(store: Store) -> None:
    for step, value in ((10, 1.0), (20, 5.0), (30, 5.0), (40, 2.0), (50, float("nan")), (1_000_000, 0.0)):
        store.write(step, {}, metrics={"psnr": value})
    assert store.best("psnr", larger=True) == 20 and store.best("psnr", larger=False) == 1_000_000
    assert store.best("ssim", larger=True) is None
    store.prune(2, {20})
    assert store.steps() == (20, 50, 1_000_000)
    store.prune(1)
    assert [p.name for p in sorted(store.folder.iterdir())] == ["1000000.json", "1000000.pt"]


def test_a_truncated_one_does_not_push_out_a_whole_one(store: Store) -> None:
    for step in (1, 2, 3):
        store.write(step, payload(step))
    store.file(3).write_bytes(b"")
    store.prune(2)
    assert store.steps() == (1, 2, 3)
    store.prune(1)
    assert store.steps() == (2, 3) and same(store.read(2), payload(2))


def test_what_dead_writers_left_is_removed(store: Store) -> None:
    store.write(1, {})
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    left = [
        store.folder / n for n in (f".000002.pt.writing-{child}", f".000003.json.writing-{os.getpid()}", "000002.json")
    ]
    alive = [store.folder / n for n in (f".000004.pt.writing-{os.getppid()}", "000004.json", "notes.json", ".notes")]
    for path in left + alive:
        path.write_text("")
    store.prune(1)
    assert not any(p.exists() for p in left) and all(p.exists() for p in alive) and store.steps() == (1,)


# -- in the background ----------------------------------------------------------------------------------------


class Slow(Store):
    """Writes when it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.begun, self.go = threading.Event(), threading.Event()

    def write(self, step: int, payload: Any, **rest: Any) -> Path:
        self.begun.set()
        assert self.go.wait(30)
        return super().write(step, payload, **rest)


def test_a_newer_one_takes_the_place_of_one_that_was_not_begun(tmp_path: Path) -> None:
    store = Slow(tmp_path)
    writer, called = Writer(store), list[object]()
    for step in (1, 2, 3):
        writer.put(step, snapshot(payload(step)), then=[lambda step=step: called.append(step)])  # type: ignore[misc]
        assert store.begun.wait(30)
    store.go.set()
    writer.close()
    assert store.steps() == (1, 3) and called == [1, 3] and same(store.read(3), payload(3))


def test_one_that_is_to_be_kept_is_written_though_a_newer_one_comes(tmp_path: Path) -> None:
    store = Slow(tmp_path)
    writer = Writer(store)
    for step in (1, 2, 3, 4, 5):
        writer.put(step, snapshot(payload(step)), keep=step == 3)
        assert store.begun.wait(30)
    store.go.set()
    writer.close()
    assert store.steps() == (1, 3, 5)


def test_what_comes_before_and_after(store: Store) -> None:
    seen: list[tuple[str, tuple[int, ...], bool]] = []

    def note(what: str) -> Callable[[], None]:
        return lambda: seen.append((what, store.steps(), threading.current_thread() is threading.main_thread()))

    writer = Writer(store)
    writer.put(7, snapshot({}), before=[note("before")], then=[note("then"), note("later")])
    writer.wait()
    assert seen == [("before", (), False), ("then", (7,), False), ("later", (7,), False)]


def test_no_thread_is_left_when_there_is_nothing_to_write(store: Store) -> None:
    before = threading.active_count()
    writer = Writer(store)
    writer.close()
    writer.put(1, {})
    writer.close()
    writer.close()
    assert threading.active_count() == before


def fail() -> None:
    raise ValueError("no such thing")


def test_errors_are_kept_until_they_are_asked_for_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(store)
    with monkeypatch.context() as patch:
        fill_the_disk(patch)
        writer.put(1, snapshot(payload()), then=[fail])  # never called: nothing was written
        with pytest.raises(GanflowError, match=r"no space left to write .*000001\.pt") as error:
            writer.wait()
    assert error.value.code == "disk-full" and writer.check() is None
    writer.put(2, {}, then=[fail, lambda: store.prune(1), fail])
    with pytest.raises(GanflowError, match="step 2: ValueError: no such thing; later: .*ValueError") as error:
        writer.close()
    assert (error.value.status, error.value.code) == (1, "checkpoint") and store.steps() == (2,)
    writer.close()
    writer.put(3, {}, before=[fail])
    assert _eventually(writer.check) and store.steps() == (2,)


def _eventually(get: Callable[[], object]) -> object:
    until = time.monotonic() + 30
    while not (found := get()) and time.monotonic() < until:
        time.sleep(0.01)
    return found


def test_waiting_ends_the_rests(store: Store) -> None:
    writer = Writer(store, share=0.0001)
    writer.put(1, snapshot({"x": torch.zeros(20_000_000)}))
    assert _eventually(lambda: list(store.folder.glob(".*")))
    start = time.monotonic()
    writer.close()
    assert time.monotonic() - start < 20 and store.is_whole(1)  # at its own pace it would take ten minutes


# -- kill -9 --------------------------------------------------------------------------------------------------


def write_many(store: Store, first: Callable[[], object], steps: range) -> None:
    """In a child: 2, 2 again with other numbers, 3, ... with retention."""
    try:
        writer = Writer(store, share=1.0)
        for step, seed in ((s, s + again) for s in steps for again in (0, 1)):
            writer.put(step, payload(seed), then=[lambda: store.prune(2, {1})])
            writer.wait()
            first()
    finally:
        os._exit(1)


def check_what_is_left(folder: Path) -> None:
    store = Store(folder)
    steps = store.steps()
    assert steps[0] == 1 and same(store.read(1), payload(1))
    assert all(any(same(store.read(step), payload(seed)) for seed in (step, step + 1)) for step in steps)
    store.prune(2, {1})
    assert len(list(folder.iterdir())) == 2 * len(store.steps())
    store.write(20_000, payload(5))
    assert same(store.read(20_000), payload(5))


@pytest.mark.parametrize("round_", range(50))
def test_a_killed_writer_leaves_only_whole_ones(tmp_path: Path, round_: int) -> None:
    store = Store(tmp_path)
    store.write(1, payload(1))
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        write_many(store, lambda: os.write(told, b"."), range(2, 10_000))
    os.read(ready, 1)
    time.sleep(random.Random(round_).uniform(0, 0.04))
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    os.close(ready)
    os.close(told)
    check_what_is_left(tmp_path)


@pytest.mark.slow
def test_a_writer_that_ends_before_any_change_of_the_folder_leaves_only_whole_ones(tmp_path: Path) -> None:
    changes, ended = ("replace", "unlink", "fsync", "close", "open"), 0
    for count in range(1000):
        folder = tmp_path / str(count)
        store = Store(folder)
        store.write(1, payload(1))
        child = os.fork()
        if child == 0:
            left = [count]

            def ending(real: Callable[..., Any], left: list[int] = left) -> Callable[..., Any]:
                def call(*given: Any, **named: Any) -> Any:
                    left[0] -= 1
                    return real(*given, **named) if left[0] >= 0 else os._exit(77)

                return call

            for name in changes:
                setattr(os, name, ending(getattr(os, name)))
            write_many(store, lambda: None, range(2, 4))
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        check_what_is_left(folder)
        if ended != 77:
            break
    assert ended == 1 and count > 50
