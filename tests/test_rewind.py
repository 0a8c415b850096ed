"""A run that was cut and went on has logged what one that was never interrupted has, once."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganflow import events
from ganflow import rewind as rewind_module
from ganflow.board_layout import Section
from ganflow.data import sink as sink_module
from ganflow.errors import GanflowError
from ganflow.logs import Logs
from ganflow.rewind import rewind

LENGTH = 20
BIG = {"scalars": 0, "tensors": 0, "images": 0, "histograms": 0}


def logged(step: int) -> dict[str, float]:
    """Of step ``step``: some tags come later than others, one has gaps, numbers are of all kinds."""
    values = {"loss/G": 1 / step, "lr/G": 2e-4}
    if step % 4 == 0:
        values["metric/psnr, dB"] = math.inf if step == 8 else 20 + 0.1 * step
    if step > 9:
        values["skipped/G"] = math.nan if step == 12 else step
    if step > 15:
        values = {"weight/gp": 10.0, **values}
    return values


def begin(logs: Logs) -> None:
    logs.text("plan", "update D")
    logs.graph([])
    logs.begins({"lambda_A": 100.0}, metrics=["metric/psnr, dB"])
    sample(logs, 0)


def sample(logs: Logs, step: int) -> None:
    logs.images(step, "images/val", np.full((2, 2, 3), step, np.uint8))
    folder = logs.run_dir / "samples"
    folder.mkdir(exist_ok=True)
    (folder / f"{step:06}.png").write_bytes(bytes([step]))


def go_on(logs: Logs, first: int, last: int) -> None:
    for step in range(first, last + 1):
        logs.scalars(step, logged(step))
        if step % 3 == 0:
            logs.histograms(step, {"weights/G": (np.array([step]), np.array([0.0, 1.0]))})
        if step % 5 == 0:
            sample(logs, step)
    if last == LENGTH:
        logs.ends("success")


def charts(tags: Any) -> list[Section]:
    return [Section(title=" ".join(tags), charts=())]


def opened(run: Path, *, resumed_at: int | None = None) -> Logs:
    return Logs(run, layout=charts, resumed_at=resumed_at)


def straight(run: Path) -> Path:
    run.mkdir()
    with opened(run) as logs:
        begin(logs)
        go_on(logs, 1, LENGTH)
    return run


def cut(run: Path, upto: int) -> Path:
    """A run that was killed after step ``upto``."""
    run.mkdir()
    with opened(run) as logs:
        begin(logs)
        go_on(logs, 1, upto)
    return run


def resume(run: Path, step: int, last: int = LENGTH) -> None:
    rewind(run, step)
    with opened(run, resumed_at=step) as logs:
        go_on(logs, step + 1, last)


def accumulator(run: Path, kind: str) -> Any:
    from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator

    module = {"plain": event_accumulator, "shown": plugin_event_accumulator}[kind]
    return module.EventAccumulator(str(run), size_guidance=BIG)  # type: ignore[attr-defined]


def series(read: Any) -> dict[str, list[Any]]:
    """Every tag with its steps and values, as TensorBoard has them; when they were written is left out."""
    tags, found = read.Tags(), {}
    for tag in tags.get("scalars", ()):
        found[tag] = [(e.step, repr(e.value)) for e in read.Scalars(tag)]
    for tag in tags.get("images", ()):
        found[tag] = [(e.step, e.encoded_image_string) for e in read.Images(tag)]
    for tag in tags["tensors"]:
        found[tag] = [(e.step, e.tensor_proto.SerializeToString()) for e in read.Tensors(tag)]
    return found | {"there is a graph": [tags["graph"]]}


def tables(run: Path) -> tuple[str, str]:
    return (run / "metrics.jsonl").read_text(), (run / "metrics.csv").read_text()


def everything(run: Path) -> Any:
    shown = sorted((path.name, path.read_bytes()) for path in (run / "samples").iterdir())
    return [series(accumulator(run, kind).Reload()) for kind in ("plain", "shown")], tables(run), shown


def contents(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def event_files(run: Path) -> list[Path]:
    return sorted(run.glob("events.out.tfevents.*"))


# as if never interrupted


@pytest.mark.parametrize(("upto", "step"), [(13, 8), (17, 0), (7, 7), (20, 15), (20, 20), (10, 9)])
def test_a_resumed_run_has_logged_what_an_uninterrupted_one_has(tmp_path: Path, upto: int, step: int) -> None:
    run = cut(tmp_path / "cut", upto)
    resume(run, step)
    assert everything(run) == everything(straight(tmp_path / "straight"))


def test_a_run_may_be_cut_again_and_again(tmp_path: Path) -> None:
    """Back to before an earlier resumption, to the same checkpoint twice, and to one that was just written."""
    run = cut(tmp_path / "cut", 13)
    for step, last in ((10, 16), (10, 12), (5, 9), (9, 18), (18, 19)):
        resume(run, step, last)
    resume(run, 15)
    assert everything(run) == everything(straight(tmp_path / "straight"))


def test_a_failure_is_forgotten_by_a_run_that_went_on(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    run = cut(tmp_path / "cut", 13)
    with opened(run) as logs:
        logs.ends("failure")
    resume(run, 8)
    read = accumulator(run, "plain").Reload()
    assert [e.step for e in read.Tensors("_hparams_/session_end_info")] == [0]
    said = read.SummaryMetadata("_hparams_/session_end_info").plugin_data.content
    assert HParamsPluginData.FromString(said).session_end_info.status == STATUS_SUCCESS


def test_nothing_is_left_of_a_run_without_a_checkpoint(tmp_path: Path) -> None:
    run = cut(tmp_path / "cut", 13)
    rewind(run, -1)
    assert tables(run) == ("", "") and not list((run / "samples").iterdir())
    with opened(run, resumed_at=-1) as logs:
        begin(logs)
        go_on(logs, 1, LENGTH)
    assert everything(run) == everything(straight(tmp_path / "straight"))


@pytest.mark.parametrize("kind", ["plain", "shown"])
def test_a_tensorboard_that_was_looking_all_the_time_forgets_what_was_dropped(tmp_path: Path, kind: str) -> None:
    run = cut(tmp_path / "cut", 13)
    looking = accumulator(run, kind).Reload()
    first = "loss/G"
    steps = (lambda: looking.Scalars(first)) if kind == "plain" else (lambda: looking.Tensors(first))
    assert [e.step for e in steps()] == list(range(1, 14))
    resume(run, 8, 10)
    looking.Reload()
    assert [e.step for e in steps()] == list(range(1, 11))
    resume(run, 9)
    looking.Reload()
    found, wanted = series(looking), series(accumulator(straight(tmp_path / "straight"), kind).Reload())
    if kind == "plain":  # it never drops tensors; the one that TensorBoard itself uses has nothing else
        found, wanted = ({t: v for t, v in s.items() if t.startswith(("loss", "lr", "im"))} for s in (found, wanted))
    assert found == wanted


def test_a_reader_of_the_folder_moves_on_to_the_resumed_file(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.directory_watcher import DirectoryWatcher
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.backend.event_processing.io_wrapper import IsTensorFlowEventsFile
    from tensorboard.compat.proto.event_pb2 import SessionLog

    run = cut(tmp_path / "cut", 13)
    watcher = DirectoryWatcher(str(run), EventFileLoader, IsTensorFlowEventsFile)
    assert max(event.step for event in watcher.Load()) == 13
    resume(run, 8)
    later = list(watcher.Load())
    assert later[0].file_version and later[1].session_log.status == SessionLog.START and later[1].step == 9
    assert [e.step for e in later if any(v.tag == "loss/G" for v in e.summary.value)] == list(range(9, 21))
    assert not watcher.OutOfOrderWritesDetected()


def test_a_clock_that_was_put_back_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [2_000_000_000.0]
    monkeypatch.setattr(events.time, "time", lambda: clock[0])
    run = cut(tmp_path / "cut", 13)
    looking = accumulator(run, "shown").Reload()
    for now, step, last in ((1_999_990_000.0, 8, 11), (1_500_000_000.0, 10, 12), (2_000_000_005.0, 10, 14)):
        clock[0] = now
        resume(run, step, last)
    with opened(run, resumed_at=14) as logs:
        for step in range(15, LENGTH + 1):
            clock[0] -= 100
            go_on(logs, step, step)
    assert everything(run) == everything(straight(tmp_path / "straight"))
    times = [e.wall_time for e in accumulator(run, "plain").Reload().Scalars("loss/G")]
    assert times == sorted(times) and len(times) == LENGTH and times[-1] == 2_000_000_005
    assert [e.step for e in looking.Reload().Tensors("loss/G")] == list(range(1, LENGTH + 1))


# what a killed process leaves


def spoil_lines(run: Path) -> None:
    with open(run / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 1')


def spoil_table(run: Path) -> None:
    """The lines have a row that the table does not have, and half of one is there."""
    table = run / "metrics.csv"
    table.write_bytes(b"".join(table.read_bytes().splitlines(keepends=True)[:6]) + b"7,0.")


def spoil_table_start(run: Path) -> None:
    (run / "metrics.csv").write_bytes(b"")


def spoil_events(run: Path) -> None:
    path = event_files(run)[-1]
    os.truncate(path, path.stat().st_size - 5)


def spoil_events_with_zeros(run: Path) -> None:
    """As some file systems do when the power fails."""
    with open(event_files(run)[-1], "ab") as file:
        file.write(bytes(100))


def spoil_header(run: Path) -> None:
    with open(event_files(run)[-1], "ab") as file:
        file.write(b"\x10\x00\x00")


def spoil_begun(run: Path) -> None:
    """A file that was just made."""
    (run / "events.out.tfevents.3000000000.77.0").write_bytes(b"")


def spoil_temporaries(run: Path) -> None:
    (run / ".metrics.csv.writing-123").write_bytes(b"ste")
    (run / "samples" / ".000010.png.writing-123").write_bytes(b"\x89PNG")


SPOILS = [
    spoil_lines, spoil_table, spoil_table_start, spoil_events, spoil_events_with_zeros, spoil_header, spoil_begun,
    spoil_temporaries,
]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILS)
def test_half_of_a_record_is_dropped(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    run = cut(tmp_path / "cut", 13)
    spoil(run)
    resume(run, 10)
    assert everything(run) == everything(straight(tmp_path / "straight"))


def test_columns_that_came_later_are_gone_from_the_table(tmp_path: Path) -> None:
    run = cut(tmp_path / "cut", 17)
    rewind(run, 6)
    with open(run / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert list(rows[0]) == ["step", "loss/G", "lr/G", "metric/psnr, dB"]
    assert [{k: float(v) for k, v in row.items() if v} for row in rows] == lines == [
        {"step": step, **logged(step)} for step in range(1, 7)
    ]  # fmt: skip


def test_records_that_stay_behind_some_that_go_are_kept(tmp_path: Path) -> None:
    """No run writes in this order today; the file is then made anew."""
    (run := tmp_path / "run").mkdir()
    with Logs(run) as logs:
        for step in (1, 5, 2, 6, 3):
            logs.scalars(step, {"x": step})
            logs.images(step, "images/val", np.full((64, 64, 3), step, np.uint8))
    rewind(run, 3)
    read = accumulator(run, "plain").Reload()
    assert [(e.step, e.value) for e in read.Scalars("x")] == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert [e.step for e in read.Images("images/val")] == [1, 2, 3]
    assert (run / "metrics.jsonl").read_text().count("\n") == (run / "metrics.csv").read_text().count("\n") - 1 == 3


# nothing else


def test_doing_it_again_touches_no_file(tmp_path: Path) -> None:
    run = cut(tmp_path / "cut", 17)
    for name in contents(run):
        os.utime(run / name, ns=(0, 0))
    rewind(run, 17)
    assert all((run / name).stat().st_mtime_ns == 0 for name in contents(run))
    rewind(run, 8)
    after = contents(run)
    rewind(run, 8)
    rewind(run, 12)
    assert contents(run) == after


def test_what_others_put_into_the_folder_stays(tmp_path: Path) -> None:
    run = cut(tmp_path / "cut", 13)
    theirs = {
        "notes.txt": "mine", "metrics.csv.bak": "step\n99\n", "events.out.tfevents.1700000000.host.1.0": "x",
        "samples/best.png": "x", "samples/99.png": "x", "samples/000013-G.png": "x", "samples/²²²²²².png": "x",
        "samples/000012.jpg": "x", "other/000012.png": "x", "other/metrics.jsonl": '{"step": 99}\n',
        "other/events.out.tfevents.1700000000.1.0": "x", "weights.pt": "x", ".notes.writing-12": "x",
    }  # fmt: skip
    for name, text in theirs.items():
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(text)
    rewind(run, 8)
    assert {name: (run / name).read_text() for name in theirs} == theirs
    assert not (run / "samples" / "000010.png").exists() and (run / "samples" / "000005.png").exists()


def test_somebody_elses_newer_event_file_does_not_hide_the_resumed_one(tmp_path: Path) -> None:
    run = cut(tmp_path / "cut", 13)
    (run / "events.out.tfevents.3000000000.host.1.0").write_bytes(b"")
    resume(run, 8)
    assert event_files(run)[-1].name.startswith("events.out.tfevents.3000000001.")


def test_a_run_without_logs_has_nothing_to_drop(tmp_path: Path) -> None:
    rewind(tmp_path, 0)
    assert not list(tmp_path.iterdir())


# faults


def test_a_disk_that_is_full_in_the_middle_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = cut(tmp_path / "cut", 17)
    table = (run / "metrics.csv").read_bytes()

    def refuse(sink: Any, view: memoryview) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(sink_module.Sink, "_write_all", refuse)
        with pytest.raises(GanflowError, match="no space left to write .*metrics.csv") as error:
            rewind(run, 8)
    assert (error.value.code, error.value.status) == ("disk-full", 1)
    assert (run / "metrics.csv").read_bytes() == table
    assert not [name for name in os.listdir(run) if "writing" in name]
    resume(run, 8)
    assert everything(run) == everything(straight(tmp_path / "straight"))


def test_a_full_disk_does_not_stand_in_the_way_where_only_ends_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cut(tmp_path / "cut", 15)
    monkeypatch.setattr(rewind_module, "whole_or_nothing", lambda path: pytest.fail(f"{path} is written"))
    rewind(run, 13)
    assert series(accumulator(run, "plain").Reload())["loss/G"][-1][0] == 13


def test_killed_in_the_middle_it_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every one of its steps: after each file that it shortens, rewrites or deletes."""
    wanted = everything(straight(tmp_path / "straight"))
    for count in range(6):
        run = cut(tmp_path / f"cut{count}", 17)
        left = [count]
        with monkeypatch.context() as patch:
            for name in ("_become", "_cut_events", "_later_samples"):
                patch.setattr(rewind_module, name, dying(getattr(rewind_module, name), left))
            try:
                rewind(run, 8)
                assert count >= 4
            except KeyboardInterrupt:
                assert count < 4
        resume(run, 8)
        assert everything(run) == wanted


def dying(function: Any, left: list[int]) -> Any:
    def call(*arguments: Any) -> Any:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return function(*arguments)

    return call


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(GanflowError, match="gone cannot be written: No such file or directory") as error:
        rewind(tmp_path / "gone", 3)
    assert (error.value.code, error.value.status) == ("cannot-write", 1)
