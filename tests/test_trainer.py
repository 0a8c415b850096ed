"""A run from a gin file to pictures, weights and logs, as a user starts it."""

from __future__ import annotations

import csv
import json
import math
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganflow
from commands import ganflow as command
from ganflow import loop as loop_module
from ganflow.data.loader import loader
from ganflow.experiment import gin_text
from ganflow.sampling import open_run
from ganflow.trainer import Trainer, dataset
from golden_text import GOLDEN

BASE = GOLDEN / "errors" / "base.gin"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, session_cache: str) -> Path:
    """A finished run of the small pix2pix."""
    path = tmp_path_factory.mktemp("module") / "runs" / "base"
    Trainer(ganflow.load(BASE), path, progress=False).fit()
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(BASE, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def weights(path: Path) -> dict[str, torch.Tensor]:
    saved = torch.load(path / "weights.pt", weights_only=True)["networks"]
    return {f"{n}.{k}": v for n, state in saved.items() for k, v in state.items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def interruptible() -> None:
    """A shell starts what it puts in the background with SIGINT ignored, and so would be what tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


# -- what a run leaves ---------------------------------------------------------------------------------------


def test_the_directory_of_a_run(run: Path) -> None:
    assert {p.name for p in run.iterdir() if not p.name.startswith("events")} == {
        "config.gin", "plan.txt", "step.py", "environment.json", "metrics.csv", "metrics.jsonl", "samples",
        "weights.pt", "probe.txt", "checkpoints",
    }  # fmt: skip
    assert [p.name for p in sorted((run / "samples").iterdir())] == ["000000.png", "000004.png", "000006.png"]
    assert "8×" not in (run / "plan.txt").read_text() and "4×3×16×16" in (run / "plan.txt").read_text()
    compile((run / "step.py").read_text(), "step.py", "exec")
    assert json.loads((run / "environment.json").read_text())["packages"]["torch"] == torch.__version__


def test_rows_of_the_table(run: Path) -> None:
    found = rows(run)
    assert [r["step"] for r in found] == ["1", "3", "4", "6"]
    logged = found[1]
    for tag in ("loss/D_fake", "loss/G_L1", "loss/G", "grad_norm/D", "grad_norm/G", "time/step", "time/data"):
        assert float(logged[tag]) > 0, tag
    assert (float(logged["lr/G"]), float(logged["weight/G_L1"]), float(logged["weight/D_fake"])) == (2e-4, 100.0, 0.5)
    assert float(logged["loss/G"]) == pytest.approx(float(logged["loss/G_GAN"]) + 100 * float(logged["loss/G_L1"]))
    assert 0 < float(found[-1]["metric/l1"]) < 2 and float(found[-1]["metric/psnr"]) > 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 3, 4, 6]


def test_a_logged_loss_is_the_mean_of_its_interval(here: Path) -> None:
    fine, coarse = here / "fine", here / "coarse"
    Trainer(ganflow.load(BASE, ["Trainer.log_every = 1"]), fine, progress=False).fit()
    Trainer(ganflow.load(BASE, ["Trainer.log_every = 3"]), coarse, progress=False).fit()
    each = [float(r["loss/G_L1"]) for r in rows(fine) if r["loss/G_L1"]]
    found = [float(r["loss/G_L1"]) for r in rows(coarse) if r["loss/G_L1"]]
    means = [each[0], (each[1] + each[2]) / 2, sum(each[3:6]) / 3]  # the first iteration has a row of its own
    assert found == pytest.approx(means, rel=1e-6)


def test_an_interrupted_evaluation_takes_no_losses_with_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> dict[str, float]:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop_module.Loop, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Trainer(ganflow.load(BASE, ["Trainer.log_every = 2"]), run_dir="run", progress=False).fit()
    last = rows(Path("run"))[-1]
    assert last["step"] == "4" and last["loss/D_fake"] and not last.get("metric/l1")


def test_times_are_those_of_iterations_that_nobody_looks_at(here: Path) -> None:
    given = ["Trainer.log_every = 1", "Trainer.eval_every = 0", "Trainer.sample_every = 0"]
    Trainer(ganflow.load(BASE, [*given, "Trainer.watch_every = 2"]), here / "half", progress=False).fit()
    assert [bool(r["time/step"]) for r in rows(here / "half")] == [True, False] * 3
    Trainer(ganflow.load(BASE, [*given, "Trainer.watch_every = 1"]), here / "all", progress=False).fit()
    assert not [tag for tag in rows(here / "all")[0] if tag.startswith("time/")]


def test_tensorboard_reads_it(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"images": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    assert {"config", "plan", "source"} <= set(tags["tensors"])
    assert "images/val" in tags["images"] and [e.step for e in events.Images("images/val")] == [0, 4, 6]
    scalars = set(tags["scalars"]) or {t for t in tags["tensors"] if "/" in t}
    assert {"loss/G", "grad_norm/D", "lr/G", "weight/G_L1", "time/step", "metric/psnr"} <= scalars


def test_gradients_of_single_terms_are_logged(here: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    given = ["Trainer.log_every = 2", "Trainer.watch_every = 3", "G/Update.clip_norm = 1e-3"]
    Trainer(ganflow.load(BASE, given), here / "seen", progress=False).fit()
    found = rows(here / "seen")
    for tag, steps in {
        "grad_at/fake_B/G_L1": [1, 2, 4, 6], "grad_at/fake_B/G_GAN": [1, 2, 4, 6], "grad_norm_clipped/G": [1, 2, 4, 6],
        "grad_share/G/G_L1": [3, 6], "grad_term/D/D_fake": [3, 6], "grad_cosine/G/G_GAN,G_L1": [3, 6],
    }.items():  # fmt: skip
        assert [int(r["step"]) for r in found if r[tag]] == steps, tag
    assert float(found[0]["grad_norm_clipped/G"]) == pytest.approx(1e-3, rel=1e-3) != float(found[0]["grad_norm/G"])
    events = EventAccumulator(str(here / "seen"), size_guidance={"tensors": 0})
    events.Reload()
    shown = events.Tensors("gradients")
    assert [e.step for e in shown] == [3, 6] and b"together" in shown[0].tensor_proto.string_val[0]
    Trainer(ganflow.load(BASE, ["Trainer.cut_norms = False"]), here / "unseen", progress=False).fit()
    assert not [tag for tag in rows(here / "unseen")[0] if tag.startswith(("grad_at", "grad_share"))]


def test_a_grid_shows_the_same_inputs_in_three_columns(run: Path) -> None:
    first, last = (pixels(run / "samples" / f"{n}.png") for n in ("000000", "000006"))
    width = (first.shape[1] - 4) // 3
    columns = [(slice(None), slice(4 + i * width, (i + 1) * width)) for i in range(3)]
    assert (first[columns[0]] == last[columns[0]]).all() and (first[columns[2]] == last[columns[2]]).all()
    assert (first[columns[1]] != last[columns[1]]).any(), "what G makes has changed"


def test_metrics_are_those_of_the_whole_split(run: Path) -> None:
    opened = open_run(run, device="cpu")
    data = dataset(opened.experiment)
    errors, count = 0.0, 0
    torch.manual_seed(opened.settings.seed)
    opened.step.networks["G"].train()
    with torch.no_grad():
        for batch in loader(data, "val", batch_size=4):
            fake = opened.step.networks["G"](batch["real_A"])
            errors += float((fake - batch["real_B"]).square().double().sum())
            count += fake.numel()
    psnr = 10 * math.log10(4 / (errors / count))
    assert float(rows(run)[-1]["metric/psnr"]) == pytest.approx(psnr, abs=1e-3)


# -- the same run again --------------------------------------------------------------------------------------


def test_the_flattened_config_reproduces_the_run(run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = command(capsys, "run", run / "config.gin", "--name", "again")
    assert found.status == 0, found.err
    assert same(weights(run), weights(here / "runs" / "again"))
    assert (run / "config.gin").read_text() == (here / "runs" / "again" / "config.gin").read_text()


def test_looking_does_not_change_training(run: Path, here: Path) -> None:
    often = ["Trainer.sample_every = 1", "Trainer.eval_every = 1", "Trainer.log_every = 1", "Trainer.workers = 1"]
    never = ["Trainer.sample_every = 0", "Trainer.eval_every = 0", "Trainer.log_every = 0", "Trainer.metrics = {}"]
    for name, overrides in ("often", often), ("never", never):
        Trainer(ganflow.load(BASE, overrides), here / name, progress=False).fit()
        assert same(weights(run), weights(here / name)), name


def test_a_run_is_the_steps_of_trainstep(run: Path) -> None:
    """The loop adds nothing to the step: data in the loader's order, the seed's initialisation and dropout."""
    experiment = ganflow.load(BASE)
    torch.manual_seed(0)
    batches = loader(dataset(experiment), "train", batch_size=4, shuffle=True, seed=0, drop_last=True)
    step = ganflow.TrainStep(experiment, batches)
    for _ in range(6):
        step()
    assert same(weights(run), {f"{n}.{k}": v for n, m in step.networks.items() for k, v in m.state_dict().items()})


def test_another_seed_is_another_run(run: Path, here: Path) -> None:
    Trainer(ganflow.load(BASE, ["Trainer.seed = 1"]), here / "other", progress=False).fit()
    assert not same(weights(run), weights(here / "other"))


# -- the loop ------------------------------------------------------------------------------------------------


def test_the_host_waits_only_where_it_reports(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two reports nothing asks a tensor for its value."""
    asked: list[int] = []
    step_now = {"n": 0}
    iteration = loop_module.Loop.iteration

    def counted(self: Any) -> None:
        step_now["n"] = self.step.counters.step + 1
        iteration(self)
        step_now["n"] = 0

    monkeypatch.setattr(loop_module.Loop, "iteration", counted)
    for name in ("item", "tolist", "__float__", "__bool__", "__int__", "numpy"):
        original = getattr(torch.Tensor, name)

        def ask(self: torch.Tensor, *args: Any, original: Any = original) -> Any:
            asked.append(step_now["n"])
            return original(self, *args)

        monkeypatch.setattr(torch.Tensor, name, ask)
    quiet = ["Trainer.sample_every = 0", "Trainer.eval_every = 0", "Trainer.checkpoint_every = 0"]
    Trainer(ganflow.load(BASE, quiet), here / "run", progress=False).fit()
    assert {n for n in asked if n} == {1, 3, 6}


def test_epochs_and_steps_whichever_comes_first(here: Path) -> None:
    whole = len(dataset(ganflow.load(BASE)).open("train")) // 512
    for name, overrides, steps in (
        ("epochs", ["Trainer.steps = None", "Trainer.epochs = 2"], 2 * whole),
        ("steps", ["Trainer.steps = 3", "Trainer.epochs = 2"], 3),
    ):
        overrides = [*overrides, "Trainer.batch_size = 512", "Trainer.metrics = {}", "Trainer.sample_every = 0"]
        result = Trainer(ganflow.load(BASE, overrides), here / name, progress=False).fit()
        assert result.steps == steps


def test_a_moving_average_stands_in_when_it_is_told_to(here: Path) -> None:
    """With beta 1 the average stays where G began, and so does what is shown, though G moves."""
    average = ["G_ema/Network.ema_of = 'G'", "G_ema/Network.ema_beta = 1.0", "G_ema/Network.eval_mode = 'train'"]
    stands_in = [*average, "Trainer.eval_networks = {'G': 'G_ema'}"]
    shown = {}
    for name, overrides in ("average", average), ("stands-in", stands_in):
        Trainer(ganflow.load(BASE, overrides), here / name, progress=False).fit()
        shown[name] = [pixels(here / name / "samples" / f"{n}.png") for n in ("000000", "000006")]
    assert (shown["average"][0] != shown["average"][1]).any()
    assert (shown["stands-in"][0] == shown["stands-in"][1]).all()
    assert any(k.startswith("G_ema.") for k in weights(here / "stands-in"))


def test_what_is_not_finite_is_said_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    infinite = "G_L1 = 'l1(fake_B, real_B) * (1e38 * 1e38 if step > 1 else 1)'"
    found = command(capsys, "run", "base.gin", "--set", infinite, "--set", "Trainer.log_every = 1",
                    "--set", "Update.nan_to_num = True")  # fmt: skip
    assert found.status == 0 and found.out.count("warning: ") == 1 and "not finite at step" in found.out


def test_data_and_networks_of_ones_own(here: Path) -> None:
    class Pairs:
        def __len__(self) -> int:
            return 8

        def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
            generator = torch.Generator().manual_seed(i)
            return {n: torch.rand(3, 16, 16, generator=generator) for n in ("real_A", "real_B")}

    G = torch.nn.Conv2d(3, 3, 1)
    before = G.weight.detach().clone()
    Trainer(ganflow.load(BASE), here / "run", data=Pairs(), networks={"G": G}, progress=False).fit()
    assert not torch.equal(G.weight, before)
    assert torch.equal(weights(here / "run")["G.weight"], G.weight)


# -- the command ---------------------------------------------------------------------------------------------


def test_in_a_pipe_progress_is_plain_lines(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = command(capsys, "run", "base.gin")
    lines = found.out.splitlines()
    assert found.status == 0 and "\x1b" not in found.out
    assert [line.split("  ")[0] for line in lines if line.startswith("step")] == ["step 1/6", "step 3/6", "step 6/6"]
    assert lines[1].startswith("reproducible bit for bit with torch ")
    assert "it/s" in lines[2] and "eta" in lines[2] and "G_L1 0." in lines[2]
    assert lines[-5].startswith("runs/base: 6 iterations in 0:0")
    ending = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[-4:]}
    assert ending["pictures"] == "runs/base/samples/000006.png" and (here / ending["pictures"]).is_file()
    assert ending["metrics"].startswith("l1 0.") and ending["look"] == "ganflow tensorboard runs/base"


def test_the_next_run_has_a_name_of_its_own(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ("--set", "Trainer.steps = 1", "--set", "Trainer.metrics = {}")
    for _ in range(2):
        assert command(capsys, "run", "base.gin", *short).status == 0
    assert sorted(p.name for p in (here / "runs").iterdir()) == ["base", "base-2"]
    assert command(capsys, "run", "base.gin", *short, "--name", "base-2").status == 2
    (here / "runs" / "base-2" / "mark").touch()
    assert command(capsys, "run", "base.gin", *short, "--name", "base-2", "--overwrite").status == 0
    assert not (here / "runs" / "base-2" / "mark").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_keeps_its_weights(here: Path, number: int, status: int) -> None:
    arguments = [sys.executable, "-u", "-m", "ganflow", "run", "base.gin", "--set", "Trainer.steps = 100000"]
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith("step 3/"):
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status and "Traceback" not in err
    assert "interrupted at step" in out and "to go on with it: ganflow resume runs/base" in out
    saved = torch.load(here / "runs" / "base" / "weights.pt", weights_only=True)["step"]
    assert (
        saved >= 3
        and f"interrupted at step {saved}\n" in out
        and (here / f"runs/base/checkpoints/{saved:06}.pt").exists()
    )


def test_help_and_import_leave_torch_alone() -> None:
    code = "import sys, ganflow, ganflow.cli; print(sorted({'torch', 'gin', 'h5py', 'tensorboard'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_plan_source_and_check(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = command(capsys, "plan", "base.gin", "--set", "lambda_A = 7")
    assert found.status == 0 and "7 * G_L1" in found.out and "✂ fake_B" in found.out and "4×3×16×16" in found.out
    assert "4×3" not in command(capsys, "plan", "base.gin", "--no-shapes").out
    source = command(capsys, "source", "base.gin")
    assert source.out == ganflow.schedule(ganflow.load("base.gin")).source
    warned = command(capsys, "plan", "base.gin", "--set", "DD/Adam.lr = 1e-4")
    assert warned.status == 0 and "`DD/Adam.lr` is never used" in warned.err


def test_two_files_compose(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "ablation.gin").write_text("lambda_A = 5.0\n")
    assert "5.0 * G_L1" in command(capsys, "plan", "base.gin", "ablation.gin").out


def test_data_says_what_there_is_and_shows_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = command(capsys, "data", "base.gin", "--preview", "out.png", "--split", "val", "--count", "3")
    assert found.status == 0 and "train" in found.out and "real_A  3×16×16 float32  (relief)" in found.out
    assert pixels("out.png").shape[1] > 100
    wrong = command(capsys, "data", "mars")
    assert wrong.status == 2 and "datasets: earth" in wrong.err


# -- use -----------------------------------------------------------------------------------------------------


def test_a_folder_is_translated(run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "photos").mkdir()
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(photo).save(here / "photos" / "a.png")
    Image.fromarray(photo).resize((40, 30)).save(here / "photos" / "b.jpg")
    found = command(capsys, "sample", run, "photos", "--out", "made")
    assert found.status == 0 and found.out == "2 images in made\n"
    assert sorted(p.name for p in (here / "made").iterdir()) == ["a.png", "b.png"]
    opened = open_run(run, device="cpu")
    torch.manual_seed(0)
    with torch.no_grad():
        image = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1
        made = opened.step.networks["G"].train()(image)[0].permute(1, 2, 0)
    shown = pixels(here / "made" / "a.png") / 127.5 - 1
    assert np.abs(shown - made.numpy()).max() < 1 / 127


def test_the_test_split_is_sampled(run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = command(capsys, "sample", run, "--out", "made", "--count", "3")
    assert found.status == 0 and "l1 0." in found.out and "3 images of split test" in found.out
    assert sorted(p.name for p in (here / "made").iterdir()) == ["0000.png", "0001.png", "0002.png", "grid.png"]
    assert pixels("made/0000.png").shape == (16, 16, 3)


def test_what_cannot_be_sampled(run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "photos").mkdir()
    for arguments, said in (
        (("nowhere",), "nowhere does not exist"),
        ((run, "photos"), "has no images"),
        ((run, "missing"), "cannot be read"),
        ((run, "--value", "fake_C"), "the experiment defines no `fake_C`"),
        ((run, "photos", "--value", "G_L1"), "exactly one image"),
        ((run, "--split", "holdout"), "no split `holdout`"),
    ):
        found = command(capsys, "sample", *arguments)
        assert found.status == 2 and said in found.err, found.err
    broken = here / "broken"
    shutil.copytree(run, broken)
    (broken / "weights.pt").write_bytes(b"PK not a zip")
    found = command(capsys, "sample", broken)
    assert found.status == 2 and "cannot be read" in found.err
    (broken / "weights.pt").unlink()
    assert "there are no weights" in command(capsys, "sample", broken).err


@pytest.mark.slow
def test_tensorboard_starts_on_loopback(run: Path) -> None:
    arguments = [sys.executable, "-u", "-m", "ganflow", "tensorboard", str(run), "--port", "0"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, preexec_fn=interruptible)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        assert address.startswith("http://127.0.0.1:")
        for _ in range(120):
            try:
                page = urllib.request.urlopen(address, timeout=5).read()
                break
            except OSError:
                time.sleep(0.5)
        assert b"TensorBoard" in page or b"tensorboard" in page
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130


def test_config_text_survives_what_people_write(here: Path) -> None:
    overrides = ["G/Update.minimize = '''G_GAN  # a comment\\n + lambda_A * G_L1'''"]
    experiment = ganflow.load(BASE, overrides)
    assert str(ganflow.schedule(ganflow.loads(gin_text(experiment), name="base"))) == str(ganflow.schedule(experiment))


# -- code of one's own, weights of another run ----------------------------------------------------------------

MODULE = """
import gin, torch

@gin.configurable
class Own{n}(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 3, {n})

    def forward(self, x):
        return self.layer(x).tanh()
"""


def test_a_run_with_modules_beside_its_gin_file_is_used_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own_module_a.py").write_text(MODULE.format(n=1))
    (tmp_path / "mine" / "own.gin").write_text(
        f"include '{BASE}'\nimport own_module_a\nG/Network.module = @Own1()\nTrainer.metrics = {{}}\n"
    )
    monkeypatch.chdir(tmp_path)
    assert command(capsys, "run", "mine/own.gin").status == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.delitem(sys.modules, "own_module_a")
    # a process of its own: gin knows each configurable once
    for words in (["sample", "../runs/own", "--count", "2"], ["check", "../runs/own/config.gin"]):
        found = subprocess.run([sys.executable, "-m", "ganflow", *words], capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr


def test_a_module_of_the_same_name_is_not_silently_another(tmp_path: Path) -> None:
    for folder, n in (("a", 1), ("b", 3)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own_module_b.py").write_text(MODULE.format(n=n))
        (tmp_path / folder / "own.gin").write_text(f"include '{BASE}'\nimport own_module_b\n")
    ganflow.load(tmp_path / "a" / "own.gin")
    ganflow.load(tmp_path / "a" / "own.gin")
    with pytest.raises(ganflow.GanflowError, match="another module of this name is loaded already"):
        ganflow.load(tmp_path / "b" / "own.gin")


def test_images_are_never_written_over_those_they_are_made_of(
    run: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "in").mkdir()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(here / "in" / "a.png")
    before = (here / "in" / "a.png").read_bytes()
    found = command(capsys, "sample", run, "in", "--out", "./in")
    assert found.status == 2 and "would be overwritten" in found.err
    assert (here / "in" / "a.png").read_bytes() == before
    scalar = command(capsys, "sample", run, "--value", "G_L1", "--out", "x")
    assert scalar.status == 2 and "`G_L1` is no image" in scalar.err


def test_a_network_starts_from_the_weights_of_another_run(
    run: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = ganflow.load(BASE, [f"G/Network.load = '{run / 'weights.pt'}'"])
    loaded = {f"G.{k}": v for k, v in ganflow.TrainStep(experiment).networks["G"].state_dict().items()}
    assert all(torch.equal(v, weights(run)[k]) for k, v in loaded.items())
    (here / "junk.pt").write_bytes(b"no weights")
    for value, said in (("'none.pt'", "no such weights file"), ("'junk.pt'", "cannot be used"), ("3", "in quotes")):
        found = command(capsys, "run", "base.gin", "--set", f"G/Network.load = {value}")
        assert found.status == 2 and said in found.err, found.err


@pytest.mark.parametrize("option", ["eval_mode = 'trian'", "mode = 'evall'", "trainable = 'no'"])
def test_a_network_option_that_does_not_exist(option: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = command(capsys, "check", "base.gin", "--set", f"G/Network.{option}")
    assert found.status == 2 and "it takes one of" in found.err


def test_an_op_of_ones_own_with_a_built_in_name_is_a_clash(tmp_path: Path) -> None:
    """In a process of its own: gin knows each configurable once, and for all tests."""
    (tmp_path / "own_ops.py").write_text("import gin\n\n@gin.configurable\ndef gan(pred, real):\n    return pred\n")
    (tmp_path / "own.gin").write_text(f"include '{BASE}'\nimport own_ops\n")
    words = [sys.executable, "-m", "ganflow", "check", "own.gin"]
    found = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (
        found.returncode == 2
        and "error[name-clash]: `gan` is both an op of the library and `own_ops.gan`" in found.stderr
    )
