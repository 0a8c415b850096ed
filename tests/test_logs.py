"""What a run leaves behind: its directory, TensorBoard and tables, averages, grids; and what it says when it can't."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import platform
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ganflow import images, protos, rundir
from ganflow.averages import Averages
from ganflow.data import sink as sink_module
from ganflow.errors import GanflowError
from ganflow.events import Records
from ganflow.logs import Logs

TEXTS = {"config": "train = [@D]\n", "plan": "update D ✂\n", "source": "def step():\n    pass\n"}
BIG = {"scalars": 0, "tensors": 0, "images": 0}


def events_of(run: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run), size_guidance=BIG).Reload()


def rows_of(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def lines_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


# the run directory


def make(path: Path, **more: Any) -> Path:
    return rundir.create(path, **TEXTS, environment={"python": "3.11"}, **more)


def test_a_run_directory_is_read_back(tmp_path: Path) -> None:
    run = make(tmp_path / "runs" / "pix2pix")
    assert sorted(os.listdir(run)) == ["config.gin", "environment.json", "plan.txt", "step.py"]
    assert rundir.load(run) == rundir.RunFiles(run, **TEXTS, environment={"python": "3.11"})


def test_a_run_is_never_silently_overwritten(tmp_path: Path) -> None:
    run = make(tmp_path / "pix2pix")
    make(tmp_path / "pix2pix-2")
    with pytest.raises(GanflowError) as error:
        rundir.create(run, config="other", plan="", source="", environment={})
    assert (error.value.code, error.value.status) == ("run-exists", 2)
    assert str(run) in str(error.value) and "--overwrite" in str(error.value)
    assert "--name pix2pix-3" in str(error.value)
    assert rundir.load(run).config == TEXTS["config"]


def test_an_empty_directory_is_free_and_a_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert make(tmp_path / "empty") == tmp_path / "empty"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(GanflowError, match="is a file"):
        make(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    with pytest.raises(GanflowError, match="is not empty"):
        make(tmp_path / "folder")
    assert os.listdir(tmp_path / "folder") == ["notes.txt"]


def test_overwrite_deletes_a_run_and_only_a_run(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    (run / "samples").mkdir()
    (run / "samples" / "1.png").write_text("old")
    make(run, overwrite=True)
    assert not (run / "samples").exists()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("precious")
    with pytest.raises(GanflowError, match="deletes nothing"):
        make(tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "me.jpg").exists()


def test_of_two_processes_one_gets_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "run")
    monkeypatch.setattr(rundir, "_is_free", lambda path: path.name != "run" or not seen.append(path))
    seen: list[Path] = []
    with pytest.raises(GanflowError) as error:  # it looked free, and then was not
        make(tmp_path / "run")
    assert seen and error.value.code == "run-exists"


def test_unique_names_count_up(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        names.append(make(rundir.unique_name(tmp_path / "runs", "pix2pix")).name)
    assert names == ["pix2pix", "pix2pix-2", "pix2pix-3"]


def test_a_read_only_parent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(GanflowError) as error:
        make(tmp_path / "runs" / "pix2pix")
    assert (error.value.status, error.value.code) == (2, "cannot-write")
    assert "Read-only" in error.value.message and error.value.message.endswith(f"would lie in {tmp_path}")


def test_a_parent_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(GanflowError, match="cannot be written: Not a directory"):
        make(tmp_path / "runs" / "deep" / "pix2pix")


def test_a_full_disk_leaves_nothing_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_the_disk(monkeypatch, "step.py")
    with pytest.raises(GanflowError, match="no space left to write .*step.py") as error:
        make(tmp_path / "run")
    assert (error.value.status, error.value.code) == (1, "disk-full")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: (run / "config.gin").unlink(), "it has no config.gin"),
        (lambda run: (run / "environment.json").write_text("{"), "not JSON"),
        (lambda run: (run / "plan.txt").write_bytes(b"\xff\xfe"), "plan.txt cannot be read"),
        (lambda run: run.rename(run.with_name("gone")), "does not exist"),
    ],
)
def test_what_is_not_a_run_is_said(tmp_path: Path, spoil: Any, said: str) -> None:
    run = make(tmp_path / "run")
    spoil(run)
    with pytest.raises(GanflowError, match=said) as error:
        rundir.load(run)
    assert error.value.code == "not-a-run" and str(run) in str(error.value)


def test_the_environment_names_versions_but_no_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: pytest.fail("asked for the host"))
    monkeypatch.setenv("USER", "someone-in-particular")
    found = rundir.environment()
    assert found["python"] == platform.python_version() and found["packages"]["torch"] in torch.__version__
    assert found["device"] == "cpu" and found["threads"] == torch.get_num_threads()
    assert all(found["packages"].values()) and "someone-in-particular" not in json.dumps(found)


# TensorBoard and the tables


def test_scalars_text_and_images_are_read_back(tmp_path: Path) -> None:
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    text = "a <b> *c*\n    ```\n  ✂ d"
    with Logs(tmp_path) as logs:
        logs.scalars(1, {"loss/G": 0.5, "lr/G": 2e-4})
        logs.scalars(2, {"loss/G": math.nan, "lr/G": math.inf})
        logs.text("plan", text)
        logs.images(2, "images/val", pixels)
        logs.images(3, "images/grey", pixels[..., :1])
    read = events_of(tmp_path)
    loss, lr = read.Scalars("loss/G"), read.Scalars("lr/G")
    assert [(e.step, e.value) for e in loss][0] == (1, 0.5) and math.isnan(loss[1].value)
    assert [e.step for e in lr] == [1, 2] and lr[0].value == pytest.approx(2e-4) and lr[1].value == math.inf
    image = Image.open(io.BytesIO(read.Images("images/val")[0].encoded_image_string))
    assert np.array_equal(np.asarray(image), pixels) and read.Images("images/val")[0].step == 2
    assert Image.open(io.BytesIO(read.Images("images/grey")[0].encoded_image_string)).mode == "L"
    block = read.Tensors("plan")[0].tensor_proto.string_val[0].decode()
    assert block == f"````\n{text}\n````\n"


def test_tensorboard_shows_text_letter_by_letter(tmp_path: Path) -> None:
    from tensorboard.plugin_util import markdown_to_safe_html

    html = markdown_to_safe_html(protos.code_block("G.lr = 1e-4  # *x*\n```\n<&>"))
    assert html == "<pre><code>G.lr = 1e-4  # *x*\n```\n&lt;&amp;&gt;\n</code></pre>"


def test_tensorboard_offers_the_text_under_its_tag(tmp_path: Path) -> None:
    with Logs(tmp_path) as logs:
        logs.text("plan", "update D")
    assert events_of(tmp_path).PluginTagToContent("text").keys() == {"plan"}


def test_tables_hold_every_row_in_full_precision(tmp_path: Path) -> None:
    with Logs(tmp_path, tensorboard=False) as logs:
        logs.scalars(1, {"loss/G": 0.1})
        logs.scalars(2, {"loss/G": 1e-30, "metric/psnr, dB": 21.5})
        logs.scalars(3, {"metric/psnr, dB": -math.inf, "loss/G": math.nan})
    assert rows_of(tmp_path) == [
        {"step": "1", "loss/G": "0.1", "metric/psnr, dB": ""},
        {"step": "2", "loss/G": "1e-30", "metric/psnr, dB": "21.5"},
        {"step": "3", "loss/G": "nan", "metric/psnr, dB": "-inf"},
    ]
    lines = lines_of(tmp_path)
    assert lines[:2] == [{"step": 1, "loss/G": 0.1}, {"step": 2, "loss/G": 1e-30, "metric/psnr, dB": 21.5}]
    assert math.isnan(lines[2]["loss/G"]) and lines[2]["metric/psnr, dB"] == -math.inf
    assert sorted(os.listdir(tmp_path)) == ["metrics.csv", "metrics.jsonl"]


def test_each_row_is_there_as_soon_as_it_is_written(tmp_path: Path) -> None:
    """A killed run has all it reported: nothing waits in a buffer."""
    logs = Logs(tmp_path)
    logs.scalars(1, {"loss/G": 0.5})
    assert rows_of(tmp_path) and lines_of(tmp_path) and events_of(tmp_path).Scalars("loss/G")[0].value == 0.5
    logs.flush()
    logs.close()
    logs.close()


def test_logs_go_on_after_a_killed_run(tmp_path: Path) -> None:
    with Logs(tmp_path) as logs:
        logs.scalars(1, {"loss/G": 1.0})
    for name in ("metrics.csv", "metrics.jsonl"):
        with open(tmp_path / name, "a") as file:
            file.write('{"ste')
    with Logs(tmp_path) as logs:
        logs.scalars(2, {"loss/G": 2.0, "loss/D": 3.0})
    assert [row["loss/G"] for row in rows_of(tmp_path)] == ["1.0", "2.0"]
    assert [line["step"] for line in lines_of(tmp_path)] == [1, 2]
    assert [e.value for e in events_of(tmp_path).Scalars("loss/G")] == [1.0, 2.0]


class FullDisk(io.FileIO):
    """Takes the first few bytes of a write and refuses the rest."""

    room = 5

    def write(self, data: Any) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = super().write(memoryview(data)[: self.room])
        self.room = 0
        return done


def fill_the_disk(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """From now on there is no room for the file ``name``, when it is written whole."""
    write_all = sink_module.Sink._write_all

    def refuse(sink: Any, view: memoryview) -> None:
        if name in str(sink.name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_all(sink, view)

    monkeypatch.setattr(sink_module.Sink, "_write_all", refuse)


def records_of(logs: Logs, which: str) -> Records:
    assert logs._events is not None
    return {"metrics.jsonl": logs._lines, "metrics.csv": logs._table.records, "events": logs._events.records}[which]


@pytest.mark.parametrize("which", ["metrics.jsonl", "metrics.csv", "events"])
def test_a_full_disk_harms_nothing_that_was_written(tmp_path: Path, which: str) -> None:
    logs = Logs(tmp_path)
    logs.scalars(100, {"loss/G": 1.0})
    records = records_of(logs, which)
    before, path = records.path.read_bytes(), records.path
    records.file.close()
    records.file = FullDisk(path, "a")  # type: ignore[assignment]
    with pytest.raises(GanflowError, match=f"{which}.*; the last whole record is step 100") as error:
        logs.scalars(200, {"loss/G": 2.0})
    assert (error.value.status, error.value.code) == (1, "disk-full")
    assert path.read_bytes() == before
    logs.close()


def test_a_full_disk_while_columns_are_added_keeps_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = Logs(tmp_path)
    logs.scalars(100, {"loss/G": 1.0})
    with monkeypatch.context() as patch:
        fill_the_disk(patch, "metrics.csv")
        with pytest.raises(GanflowError, match="no space left to write .*metrics.csv;"):
            logs.scalars(200, {"loss/D": 1.0})
    assert rows_of(tmp_path) == [{"step": "100", "loss/G": "1.0"}]
    logs.close()


def test_a_missing_run_directory_is_a_failed_run(tmp_path: Path) -> None:
    with pytest.raises(GanflowError, match="nothing was written yet") as error:
        Logs(tmp_path / "gone")
    assert error.value.status == 1 and "gone" in error.value.message


def test_tensorboard_is_imported_when_it_is_needed(tmp_path: Path) -> None:
    code = "import sys, ganflow.logs, ganflow.images; print({'tensorboard', 'PIL'} & sys.modules.keys())"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (ran.stdout.strip(), ran.stderr) == ("set()", "")


# averages

VALUES = st.floats(-1e3, 1e3, width=32)
STEPS = st.lists(st.dictionaries(st.sampled_from("abcd"), VALUES), max_size=12)


@given(STEPS)
def test_averages_are_means_over_the_steps_with_the_key(steps: list[dict[str, float]]) -> None:
    averages = Averages()
    for step in steps:
        averages.add({name: torch.tensor(value, dtype=torch.float64) for name, value in step.items()})
    names = list(dict.fromkeys(name for step in steps for name in step))
    means = averages.means()
    assert list(means) == names
    for name in names:
        present = [step[name] for step in steps if name in step]
        assert means[name] == pytest.approx(sum(present) / len(present), abs=1e-9)
    assert averages.means() == {}


def test_averages_keep_what_is_not_finite() -> None:
    averages = Averages()
    for x, y in ((1.0, math.nan), (math.inf, 1.0)):
        averages.add({"x": torch.tensor(x), "y": torch.tensor(y), "z": torch.tensor(2)})
    means = averages.means()
    assert means["x"] == math.inf and math.isnan(means["y"]) and means["z"] == 2.0


def test_averages_keep_no_graph_alive() -> None:
    averages, seen = Averages(), []
    for _ in range(3):
        weight = torch.tensor(1.0, requires_grad=True)
        seen.append(weakref.ref(weight))
        averages.add({"loss": weight * 2})
        del weight
    assert [ref() for ref in seen] == [None] * 3 and averages.means() == {"loss": 2.0}


def test_averages_do_not_follow_tensors_that_change() -> None:
    averages, loss = Averages(), torch.tensor(1.0)
    for _ in range(3):
        averages.add({"loss": loss})
        loss.add_(1)
    assert averages.means() == {"loss": 2.0}
    averages.add({"loss": loss})
    assert loss == 4 and averages.means() == {"loss": 4.0}


def test_half_precision_is_added_in_float32() -> None:
    averages = Averages()
    for _ in range(1000):
        averages.add({"x": torch.tensor(1.0, dtype=torch.bfloat16), "y": torch.tensor(0.5)})
    assert averages.means() == {"x": 1.0, "y": 0.5}


def test_adding_never_asks_for_a_value() -> None:
    """Tensors on ``meta`` have none to give: any host sync would fail."""
    averages = Averages()
    for step in range(4):
        logs = {"loss": torch.empty((), device="meta")}
        averages.add({**logs, "norm": logs["loss"]} if step % 2 else logs)


# grids and folders


def test_a_grid_shows_each_pixel_where_it_belongs(tmp_path: Path) -> None:
    a, b = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 1, 64, 64) * 2 - 1
    path = images.save(images.grid({"real_A": a, "mask": b}, scale=2), tmp_path / "deep" / "grid.png")
    sheet = np.asarray(Image.open(path))
    gap, title = images.GAP, images.TITLE
    assert sheet.shape == (title + 2 * (128 + gap), gap + 2 * (128 + gap), 3)
    for row in range(2):
        top, right = title + row * (128 + gap), gap + 128 + gap
        colour, grey = sheet[top : top + 128, gap : gap + 128], sheet[top : top + 128, right : right + 128]
        repeated = images.to_uint8(a[row]).permute(1, 2, 0).numpy().repeat(2, 0).repeat(2, 1)
        assert np.array_equal(colour, repeated)
        assert np.array_equal(grey[::2, 1::2], images.to_uint8(b[row, 0]).numpy()[..., None].repeat(3, 2))
    assert os.listdir(path.parent) == ["grid.png"]


def test_small_tiles_are_enlarged_and_titled() -> None:
    plain = images.grid({"x": torch.zeros(1, 3, 48, 64)}, titles=False)
    titled = images.grid({"x": torch.zeros(1, 3, 48, 64)})
    assert plain.size == (64 * 3 + 8, 48 * 3 + 8)
    assert np.asarray(titled)[: images.TITLE].min() < 100 < 255 == np.asarray(plain)[: images.GAP].min()
    assert images.grid({"x": torch.zeros(1, 3, 256, 256)}).size[0] == 256 + 8


def test_low_and_high_resolution_lie_side_by_side() -> None:
    sheet = np.asarray(images.grid({"lr": -torch.ones(1, 3, 16, 16), "hr": -torch.ones(1, 3, 64, 64)}, titles=False))
    assert (sheet == 0).all(-1).sum() == 2 * 128 * 128


def test_a_long_title_stays_in_its_column() -> None:
    name = "a_very_long_name_of_a_value_" * 3
    sheet = np.asarray(images.grid({name: torch.zeros(1, 9, 64, 64), "y": torch.zeros(1, 3, 64, 64)}))
    gap = images.GAP
    assert (sheet[: images.TITLE, gap + 128 + 1 : 2 * gap + 128] == 255).all()
    assert images._part(9) == " (3 of 9 ch.)" and images._part(2) == " (1 of 2 ch.)"


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({}, "at least one column"),
        ({"z": torch.zeros(4, 100)}, "`z` cannot be shown as images: its shape is 4×100"),
        ({"a": torch.zeros(2, 3, 8, 8), "b": torch.zeros(1, 3, 8, 8)}, "`b` has 1 samples, the first column 2"),
    ],
)
def test_what_is_no_grid_is_said(columns: dict[str, torch.Tensor], said: str) -> None:
    with pytest.raises(GanflowError, match=said):
        images.grid(columns)


def test_uint8_is_the_inverse_of_loading() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(images.to_uint8(every.float().div(127.5).sub(1)), every)
    assert images.to_uint8(torch.tensor([-9.0, 9.0, math.nan, math.inf])).tolist() == [0, 255, 0, 255]


def test_a_folder_of_images_is_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "b.png")
    Image.fromarray(pixels).save(tmp_path / "a.JPG", format="JPEG")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "a.png")
    (tmp_path / "._b.png").write_bytes(b"what some systems leave")
    (tmp_path / "notes.txt").write_text("no image")
    read = dict(images.read_folder(tmp_path, 64, 3))
    assert list(read) == ["a.JPG", "a.png", "b"]
    assert torch.equal(images.to_uint8(read["b"]), torch.from_numpy(pixels).permute(2, 0, 1))
    assert all(x.shape == (3, 64, 64) and x.dtype == torch.float32 and x.abs().max() <= 1 for x in read.values())
    assert images.read(tmp_path / "b.png", (32, 48), 1).shape == (1, 32, 48)


def test_an_image_is_covered_then_cut_around_its_middle(tmp_path: Path) -> None:
    pixels = np.zeros((10, 40, 3), np.uint8)
    pixels[:, 15:25] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert (images.read(tmp_path / "wide.png", 10) == 1).all()


def test_turned_transparent_and_deep_images_look_as_they_should(tmp_path: Path) -> None:
    turned = Image.new("RGB", (20, 10))
    exif = turned.getexif()
    exif[0x0112] = 6  # a camera held upright
    turned.paste((255, 255, 255), (0, 0, 20, 5))
    turned.save(tmp_path / "turned.png", exif=exif)
    assert images.read(tmp_path / "turned.png", (20, 10), 1)[0, 10].tolist() == [-1.0] * 5 + [1.0] * 5
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (images.read(tmp_path / "clear.png", 8) == 1).all()
    Image.fromarray(np.full((8, 8), 257 * 100, np.uint16)).save(tmp_path / "deep.png")
    assert (images.to_uint8(images.read(tmp_path / "deep.png", 8)) == 100).all()


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    for content in (whole[: len(whole) // 2], b"no image", b""):
        (tmp_path / "cut.png").write_bytes(content)
        with pytest.raises(GanflowError, match="cut.png cannot be read") as error:
            dict(images.read_folder(tmp_path, 64))
        assert (error.value.code, error.value.status) == ("bad-image", 2)


def test_a_folder_without_images_is_said_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(GanflowError, match="has no images"):
        images.read_folder(tmp_path, 64)
    with pytest.raises(GanflowError, match="No such file"):
        images.read_folder(tmp_path / "gone", 64)


def test_a_picture_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = images.save(Image.new("RGB", (4, 4)), tmp_path / "grid.png")
    before = path.read_bytes()
    fill_the_disk(monkeypatch, "grid.png")
    with pytest.raises(GanflowError, match="no space left") as error:
        images.save(Image.new("RGB", (400, 400), "red"), path)
    assert error.value.status == 1 and path.read_bytes() == before and os.listdir(tmp_path) == ["grid.png"]
