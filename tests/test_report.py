"""``ganflow report``: one page about a run, whatever state the run is in; and tables that pandas reads in one line."""

from __future__ import annotations

import builtins
import json
import math
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import ganflow
from commands import ganflow as command
from ganflow import rundir
from ganflow.errors import GanflowError
from ganflow.logs import Logs
from ganflow.palette import colour
from ganflow.report import report
from ganflow.report.curves import Chart, Line, groups
from ganflow.report.drawing import POINTS, drawn, thinned, value_text
from ganflow.report.reading import read
from ganflow.report.words import chosen
from ganflow.trainer import Trainer
from golden_text import GOLDEN
from test_readme import README

BASE = GOLDEN / "errors" / "base.gin"
VOID = {"meta", "img", "br", "hr", "link", "input", "path", "use", "line", "rect"}
PLAN = """toy · 3 networks
update D   trains D
  fake = G(z)   4×2   train
update (A, B)/x, runs 2 to 5, each on a new batch   trains G.head, E   freezes D   when step % 2 == 0
group (P, Q)   trains P, Q
parameters: G 7.31 M · D 0.70 M · E 0.01 M · P 0.00 M · Q 0.00 M
"""


class Page(HTMLParser):
    """Tags in balance, ids, links, texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        if given.get("id"):
            self.ids.append(given["id"] or "")
        self.links += [v or "" for k, v in attrs if k in ("href", "src", "xlink:href", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.texts).split())


def make(path: Path, rows: list[dict[str, Any]], *, config: str = "Trainer.steps = 100\n", plan: str = PLAN,
         pictures: tuple[int, ...] = ()) -> Path:  # fmt: skip
    """A run directory by hand."""
    rundir.create(path, config=config, plan=plan, source="def step():\n    pass\n", environment=rundir.environment())
    with Logs(path, tensorboard=False) as logs:
        for row in rows:
            logs.scalars(row["step"], {k: v for k, v in row.items() if k != "step"})
    for step in pictures:
        (path / "samples").mkdir(exist_ok=True)
        Image.new("RGB", (900, 400), (step % 256, 0, 0)).save(path / "samples" / f"{step:06}.png")
    return path


def written(run: Path, **more: Any) -> Page:
    return Page(report(run, **more).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, session_cache: str) -> Path:
    """A finished run of the small pix2pix, watched now and then."""
    path = tmp_path_factory.mktemp("module") / "runs" / "base"
    Trainer(ganflow.load(BASE, ["Trainer.watch_every = 2"]), path, progress=False).fit()
    return path


# -- a real run ---------------------------------------------------------------------------------------------


def test_the_page_of_a_run(run: Path) -> None:
    page = written(run)
    for said in ("base", "finished", "6 of 6", "G", "parameters", "D trains D", "ganflow run",
                 "config.gin --name base-again",
                 "minimize", "G_L1", "metric", "psnr", "step 6", "Too short to tell", "2-norm in each network",
                 "torch ", "earth.size = 16", "def step(batch"):  # fmt: skip
        assert said in page.said or said == "metric", said
    assert [i for i in page.ids if page.ids.count(i) > 1] == []
    assert page.tags.count("img") == 3 and page.tags.count("svg") == len(
        [c for g in groups(read(run)) for c in g.charts]
    )
    assert "script" not in page.tags


def test_the_page_needs_nothing_else(run: Path) -> None:
    text = report(run).read_text(encoding="utf-8")
    page = Page(text)
    outside = [link for link in page.links if not link.startswith(("#", "data:", "https://arxiv.org/"))]
    assert outside == [] and not re.search(r"url\((?!#)", text) and "@import" not in text
    targets = [link[1:] for link in page.links if link.startswith("#")] + re.findall(r"url\(#([^)]+)\)", text)
    assert targets and set(targets) <= set(page.ids)


def test_each_network_has_its_colour(run: Path) -> None:
    text = report(run).read_text(encoding="utf-8")
    assert list(read(run).networks) == ["G", "D"]
    for index, theme in ((0, "light"), (0, "dark"), (1, "light"), (1, "dark")):
        assert f"--n{index}: {getattr(colour(index).ink, theme)}" in text
    figures = re.findall(r"<figure class=\"chart\">.*?</figure>", text, re.S)
    [loss] = [f for f in figures if "<strong>G</strong>" in f]
    assert "var(--n0)" in loss and "var(--n1)" not in loss
    assert not re.search(r"#0[ab]00\d\d", text), "what stood for a colour is one"


def test_every_series_is_drawn_once(run: Path) -> None:
    found = read(run)
    lines = [line.label for g in groups(found) for c in g.charts for line in c.lines if g.title == "Losses"]
    tags = {tag.removeprefix("loss/") for row in found.rows for tag in row if tag.startswith("loss/")}
    assert sorted(lines) == sorted(tags)
    [health] = [g for g in groups(found) if g.title == "Health"]
    assert {c.title for c in health.charts} >= {"How often D is right", "Diversity", "Size of an iteration's step"}


def test_a_loss_of_one_term_is_drawn_once(tmp_path: Path) -> None:
    rows = [{"step": k, "loss/G_GAN": k / 7, "loss/G": k / 7, "loss/D.1": 1.0, "loss/D": 2.0} for k in range(1, 5)]
    path = make(tmp_path / "run", rows, plan="update G   trains G\nupdate D   trains D\n")
    charts = [(c.title, c.note) for g in groups(read(path)) for c in g.charts]
    assert charts == [("G", "what update G minimizes, its only term G_GAN"), ("D", "what update D minimizes"),
                      ("D.1", "term of update D, without its weight")]  # fmt: skip


def test_from_the_command_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = command(capsys, "report", run, "--out", tmp_path / "page.html")
    assert (found.status, found.out.strip(), found.err) == (0, str(tmp_path / "page.html"), "")
    assert (tmp_path / "page.html").is_file() and not (tmp_path / "page-files").exists()


def test_markdown_shows_the_runs_own_pictures(run: Path) -> None:
    out = report(run, run.parent / "notes.md")
    text = out.read_text(encoding="utf-8")
    links = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert "base/samples/000006.png" in links and all((out.parent / link).is_file() for link in links)
    curves = [link for link in links if link.startswith("notes-files/")]
    assert len(curves) == len([c for g in groups(read(run)) for c in g.charts])
    for link in curves:
        svg = (out.parent / link).read_text(encoding="utf-8")
        assert svg.startswith("<svg") and "var(--" not in svg and not re.search(r"#0[ab]00\d\d", svg)
    assert "## Findings" in text and "Trainer.steps = 6" in text


def test_nothing_of_the_run_is_executed(run: Path, tmp_path: Path) -> None:
    place = tmp_path / "run"
    shutil.copytree(run, place)
    bomb = "import pathlib; pathlib.Path('executed').write_text('')\n"
    (place / "config.gin").write_text("import bomb\n" + (place / "config.gin").read_text())
    (place / "bomb.py").write_text(bomb)
    (place / "step.py").write_text(bomb)
    (place / "weights.pt").write_bytes(b"no pickle")
    code = f"from pathlib import Path; from ganflow.report import report; print(report(Path({str(place)!r})))"
    environment = {"PYTHONPATH": f"{Path(ganflow.__file__).parent.parent}", "HOME": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=True,
                         env=environment)  # fmt: skip
    assert ran.stdout.strip() == str(place / "report.html") and not (place / "executed").exists()


# -- runs in every state ------------------------------------------------------------------------------------


def row(step: int, value: float = 1.0) -> dict[str, float]:
    return {"step": step, "loss/D": value, "loss/G": value, "grad_norm/D": value}


def test_a_run_that_is_still_going(tmp_path: Path) -> None:
    path = make(tmp_path / "run", [row(1), row(50)])
    with rundir.in_use(path), open(path / "metrics.jsonl", "a") as file:
        file.write('{"step": 100, "loss/')  # half a line
        file.flush()
        assert "still running" in written(path).said and "50 of 100" in written(path).said
    assert "interrupted" in written(path).said


def test_the_state_of_a_run(tmp_path: Path) -> None:
    assert read(make(tmp_path / "a", [row(100)])).state == "finished"
    assert read(make(tmp_path / "b", [row(60)])).state == "interrupted"
    assert read(make(tmp_path / "c", [row(60)], config="Trainer.epochs = 3\n")).state == "ended"
    assert read(make(tmp_path / "d", [])).state == "interrupted"


@pytest.mark.parametrize("rows", [[], [row(1)], [row(1), row(1)], [{"step": 7}]])
def test_a_run_that_has_hardly_begun(tmp_path: Path, rows: list[dict[str, float]]) -> None:
    page = written(make(tmp_path / "run", rows))
    assert "Too short to tell" in page.said and "svg" in page.tags or not any(len(r) > 1 for r in rows)
    assert "Samples over time" not in page.said


def test_nan_and_infinity_are_gaps_that_are_named(tmp_path: Path) -> None:
    values = [1.0, math.nan, 2.0, math.inf, -math.inf, 3.0]
    page = written(make(tmp_path / "run", [row(k + 1, v) for k, v in enumerate(values)]))
    assert "not finite in 3 of 6 rows, from step 2" in page.said and "is no number" not in page.said
    assert "are not finite from step 2" in page.said
    nothing = written(make(tmp_path / "nothing", [row(k + 1, math.nan) for k in range(4)]))
    assert "not finite in 4 of 4 rows, from step 1" in nothing.said


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e-300, 1e300, 1.7e308, -1e-12])
def test_numbers_of_any_size_are_drawn(value: float) -> None:
    for values in ([value] * 3, [value, 1.0], [value]):
        svg = drawn(Chart("x", (Line("x", [(k, v) for k, v in enumerate(values)]),)), variables=True)
        assert svg.startswith("<svg") and "nan" not in svg


def test_names_that_mean_something_in_html_svg_or_tex(tmp_path: Path) -> None:
    name = "<b>$\\frac{&</b>"
    rows = [{"step": k, f"loss/{name}": float(k), "loss/_x": 1.0, f"metric/{name}": 1.0} for k in range(1, 5)]
    path = make(tmp_path / name.replace("/", "_"), rows, plan=f"update {name}   trains D\n")
    page = written(path)
    assert page.tags.count("b") == 3, "one for the last value of each line"
    assert name in page.said and "_x" in page.said
    assert "\\<b\\>" in report(path, tmp_path / "notes.md").read_text()


def test_long_runs_are_drawn_as_means_of_neighbours() -> None:
    points = [(k, float(k % 7)) for k in range(12_345)]
    steps, means, low, high = thinned(Line("x", points))
    width = math.ceil(len(points) / POINTS)
    assert len(steps) <= POINTS and steps[-1] == 12_344 and (min(low), max(high)) == (0, 6)
    assert means[3] == pytest.approx(sum(v for _, v in points[3 * width : 4 * width]) / width)
    assert len(drawn(Chart("x", (Line("x", points),)), variables=True)) < 100_000


def test_ticks_are_told_apart() -> None:
    assert [value_text(v, (12.2, 12.25, 12.3)) for v in (12.2, 12.25, 12.3)] == ["12.20", "12.25", "12.30"]
    assert [value_text(v, (0.0, 50.0)) for v in (0.0, 50.0)] == ["0", "50"]
    assert value_text(0.0002, (0.0, 0.00005)) == "0.0002" and value_text(1e9, (0.0, 1e9)) == "1e+09"


def test_an_older_runs_environment_says_less(tmp_path: Path) -> None:
    for k, environment in enumerate(("{}", '{"started": 5, "packages": [1]}', '{"started": "2026-01-01T00:00:00"}')):
        path = make(tmp_path / f"run{k}", [row(1)])
        (path / "environment.json").write_text(environment)
        assert "started" in written(path).said
    assert "2026-01-01 00:00:00 UTC" in written(path).said


def test_a_run_that_changed_on_its_way_says_so(run: Path, tmp_path: Path) -> None:
    assert "everything that was set is in config.gin" in written(run).said
    assert f"ganflow resume {run}" in written(run).said
    path = make(tmp_path / "run", [row(1)])
    assert "resume" not in written(path).said  # it has no checkpoint
    (path / "config-until-000040.gin").write_text("Trainer.steps = 40\n")
    assert "config-until-000040.gin until step 40, then config.gin" in written(path).said
    environment = json.loads((path / "environment.json").read_text()) | {"forked_from": "runs/old", "forked_at": 20}
    (path / "environment.json").write_text(json.dumps(environment))
    assert "it began with the state of runs/old at step 20" in written(path).said


def test_of_many_samples_the_first_and_the_last_are_shown(tmp_path: Path) -> None:
    path = make(tmp_path / "run", [row(1)], pictures=tuple(range(0, 1100, 100)))
    assert chosen([(k, "") for k in range(11)]) == [0, 2, 5, 8, 10]
    text = report(path).read_text(encoding="utf-8")
    assert re.findall(r"<figcaption>step (\d+)", text) == ["0", "200", "500", "800", "1000"]
    sizes = [tuple(map(int, s)) for s in re.findall(r'width="(\d+)" height="(\d+)" alt', text)]
    assert set(sizes) == {(560, 249)} and "6 more in" in text


def test_updates_and_networks_are_read_off_the_plan(tmp_path: Path) -> None:
    found = read(make(tmp_path / "run", [row(1)]))
    assert list(found.networks) == ["G", "D", "E", "P", "Q"] and found.networks["D"] == "0.70 M"
    assert (found.updates["D"], found.updates["P"], found.updates["Q"]) == (("D",), ("P",), ("Q",))
    bare = read(make(tmp_path / "bare", [row(1)], plan=""))
    assert bare.networks == {} and written(bare.path).tags.count("svg") == 3


@pytest.mark.parametrize("head", ["update D", "update D, runs 2 to 5, each on a new batch", "update D, run 2",
                                  "update D, in 4 parts", "update D, on a new batch"])  # fmt: skip
@pytest.mark.parametrize("tail", ["", "   freezes G", "   when step % 4 == 3", "   draws z anew"])
def test_every_form_of_a_head_is_read(tmp_path: Path, head: str, tail: str) -> None:
    found = read(make(tmp_path / "run", [], plan=f"{head}   trains D.body, D.head, E{tail}\n"))
    assert found.updates == {"D": ("D", "E")}


# -- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda p: (p / "plan.txt").unlink(), "plan.txt"),
        (lambda p: (p / "environment.json").write_text("[1]"), "environment.json"),
        (lambda p: (p / "environment.json").write_text("{"), "environment.json"),
        (lambda p: (p / "config.gin").write_bytes(b"\xff\xfe"), "config.gin"),
        (lambda p: (p / "metrics.jsonl").write_bytes(b'{"step": 1}\nrubbish\n{"step": 2}\n'), "line 2"),
        (lambda p: (p / "metrics.jsonl").write_bytes(b'{"step": "x"}\n{"step": 2}\n'), "line 1"),
        (lambda p: (p / "metrics.jsonl").write_bytes(b'[1, 2]\n{"step": 2}\n'), "line 1"),
        (lambda p: (p / "metrics.jsonl").write_bytes(b'{"step": 1, "a": "b"}\n{"step": 2}\n'), "line 1"),
        (lambda p: (p / "metrics.jsonl").write_bytes(b"[" * 5000 + b"\n{}\n"), "line 1"),
        (lambda p: (p / "probe.txt").write_bytes(b"\xff\xfe\xfd"), "probe.txt"),
        (lambda p: (p / "samples" / "000000.png").write_bytes(b"no picture"), "000000.png"),
        (lambda p: (p / "metrics.jsonl").unlink() or (p / "metrics.jsonl").mkdir(), "metrics.jsonl"),
    ],
)
def test_a_damaged_run_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: Any, says: str) -> None:
    path = make(tmp_path / "run", [row(1)], pictures=(0,))
    harm(path)
    found = command(capsys, "report", path)
    assert (found.status, found.out) == (2, "") and "error[not-a-run]" in found.err and says in found.err
    assert "Traceback" not in found.err and not (path / "report.html").exists()


def test_no_run_and_no_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "error[not-a-run]" in command(capsys, "report", tmp_path / "none").err
    path = make(tmp_path / "run", [row(1)])
    found = command(capsys, "report", path, "--out", tmp_path / "page.pdf")
    assert found.status == 2 and "error[unknown-format]" in found.err and ".md" in found.err


@pytest.mark.parametrize("name", ["page.html", "page.md"])
def test_a_place_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = make(tmp_path / "run", [row(1)])
    found = command(capsys, "report", path, "--out", tmp_path / "missing" / name)
    assert found.status == 2 and "error[cannot-write]" in found.err and found.err.count("error[") == 1


def test_a_folder_for_the_curves_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make(tmp_path / "run", [row(1)])
    (tmp_path / "page-files").write_text("mine")
    found = command(capsys, "report", path, "--out", tmp_path / "page.md")
    assert found.status == 2 and "error[cannot-write]" in found.err and not (tmp_path / "page.md").exists()


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, real = make(tmp_path / "run", [row(1)]), builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    found = command(capsys, "report", path)
    assert found.status == 2 and "error[missing-package]" in found.err and "ganflow[report]" in found.err


def test_training_does_not_import_matplotlib() -> None:
    code = "import sys, ganflow, ganflow.cli, ganflow.trainer; print('matplotlib' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                         env={"PYTHONPATH": f"{Path(ganflow.__file__).parent.parent}"})  # fmt: skip
    assert ran.stdout.strip() == "False"


# -- tables -------------------------------------------------------------------------------------------------


def test_pandas_reads_both_tables_in_one_line(tmp_path: Path) -> None:
    import pandas

    rows = [
        {"step": 1, "loss/G": 1.5, "lr/G": 2e-4}, {"step": 2, "loss/G": math.nan, "lr/G": 1e-300},
        {"step": 3, "health/diversity/G(z), mean": 0.5}, {"step": 4, "loss/G": math.inf, "metric/l1": -math.inf},
        {"step": 5, "loss/G": 0.1 + 0.2},
    ]  # fmt: skip
    path = make(tmp_path / "run", rows)
    table = pandas.read_csv(path / "metrics.csv")
    lines = pandas.read_json(path / "metrics.jsonl", lines=True)
    for found in (table, lines):
        assert list(found["step"]) == [1, 2, 3, 4, 5]
        assert set(found.columns) == {"step", "loss/G", "lr/G", "health/diversity/G(z), mean", "metric/l1"}
        for k, given in enumerate(rows):
            for tag in found.columns:
                value, wanted = float(found[tag][k]), float(given.get(tag, math.nan))
                assert (math.isnan(value) and math.isnan(wanted)) or value == pytest.approx(wanted, rel=1e-12), (tag, k)


def test_a_real_run_has_one_row_for_each_watched_step(run: Path) -> None:
    import pandas

    found = pandas.read_csv(run / "metrics.csv")
    looked = found[found["health/diversity/fake_B"].notna()]
    assert list(looked["step"]) == [2, 4, 6], "once each"
    assert looked["loss/G"].notna().tolist() == [False, False, True], "and with the losses where both are due"


def test_the_readmes_line_draws_a_curve(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import pandas

    [line] = re.findall(r"^    (pandas\..*)$", README, re.M)
    (run.parent.parent / "runs" / "pix2pix").symlink_to(run)
    monkeypatch.chdir(run.parent.parent)
    axes = eval(line, {"pandas": pandas})
    try:
        [curve] = axes.get_lines()
        rows = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
        wanted = [(r["step"], r["loss/G_L1"]) for r in rows if "loss/G_L1" in r]
        assert [tuple(p) for p in curve.get_xydata()] == [pytest.approx(w) for w in wanted]
    finally:
        plt.close("all")
        (run.parent.parent / "runs" / "pix2pix").unlink()


def test_errors_of_the_reader_say_where(tmp_path: Path) -> None:
    path = make(tmp_path / "run", [row(1)])
    (path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2,\n{"step": 3}\n')
    with pytest.raises(GanflowError, match="line 2"):
        read(path)


@pytest.mark.skipif(sys.platform == "darwin", reason="there every file name is UTF-8")
@pytest.mark.parametrize("name", ["page.html", "page.md"])
def test_a_directory_whose_name_is_no_utf8(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / os.fsdecode(b"caf\xe9"), [row(1)])
    assert "caf?" in report(path, tmp_path / name).read_text(encoding="utf-8")
