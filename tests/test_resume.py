"""A run that is interrupted and goes on: the same bits, the same experiment, and what is said where it is not."""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

import ganflow
from commands import ganflow as command
from ganflow import loop as loop_module
from ganflow import rundir
from ganflow.errors import GanflowError
from ganflow.store import Store
from ganflow.trainer import Trainer
from ganflow.verify_resume import differences
from golden_text import GOLDEN

BASE = GOLDEN / "errors" / "base.gin"
FEW = ["Trainer.checkpoint_every = 2", "Trainer.keep_last = 10"]

TOY = """
    import resume_toy

    G/Network.module = @ResumeNet()
    G/ResumeNet.inputs = 3
    D/Network.module = @ResumeNet()
    G_ema/Network.ema_of = 'G'
    G_ema/Network.ema_beta = '0.5 + counters_free'
    counters_free = 0.25
    Network.optimizer = @Adam
    Adam.lr = @linear_decay()
    linear_decay.start = 0.01
    linear_decay.constant = 1
    linear_decay.decay = 3

    fake = 'G(randn(batch_size, 3))'
    level/State.init = 0.0
    level/State.next = '0.9 * level + 0.1 * mean(square(D(x)))'
    D/Update.minimize = 'gan(D(pool(fake, 6)), False) + gan(D(x), True) + 0 * level'
    D/Update.repeat = 2
    G/Update.minimize = 'gan(D(fake), True) * (1 + 0.1 * level)'
    G/Update.every = 3
    Schedule.updates = ['D', 'G']
    Trainer.data = @toy_points()
    Trainer.batch_size = 4
    Trainer.steps = 11
    Trainer.log_every = 4
    Trainer.watch_every = 5
    Trainer.eval_every = 3
    Trainer.metrics = {'size': 'mean(square(G_ema(randn(batch_size, 3))))'}
    Trainer.show = []
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gin file with an EMA, a pool, a state, dropout, batch norm, a random dataset, decay and n_critic."""
    (tmp_path / "toy.gin").write_text(textwrap.dedent(TOY))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "toy.gin"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(BASE, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(run: str | Path, config: Path = BASE, *changes: str, **options: Any) -> Path:
    Trainer(ganflow.load(config, [*FEW, *changes]), run, progress=False, **options).fit()
    return Path(run)


def cut(run: Path, step: int, to: str | Path = "") -> Path:
    """A copy of a run as it was left by a process that was killed some time after this checkpoint."""
    copy = Path(shutil.copytree(run, to or run.with_name(f"{run.name}-{step}")))
    for later in Store(copy / "checkpoints").steps():
        if later > step:
            Store(copy / "checkpoints").remove(later)
    return copy


def steps(run: str | Path) -> tuple[int, ...]:
    return Store(Path(run) / "checkpoints").steps()


# -- the same bits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_every_checkpoint_goes_on_to_the_same_bits(toy: Path, workers: int) -> None:
    more = [f"Trainer.workers = {workers}"]
    straight = trained("straight", toy, *more)
    there = steps(straight)  # of checkpoints that come quicker than they can be written, some are left out
    assert there[0] == 2 and there[-1] == 11 and len(there) > 2
    for step in there[:-1] if not workers else there[1:2]:
        resumed = cut(straight, step)
        trained(resumed, toy, *more, resume=True)
        assert list(differences(straight, resumed)) == []


def test_images_metrics_and_pictures_go_on_too(here: Path) -> None:
    straight = trained("runs/straight")
    for step in (2, 4):
        resumed = cut(straight, step)
        trained(resumed, resume=True)
        assert list(differences(straight, resumed)) == []
        assert (resumed / "metrics.csv").read_text().count("\n") == (straight / "metrics.csv").read_text().count("\n")


def test_a_difference_would_be_seen(here: Path) -> None:
    straight, other = trained("straight"), trained("other", BASE, "Trainer.seed = 1")
    found = list(differences(straight, other))
    assert found[0].startswith("step 1: loss/") and any("networks.G" in line for line in found)
    assert any("samples/000000.png" in line for line in found) and any("TensorBoard's loss/D" in line for line in found)


def test_checkpoints_do_not_change_training(here: Path) -> None:
    with_many = trained("many", BASE, "Trainer.checkpoint_every = 1")
    without = trained("none", BASE, "Trainer.checkpoint_every = 0")
    found = [line for line in differences(with_many, without) if "config" not in line]
    assert steps(without) == (6,) and found == []


def test_an_interrupted_run_goes_on_from_the_very_iteration(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = trained("straight", BASE, "Trainer.checkpoint_every = 0")
    iteration = loop_module.Loop.iteration

    def signalled(loop: Any) -> None:
        iteration(loop)
        if loop.step.counters.step == 5:
            import signal

            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop_module.Loop, "iteration", signalled)
    with pytest.raises(KeyboardInterrupt):
        trained("cut", BASE, "Trainer.checkpoint_every = 0")
    assert steps("cut") == (5,)
    monkeypatch.undo()
    monkeypatch.chdir(here)
    trained("cut", BASE, "Trainer.checkpoint_every = 0", resume=True)
    assert list(differences(straight, Path("cut"))) == []


def test_a_run_without_a_checkpoint_begins_anew_in_its_place(here: Path) -> None:
    straight = trained("straight")
    resumed = cut(straight, 0)
    (resumed / "weights.pt").unlink()  # it comes with the first checkpoint
    trained(resumed, resume=True)
    assert list(differences(straight, resumed)) == [] and steps(resumed) == steps(straight)


# -- the command line ------------------------------------------------------------------------------------------


def test_run_resume_begins_goes_on_and_ends(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = [w for line in FEW for w in ("--set", line)]
    first = command(capsys, "run", "base.gin", "--resume", *few)
    assert first.status == 0 and "6 iterations" in first.out
    cut(Path("runs/base"), 4, "runs/cut")
    shutil.rmtree("runs/base")
    Path("runs/cut").rename("runs/base")
    second = command(capsys, "run", "base.gin", "--resume", *few)
    assert second.status == 0 and "runs/base: goes on after step 4 of 6" in second.out
    third = command(capsys, "run", "base.gin", "--resume", *few)
    assert third.status == 0 and "runs/base is done: it has had 6 iterations" in third.out
    rows = [json.loads(line)["step"] for line in Path("runs/base/metrics.jsonl").read_text().splitlines()]
    assert rows == [1, 3, 4, 6]


def test_resume_needs_no_gin_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    straight = trained("runs/straight")
    cut(straight, 2, "elsewhere")
    Path("base.gin").unlink()
    found = command(capsys, "resume", "elsewhere")
    assert found.status == 0 and "elsewhere: goes on after step 2 of 6" in found.out
    assert list(differences(straight, Path("elsewhere"))) == []
    assert not list(Path("elsewhere").glob("*-until-*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resume", "nothing"], "not-a-run"),
        (["resume", "."], "not-a-run"),
        (["run", "base.gin", "--resume", "--overwrite"], "options"),
        (["run", "base.gin", "--allow", "lambda_A"], "options"),
        (["run", "base.gin", "--checkpoint", "4"], "options"),
        (["resume", "runs/done", "--checkpoint", "3"], "no-checkpoint"),
        (["resume", "runs/done", "--checkpoint", "4"], "options"),
        (["resume", "runs/done", "--fork", ".."], "name"),
        (["resume", "runs/done", "--fork", "a/b"], "name"),
        (["resume", "runs/done", "--fork", "done"], "run-exists"),
        (["run", "base.gin", "--name", ".."], "name"),
    ],
)
def test_what_cannot_be_resumed(
    arguments: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str], done: Path
) -> None:
    shutil.copytree(done, "runs/done")
    before = {p: p.read_bytes() for p in Path("runs").rglob("*") if p.is_file()}
    found = command(capsys, *arguments)
    assert found.status == 2 and f"error[{said}]" in found.err
    assert {p: p.read_bytes() for p in Path("runs").rglob("*") if p.is_file()} == before


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, session_cache: str) -> Path:
    return trained(tmp_path_factory.mktemp("done") / "done")


