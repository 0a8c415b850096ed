"""TensorBoard as a user opens it: what is written, read by TensorBoard's own tabs; and the program that starts it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import ganflow
from boards import Tabs, check_graph
from commands import ganflow as command
from docs_blocks import DOCS
from ganflow import board, board_layout, parameters
from ganflow.board_layout import losses_of, sections
from ganflow.errors import GanflowError
from ganflow.logs import Logs
from ganflow.trainer import Trainer
from golden_text import GOLDEN
from test_trainer import interruptible

BASE = GOLDEN / "errors" / "base.gin"
LOSSES = {"D": ("loss/D_fake", "loss/D_real", "loss/D"), "G": ("loss/G_GAN", "loss/G_L1", "loss/G")}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, session_cache: str) -> Path:
    """A finished run that looks closely at two iterations."""
    path = tmp_path_factory.mktemp("board") / "base"
    Trainer(ganflow.load(BASE, ["Trainer.watch_every = 2", "lambda_A = 50"]), path, progress=False).fit()
    return path


@pytest.fixture(scope="module")
def tabs(run: Path) -> Tabs:
    return Tabs(run)


# -- what the tabs show --------------------------------------------------------------------------------------


def test_every_chart_shows_something_and_every_scalar_is_on_a_chart(tabs: Tabs) -> None:
    layout = tabs.layout()
    shown = [(section, title, tabs.shown(patterns)) for section, charts in layout for title, patterns in charts]
    assert all(found for _, _, found in shown), shown
    assert {tag for _, _, found in shown for tag in found} == tabs.tags("scalars")
    first = {title: found for section, title, found in shown if section == layout[0][0]}
    assert layout[0][0] == "Is it training?"
    assert first["losses of D"] == set(LOSSES["D"]) and first["losses of G"] == set(LOSSES["G"])
    assert first["gradient norms"] == {"grad_norm/D", "grad_norm/G"}
    assert len({title for _, title, _ in shown}) == len(shown)


def test_a_run_that_never_looks_closely_has_no_empty_chart(tmp_path: Path) -> None:
    quiet = ["Trainer.steps = 2", "Trainer.metrics = {}", "Trainer.watch_every = 1000"]
    Trainer(ganflow.load(BASE, quiet), tmp_path / "quiet", progress=False).fit()
    tabs = Tabs(tmp_path / "quiet")
    assert all(tabs.shown(patterns) for _, charts in tabs.layout() for _, patterns in charts)
    assert "Metrics" not in dict(tabs.layout()) and not tabs.tags("histograms")


def test_the_layout_follows_tags_that_come_later(tmp_path: Path) -> None:
    with Logs(tmp_path, layout=lambda tags: sections(tags, LOSSES)) as logs:
        logs.scalars(1, {"loss/D": 1.0})
        assert titles(Tabs(tmp_path)) == ["losses of D"]
        logs.scalars(2, {"loss/D": 1.0, "grad_share/G/G_L1": 0.5})
        assert titles(Tabs(tmp_path)) == ["losses of D", "whose gradient moves G"]
    with Logs(tmp_path, layout=lambda tags: sections(tags, LOSSES)) as logs:  # goes on
        logs.scalars(3, {"loss/D": 1.0, "metric/psnr": 12.0})
    assert titles(Tabs(tmp_path)) == ["losses of D", "whose gradient moves G", "psnr"]


def titles(tabs: Tabs) -> list[str]:
    return [title for _, charts in tabs.layout() for title, _ in charts]


def test_the_layout_of_everything_that_can_be_logged() -> None:
    tags = [
        "loss/D", "loss/D_fake", "grad_norm/D", "grad_norm/D.r1/D", "grad_norm_clipped/G", "grad_share/G/G_L1",
        "grad_share/G/G_GAN", "grad_term/G/G_L1", "grad_term/E/G/kl", "grad_cosine/G/G_GAN,G_L1", "grad_at/fake_B/G_L1",
        "health/accuracy_real/D", "health/accuracy_fake/D", "health/diversity/fake_B", "health/grad_ratio/D,G",
        "metric/psnr, dB", "lr/G", "weight/G_L1", "time/step", "time/data", "time/images_per_second", "mine/a", "(odd",
    ]  # fmt: skip
    found = {s.title: {c.title: matched(c.patterns, tags) for c in s.charts} for s in sections(tags, LOSSES)}
    assert found == {
        "Is it training?": {
            "losses of D": ["loss/D", "loss/D_fake"], "gradient norms": ["grad_norm/D", "grad_norm/D.r1/D"],
            "whose gradient moves G": ["grad_share/G/G_L1", "grad_share/G/G_GAN"],
        },
        "Metrics": {"psnr, dB": ["metric/psnr, dB"]},
        "Gradients, term by term": {
            "gradient norms after clipping": ["grad_norm_clipped/G"], "gradient at fake_B": ["grad_at/fake_B/G_L1"],
            "gradient norms of the terms of G": ["grad_term/G/G_L1"],
            "gradient norms of the terms of E": ["grad_term/E/G/kl"],
            "cosines between the terms of G": ["grad_cosine/G/G_GAN,G_L1"],
        },
        "Health": {
            "accuracy of D": ["health/accuracy_real/D", "health/accuracy_fake/D"],
            "diversity": ["health/diversity/fake_B"], "grad ratio": ["health/grad_ratio/D,G"],
        },
        "Settings": {"learning rates": ["lr/G"], "weights of the terms": ["weight/G_L1"]},
        "Time": {"seconds per iteration": ["time/step", "time/data"],
                 "images per second": ["time/images_per_second"]},
        "Others": {"mine/a": ["mine/a"], "(odd": ["(odd"]},
    }  # fmt: skip


def matched(patterns: tuple[str, ...], tags: list[str]) -> list[str]:
    return [tag for tag in tags if any(re.match(pattern, tag) for pattern in patterns)]


def test_losses_have_the_tags_that_the_step_logs(run: Path) -> None:
    graph = ganflow.schedule(ganflow.load(BASE))
    assert {u: set(tags) for u, tags in losses_of(graph).items()} == {u: set(tags) for u, tags in LOSSES.items()}
    nested = ganflow.schedule(ganflow.load(BASE, [
        "D/extra/Update.minimize = 'D_real'", "D/extra/Update.trains = ['D']",
        "Schedule.updates = ['D', 'D/extra', 'G']",
    ]))  # fmt: skip
    for tags in losses_of(nested).values():
        assert all(f"logs['{tag}']" in nested.source for tag in tags)


def test_the_graph_is_the_plan(tabs: Tabs) -> None:
    graph = tabs.graph()
    check_graph(graph)
    nodes = {node.name: node for node in graph.node}
    assert nodes["update_D/pred_fake"].attr["mode"].s == b"train" and nodes["update_D/pred_fake"].device == "train"
    dims = nodes["update_D/fake_B"].attr["_output_shapes"].list.shape[0].dim
    assert [d.size for d in dims] == [4, 3, 16, 16]


def test_texts_histograms_and_pictures(tabs: Tabs, run: Path) -> None:
    assert tabs.tags("text") == {"config", "plan", "source", "environment", "probe", "gradients"}
    assert tabs.tags("images") == {"images/val"}
    found = tabs.tags("histograms")
    assert "weights/G/" in "".join(sorted(found)) and any(t.startswith("gradients/D/D/") for t in found)


def test_several_metrics_have_a_chart_together_and_one_each() -> None:
    one, two = (sections([f"metric/{m}" for m in names], {}) for names in (("l1",), ("l1", "psnr")))
    assert [c.title for s in one for c in s.charts] == ["l1"]
    assert [c.title for s in two for c in s.charts] == ["all metrics", "l1", "psnr"]


def test_a_row_of_hparams_has_the_settings_and_the_final_metrics(tabs: Tabs, run: Path) -> None:
    from tensorboard.plugins.hparams import api_pb2

    experiment, groups = tabs.hparams()
    assert len(groups) == 1 and groups[0].sessions[0].status == api_pb2.STATUS_SUCCESS
    row = {name: value.number_value or value.string_value for name, value in groups[0].hparams.items()}
    assert (row["lambda_A"], row["Adam.lr"], row["Trainer.batch_size"], row["Trainer.seed"]) == (50.0, 2e-4, 4.0, "")
    assert row["G_L1"] == "l1(fake_B, real_B)" and "Trainer.log_every" not in row
    names = [h.name for h in experiment.hparam_infos]
    assert set(names[:4]) == {"lambda_A", "Adam.lr", "Trainer.seed", "Trainer.batch_size"}, names
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    values = {v.name.tag: v.value for v in groups[0].metric_values}
    assert values.keys() == {"metric/l1", "metric/psnr"}
    assert values["metric/psnr"] == pytest.approx(last["metric/psnr"], rel=1e-5)


def test_a_run_that_fails_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.plugins.hparams import api_pb2

    monkeypatch.setattr("ganflow.trainer.Loop.iteration", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        Trainer(ganflow.load(BASE), tmp_path / "run", progress=False).fit()
    assert Tabs(tmp_path / "run").hparams()[1][0].sessions[0].status == api_pb2.STATUS_FAILURE


def test_parameters_are_flat_and_what_was_told_comes_first() -> None:
    experiment = ganflow.load(BASE, ["D/Adam.lr = 1e-3", "PatchDiscriminator.layers = 2", "Trainer.metrics = {}"])
    found = parameters.flat(experiment)
    assert found["D/Adam.lr"] == 1e-3 and found["PatchDiscriminator.layers"] == 2.0
    assert found["G/Network.module"] == "@UNetGenerator()" and found["Adam.betas"] == "(0.5, 0.999)"
    assert parameters.columns(experiment)[:2] == ("PatchDiscriminator.layers", "D/Adam.lr")
    assert found["G/Adam.lr"] == 2e-4 and "D/Adam.lr" in parameters.flat(ganflow.load(BASE))
    assert parameters.flat(ganflow.load(BASE, ["UNetGenerator.skip = False"]))["UNetGenerator.skip"] is False


def test_tags_of_several_runs_share_their_charts(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "a")
    Trainer(ganflow.load(BASE, ["Trainer.steps = 2", "lambda_A = 0"]), tmp_path / "b", progress=False).fit()
    tabs = Tabs(tmp_path)
    for section, charts in tabs.layout():
        for title, patterns in charts:
            assert tabs.shown(patterns, "a") | tabs.shown(patterns, "b"), (section, title)
    assert titles(tabs).count("gradient norms") == 1


def test_the_page_names_everything_that_is_logged() -> None:
    page = (DOCS / "tensorboard.md").read_text(encoding="utf-8")
    kinds = {family.pattern.partition("(")[0] for family in board_layout._FAMILIES} - {""}
    assert len(kinds) > 8 and not {kind for kind in kinds if f"`{kind}" not in page}
    assert not {kind for kind in ("loss/", "weights/", "gradients/", "images/") if f"`{kind}" not in page}
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page)
    assert len(pictures) > 2 and all((DOCS / name).is_file() for name in pictures)


# -- the program ---------------------------------------------------------------------------------------------

SAYS_SO = "import sys; print('TensorBoard 2 at http://127.0.0.1:5/ (Press CTRL+C to quit)', flush=True)\n"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def waited(condition: Any, seconds: float = 30.0) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return bool(condition())


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, GanflowError])
def test_it_ends_with_what_it_stands_beside(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    monkeypatch.setattr(board, "CHILD", SAYS_SO + "sys.stdin.read()")
    seen = []
    try:
        with board.started([]) as found:
            seen = [found.process.pid, found.folder]
            assert found.address == "http://127.0.0.1:5/#custom_scalars" and alive(seen[0])
            if error is not None:
                raise error("x")
    except (KeyboardInterrupt, GanflowError):
        pass
    assert not alive(seen[0]), "it ended, and was waited for"
    assert not seen[1].parent.exists()


def test_one_that_does_not_listen_to_reason_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SAYS_SO + "time.sleep(60)"
    monkeypatch.setattr(board, "CHILD", stubborn)
    monkeypatch.setattr(board, "MERCY", 0.2)
    with board.started([]) as found:
        pass
    assert not alive(found.process.pid)


def test_one_that_cannot_start_is_one_message_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(BASE, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(board, "CHILD", "import sys; sys.exit('no module named tensorboard')")
    found = command(capsys, "run", "base.gin", "--tensorboard")
    assert (found.status, found.out) == (1, "") and "TensorBoard ended: no module named tensorboard" in found.err
    assert not (tmp_path / "runs").exists()
    monkeypatch.setattr(board, "CHILD", "import time; time.sleep(60)")
    monkeypatch.setattr(board, "PATIENCE", 0.2)
    assert "did not start within 0.2 s" in command(capsys, "run", "base.gin", "--tensorboard").err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = command(capsys, "run", "base.gin", "--tensorboard", "--port", port)
    assert found.status == 2 and f"port {port} cannot be used" in found.err and not (tmp_path / "runs").exists()
    assert "add --tensorboard" in command(capsys, "run", "base.gin", "--port", "0").err


def test_names_are_the_ends_of_paths_that_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [tmp_path / p for p in ("a/base", "b/base", "a, b: c", "x/y", "y")]
    for place in places:
        place.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "base")
    names = board._names([Path("."), Path("../../b/base"), *places[2:], places[0]])
    assert list(names) == ["a/base", "b/base", "a, b: c", "x/y", f"{tmp_path.name}/y"]
    assert list(names.values()) == [p.resolve() for p in places]


def test_what_cannot_be_shown_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for path, said in ((tmp_path / "none", "is not a directory"), (tmp_path / "empty", "was logged for TensorBoard")):
        found = command(capsys, "tensorboard", path)
        assert found.status == 2 and said in found.err


def answer(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=10) as page:
        return json.load(page)


@pytest.mark.slow
def test_tensorboard_shows_runs_of_any_name_on_loopback_only(run: Path, tmp_path: Path) -> None:
    odd, other = tmp_path / "a, b: c='d'", tmp_path / "other" / "base"
    shutil.copytree(run, odd)
    shutil.copytree(run, other)
    with board.started([odd, run, other]) as found:
        address = found.address.removesuffix("#custom_scalars")
        names = {odd.name, f"{run.parent.name}/base", "other/base"}
        assert waited(lambda: set(answer(f"{address}data/runs")) == names), answer(f"{address}data/runs")
        layout = answer(f"{address}data/plugin/custom_scalars/layout")
        assert waited(lambda: answer(f"{address}data/plugin/custom_scalars/layout")["category"])
        assert layout is not None
        late = tmp_path / "late"
        shutil.copytree(run, late)
        found.show(late)
        assert waited(lambda: "late" in answer(f"{address}data/runs")), "a run that starts later appears"
        port = int(address.rstrip("/").rpartition(":")[2])
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", port), timeout=2)
    with board.started([run.parent]) as found:
        address = found.address.removesuffix("#custom_scalars")
        assert waited(lambda: answer(f"{address}data/runs") == ["base"])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_run_however_that_ends(tmp_path: Path, number: int) -> None:
    words = [
        sys.executable,
        "-u",
        "-m",
        "ganflow",
        "run",
        str(BASE),
        "--tensorboard",
        "--set",
        "Trainer.steps = 100000",
    ]
    process = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible
    )
    assert process.stderr is not None
    line = next(line for line in process.stderr if line.startswith("TensorBoard: "))
    address = line.split()[1].removesuffix("#custom_scalars")
    assert waited(lambda: answer(f"{address}data/runs") == ["base"])
    process.send_signal(number)
    process.wait(60)

    def gone() -> bool:
        try:
            answer(f"{address}data/runs")
        except OSError:
            return True
        return False

    assert waited(gone), "TensorBoard goes on after the run"
    process.stderr.close()
    assert process.returncode in (130, 143, -signal.SIGKILL)