def test_a_damaged_checkpoint_is_gone_back_from(here: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for how in ("flipped", "shorter"):
        shutil.copytree(done, f"runs/{how}")
        damaged = Path(f"runs/{how}/checkpoints/000006.pt")
        data = bytearray(damaged.read_bytes())
        data[len(data) // 2] ^= 1
        damaged.write_bytes(data if how == "flipped" else data[:-100])
        found = command(capsys, "resume", f"runs/{how}")
        assert found.status == 0 and f"{damaged} is damaged" in found.err + found.out
        assert "going on from step 4, the newest checkpoint that is whole" in found.err + found.out
        assert list(differences(done, Path(f"runs/{how}"))) == []


def test_without_a_whole_checkpoint_nothing_is_done(here: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(done, "runs/base")
    for path in Path("runs/base/checkpoints").glob("*.pt"):
        path.write_bytes(b"x")
    before = {p: p.read_bytes() for p in Path("runs").rglob("*") if p.is_file()}
    found = command(capsys, "resume", "runs/base")
    assert found.status == 2 and "error[bad-checkpoint]" in found.err and "--overwrite" in found.err
    assert {p: p.read_bytes() for p in Path("runs").rglob("*") if p.is_file()} == before


# -- another experiment ----------------------------------------------------------------------------------------


def test_another_experiment_is_refused_and_told(here: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(done, "runs/base")
    before = {p: p.read_bytes() for p in Path("runs").rglob("*") if p.is_file()}
    found = command(capsys, "resume", "runs/base", "--set", "lambda_A = 10", "--set", "Trainer.steps = 8")
    assert found.status == 2 and "error[other-experiment]" in found.err
    assert "lambda_A  100 → 10   weight of G_L1 in update G" in found.err and "steps  6 → 8" in found.err
    assert "--allow lambda_A --allow Trainer.steps" in found.err and "--fork base-2" in found.err
    partly = command(
        capsys, "resume", "runs/base", "--set", "lambda_A = 10", "--set", "Trainer.steps = 8", "--allow", "steps"
    )
    assert partly.status == 2 and "--allow lambda_A\n" in partly.err
    wrong = command(capsys, "resume", "runs/base", "--set", "lambda_A = 10", "--allow", "lamda_A")
    assert wrong.status == 2 and "error[allow]" in wrong.err and "lambda_A" in wrong.err
    assert {p: p.read_bytes() for p in Path("runs").rglob("*") if p.is_file()} == before


def test_longer_training_is_allowed_by_name(here: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(done, "runs/base")
    found = command(capsys, "resume", "runs/base", "--set", "Trainer.steps = 8", "--allow", "Trainer.steps")
    assert found.status == 0 and "goes on after step 6 of 8" in found.out
    assert "Trainer.steps = 8" in Path("runs/base/config.gin").read_text()
    assert "Trainer.steps = 6" in Path("runs/base/config-until-000006.gin").read_text()
    again = command(capsys, "resume", "runs/base")  # is now that experiment
    assert again.status == 0 and "is done" in again.out
    straight = trained("runs/straight", BASE, "Trainer.steps = 8", "Trainer.log_every = 1")
    later = torch.load("runs/base/weights.pt", weights_only=True)["networks"]["G"]
    expected = torch.load(straight / "weights.pt", weights_only=True)["networks"]["G"]
    assert all(torch.equal(later[k], expected[k]) for k in expected)


def test_another_learning_rate_is_the_one_that_trains(
    here: Path, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(done, "runs/base")
    given = ["--set", "Adam.lr = 0.125", "--set", "Trainer.steps = 7", "--set", "Trainer.log_every = 1"]
    allowed = [w for name in ("Adam.lr", "steps", "log_every") for w in ("--allow", name)]
    refused = command(capsys, "resume", "runs/base", *given)
    names = refused.err.partition("go on with it here: ")[2].partition("\n")[0].split()
    assert names.count("--allow") == len(names) / 2 >= 3, (refused.err, allowed)
    found = command(capsys, "resume", "runs/base", *given, *names)
    assert found.status == 0, found.err
    rows = [json.loads(line) for line in Path("runs/base/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["lr/G"] == 0.125 and rows[-2]["lr/G"] == 2e-4


def test_a_fork_leaves_the_old_run_as_it_is(here: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(done, "runs/base")
    before = {p: p.read_bytes() for p in Path("runs").rglob("*") if p.is_file()}
    given = ["--checkpoint", "4", "--set", "lambda_A = 10"]
    found = command(capsys, "resume", "runs/base", "--fork", "less", *given)
    assert (
        found.status == 0 and "lambda_A 100 → 10" in found.out and "runs/less: goes on after step 4 of 6" in found.out
    )
    assert {p: p.read_bytes() for p in before} == before
    rows, old = (
        [json.loads(line) for line in Path(f"runs/{n}/metrics.jsonl").read_text().splitlines()]
        for n in ("less", "base")
    )
    assert [r["step"] for r in rows] == [1, 3, 4, 6] and rows[:3] == old[:3]
    assert rows[3]["weight/G_L1"] == 10 and old[3]["weight/G_L1"] == 100
    assert json.loads(Path("runs/less/environment.json").read_text())["forked_at"] == 4
    assert "lambda_A = 10" in Path("runs/less/config.gin").read_text()


def test_code_that_changed_under_the_same_config_is_noticed(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained("run", toy, "Trainer.steps = 4")
    plan = run / "plan.txt"
    plan.write_text(plan.read_text().replace("update G ", "update H "))
    with pytest.raises(GanflowError) as found:
        trained(run, toy, "Trainer.steps = 4", resume=True)
    assert found.value.code == "other-experiment" and "update H" in found.value.message
    assert "--allow plan" in found.value.hint
    trained(run, toy, "Trainer.steps = 4", resume=True, allow=["plan"])


def test_an_edited_config_is_noticed(here: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = cut(done, 4, "run")
    with open(run / "config.gin", "a") as file:
        file.write("Adam.betas = (0.1, 0.5)\n")
    found = command(capsys, "resume", "run")
    assert found.status == 2 and "config.gin was edited since" in found.err and "+Adam.betas = (0.1, 0.5)" in found.err
    assert command(capsys, "resume", "run", "--allow", "config").status == 0
    assert command(capsys, "resume", "run").status == 0  # is now that experiment


def test_a_plan_with_notes_that_name_lines_is_the_same_plan(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["Trainer.steps = 4", "D/Network.module = @Reading()"]
    straight = trained("straight", toy, *changes)
    assert "toy.gin" in (straight / "plan.txt").read_text()
    resumed = cut(straight, 2)
    assert command(capsys, "resume", str(resumed)).status == 0
    assert list(differences(straight, resumed)) == []


@pytest.mark.parametrize("gone", ["checkpoints/000006.json", "checkpoints/*.json", "checkpoints"])
def test_checkpoints_that_were_deleted(here: Path, done: Path, capsys: pytest.CaptureFixture[str], gone: str) -> None:
    run = Path(shutil.copytree(done, "run"))
    for path in list(run.glob(gone)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    found = command(capsys, "resume", "run")
    if gone.endswith("6.json"):
        assert found.status == 0 and "000006.pt is not used: its .json" in found.out + found.err
        assert list(differences(done, run)) == []
    else:
        assert found.status == 2 and "error[no-checkpoint]" in found.err
        assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("change", [["Network.optimizer = @RMSprop", "RMSprop.lr = 0.01"], ["Adam.amsgrad = True"]])
def test_another_kind_of_optimizer_begins_without_a_memory(
    here: Path, done: Path, capsys: pytest.CaptureFixture[str], change: list[str]
) -> None:
    shutil.copytree(done, "runs/base")
    given = [w for line in [*change, "Trainer.steps = 8"] for w in ("--set", line)]
    found = command(capsys, "resume", "runs/base", "--fork", "other", *given)
    assert found.status == 0 and "the optimizer of G is of another kind now" in found.out
    assert command(capsys, "resume", "runs/other").status == 0


def test_a_run_of_another_device_is_said(here: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = cut(done, 4, "run")
    store = Store(run / "checkpoints")
    payload = store.read(4)
    payload["made_by"]["device"] = "cuda"
    store.write(4, payload)
    found = command(capsys, "resume", "run")
    assert found.status == 0 and "device was cuda and is cpu" in found.out + found.err


def test_networks_that_change_while_they_train(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    straight = trained("straight", toy, "Trainer.steps = 6", "D/Network.module = @Growing()")
    resumed = cut(straight, 4)
    trained(resumed, toy, "Trainer.steps = 6", "D/Network.module = @Growing()", resume=True)
    assert list(differences(straight, resumed)) == []
    late = [
        "--set",
        "Trainer.steps = 6",
        "--set",
        "D/Network.module = @Late()",
        "--set",
        "Trainer.checkpoint_every = 2",
    ]
    found = command(capsys, "run", "toy.gin", *late)
    assert found.status == 0 and "cannot be resumed" in found.out and "D.layer.weight" in found.out


def test_a_buffer_that_cannot_be_written_stands_in_nobodys_way(toy: Path) -> None:
    changes = ["Trainer.steps = 4", "D/Network.module = @Repeating()"]
    straight = trained("a run/straight", toy, *changes)
    resumed = cut(straight, 2)
    trained(resumed, toy, *changes, resume=True)
    assert list(differences(straight, resumed)) == []


def test_the_command_that_goes_on_can_be_pasted(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop_module.Loop, "finish", interrupted)
    found = command(capsys, "run", "base.gin", "--runs", "my runs", "--set", "Trainer.checkpoint_every = 2")
    assert found.status == 130 and "ganflow resume 'my runs/base'" in found.out


def test_what_cannot_be_saved_is_found_before_the_first_iteration(toy: Path) -> None:
    with pytest.raises(GanflowError) as found:
        trained("run", toy, "D/Network.module = @Unsaveable()")
    assert found.value.code == "bad-state" and "network D" in found.value.message
    assert steps("run") == () and len((Path("run") / "metrics.jsonl").read_text()) == 0


def test_another_network_does_not_fit(here: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(done, "runs/base")
    before = {p: p.read_bytes() for p in Path("runs").rglob("*") if p.is_file()}
    found = command(capsys, "resume", "runs/base", "--fork", "wide", "--set", "UNetGenerator.base = 8")
    assert found.status == 2 and "error[other-state]" in found.err and "network G" in found.err
    assert {p: p.read_bytes() for p in Path("runs").rglob("*") if p.is_file()} == before


def test_two_processes_do_not_share_a_run(here: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(done, "runs/base")
    with rundir.in_use("runs/base"):
        for arguments in (
            ["resume", "runs/base"],
            ["run", "base.gin", "--resume"],
            ["run", "base.gin", "--name", "base", "--overwrite"],
        ):
            found = command(capsys, *arguments)
            assert found.status == 2 and "still running" in found.err, arguments


# -- which checkpoints there are -------------------------------------------------------------------------------


def test_the_last_ones_and_the_best_are_kept(here: Path) -> None:
    given = ["Trainer.steps = 10", "Trainer.eval_every = 1", "Trainer.checkpoint_every = 3", "Trainer.keep_last = 2"]
    run = trained("run", BASE, *given, "Trainer.keep_best = 'max backwards'",
                  "Trainer.metrics = {'backwards': '0 - mean(square(fake_B - real_B))'}")  # fmt: skip
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    values = {r["step"]: r["metric/backwards"] for r in rows if "metric/backwards" in r}
    best = max(values, key=values.__getitem__)
    assert set(steps(run)) <= {9, 10, best} | {best} and best in steps(run) and len(steps(run)) <= 3
    worst = trained("worst", BASE, *given, "Trainer.keep_best = 'min backwards'",
                    "Trainer.metrics = {'backwards': '0 - mean(square(fake_B - real_B))'}")  # fmt: skip
    assert min(values, key=values.__getitem__) in steps(worst) and steps(worst) != steps(run)


@pytest.mark.parametrize(
    ("given", "allowed"), [("'nothing'", "l1, psnr"), ("3", "l1, psnr"), ("'best l1'", "l1, psnr")]
)
def test_a_best_that_is_no_metric(given: str, allowed: str) -> None:
    with pytest.raises(GanflowError) as found:
        Trainer(ganflow.load(BASE, [f"Trainer.keep_best = {given}"]))
    assert found.value.code == "type" and allowed in found.value.message


def test_of_ones_own_metric_one_says_what_is_better() -> None:
    with pytest.raises(GanflowError) as found:
        Trainer(ganflow.load(BASE, ["Trainer.metrics = {'mine': 'mean(fake_B)'}", "Trainer.keep_best = 'mine'"]))
    assert "'max mine' or 'min mine'" in found.value.message
    assert Trainer(ganflow.load(BASE, ["Trainer.keep_best = 'psnr'"])).settings.keep_best.larger  # type: ignore[union-attr]
    assert not Trainer(ganflow.load(BASE, ["Trainer.keep_best = 'l1'"])).settings.keep_best.larger  # type: ignore[union-attr]


def test_a_checkpoint_is_sampled(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained("run", BASE, "Trainer.keep_best = 'max l1'")  # the worst one, so that it is not the last
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    values = {r["step"]: r["metric/l1"] for r in rows if "metric/l1" in r}
    assert values[4] > values[6]
    for which, step in (("best", 4), ("4", 4), ("last", 6), ("6", 6)):
        found = command(capsys, "sample", "run", "--split", "val", "--out", which, "--checkpoint", which)
        assert found.status == 0 and f"l1 {values[step]:.4g}" in found.out
    for which, code in (("5", "no-checkpoint"), ("first", "options")):
        assert f"error[{code}]" in command(capsys, "sample", "run", "--checkpoint", which).err
    trained("without")
    assert "Trainer.keep_best" in command(capsys, "sample", "without", "--checkpoint", "best").err


# -- proof for one's own experiment ----------------------------------------------------------------------------


def test_verify_resume_proves_it(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = command(capsys, "verify-resume", "toy.gin", "--steps", "9")
    assert found.status == 0 and "the same, bit for bit: 9 iterations" in found.out
    assert not Path("runs").exists()


@pytest.mark.slow
def test_verify_resume_names_the_first_difference(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forgetful = command(capsys, "verify-resume", "toy.gin", "--steps", "6", "--set", "D/Network.module = @Forgetful()")
    assert (
        forgetful.status == 1
        and "differs from one that was never interrupted, first in\n  step 4: loss/" in forgetful.out
    )
    assert "two uninterrupted runs are the same" in forgetful.out
    restless = command(capsys, "verify-resume", "toy.gin", "--steps", "4", "--set", "D/Network.module = @Restless()")
    assert restless.status == 1 and "so do two uninterrupted runs" in restless.out
    broken = command(capsys, "verify-resume", "toy.gin", "--set", "Trainer.batch_size = 1000")
    assert broken.status == 2 and "fewer than one batch of 1000" in broken.err
