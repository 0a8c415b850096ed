"""Ablations: variants that are wrong are found before anything trains, and numbers say no more than they can."""

from __future__ import annotations

import csv
import itertools
import math
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import ganflow
from commands import ganflow as command
from ganflow import config, images, rundir
from ganflow.ablation import pictures, processes, results, shown, tables
from ganflow.ablation import statistics as stats
from ganflow.ablation.data import Run
from ganflow.ablation.planning import plan_of, reference_of, runs_of
from ganflow.ablation.progress import Shown, Work, steps_in
from ganflow.ablation.reading import read
from ganflow.ablation.states import State, state_of
from ganflow.errors import GanflowError
from ganflow.experiment import gin_text
from ganflow.settings import settings_of
from ganflow.step import TrainStep
from ganflow.trainer import Trainer, dataset, prepare
from golden_text import GOLDEN

ROOT = Path(__file__).resolve().parent.parent
BASE = GOLDEN / "errors" / "base.gin"
TABLE = """
include '{base}'
lambda_GAN = 1.0
G/Update.minimize = 'lambda_GAN * G_GAN + lambda_A * G_L1'
Trainer.steps = 2
Ablation.variants = {{
    'L1':        {{'lambda_GAN': 0.0}},
    'GAN + L1':  {{'pred_fake': 'D(fake_B)', 'pred_real': 'D(real_B)', 'D/PatchDiscriminator.in_channels': 3}},
    'cGAN + L1': {{}},
}}
Ablation.seeds = (0, 1)
Ablation.metrics = ('l1',)
""".format(base=BASE.as_posix())  # noqa: UP032


def table(folder: Path, *changes: tuple[str, str], also: str = "") -> Path:
    """The gin file of an ablation, with some texts replaced."""
    text = TABLE
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path = folder / "table.gin"
    path.write_text(text + also, encoding="utf-8")
    return path


# -- reading -------------------------------------------------------------------------------------------------


def test_a_variant_is_its_bindings_as_gin_lines(tmp_path: Path) -> None:
    found = read(table(tmp_path))
    assert [v.name for v in found.variants] == ["L1", "GAN + L1", "cGAN + L1"]
    assert found.variants[1].overrides == (
        "pred_fake = 'D(fake_B)'", "pred_real = 'D(real_B)'", "D/PatchDiscriminator.in_channels = 3"
    )  # fmt: skip
    assert [v.folder for v in found.variants] == ["L1", "GAN-L1", "cGAN-L1"]
    assert (found.seeds, found.metrics, found.variants[1].location.line) == ((0, 1), ("l1",), 8)


def test_a_grid_is_every_combination_less_what_is_excluded(tmp_path: Path) -> None:
    path = tmp_path / "grid.gin"
    grid = "{'lambda_A': (1, 10), 'D/PatchDiscriminator.base': (4, 8), 'gan.mode': ('lsgan',)}"
    out = "[{'lambda_A': 1, 'D/PatchDiscriminator.base': 8}]"
    text = f"include '{BASE.as_posix()}'\nAblation.grid = {grid}\nAblation.exclude = {out}\n"
    path.write_text(text, encoding="utf-8")
    found = read(path)
    assert [v.name for v in found.variants] == [
        "lambda_A = 1, base = 4, mode = lsgan", "lambda_A = 10, base = 4, mode = lsgan",
        "lambda_A = 10, base = 8, mode = lsgan",
    ]  # fmt: skip
    assert found.variants[2].bindings == {"lambda_A": 10, "D/PatchDiscriminator.base": 8, "gan.mode": "lsgan"}
    assert found.seeds == (0, 1, 2)


def test_variants_and_a_grid_are_multiplied_and_excluded_by_name(tmp_path: Path) -> None:
    path = table(tmp_path, also="Ablation.grid = {'lambda_A': (1, 2)}\nAblation.exclude = ('L1, lambda_A = 2',)\n")
    names = [v.name for v in read(path).variants]
    assert len(names) == 5 and "L1, lambda_A = 1" in names and "L1, lambda_A = 2" not in names


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("(0, 1)", "(0, 0)", "a seed twice"),
        ("(0, 1)", "(0, 1.5)", "whole numbers"),
        ("(0, 1)", "3", "whole numbers"),
        ("('l1',)", "('lpips',)", "`lpips`, which is not measured"),
        ("'cGAN + L1'", "'gan-l1'", "share one folder"),
        ("{'lambda_GAN': 0.0}", "{'Trainer.seed': 3}", "`Trainer.seed` cannot be bound in a variant"),
        ("{'lambda_GAN': 0.0}", "{'x = 1\\nlambda_A': 3}", "no name that can be bound"),
        ("{'lambda_GAN': 0.0}", "0.0", "name -> what is bound"),
        ("Ablation.seeds", "Ablation.exclude = ('L2',)\nAblation.seeds", "'L2', which is no variant"),
        ("Ablation.seeds", "Ablation.grid = {'lambda_A': 3}\nAblation.seeds", "the values that it takes in turn"),
        ("Ablation.seeds", "x/Ablation.seeds", "has a scope"),
    ],
)
def test_what_cannot_be_an_ablation_is_said(tmp_path: Path, before: str, after: str, said: str) -> None:
    with pytest.raises(GanflowError) as caught:
        plan_of(read(table(tmp_path, (before, after))))
    assert caught.value.code == "ablation" and said in str(caught.value) and "table.gin" in str(caught.value)


def test_a_file_without_variants_is_no_ablation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = command(capsys, "ablate", BASE)
    assert done.status == 2 and "there is nothing to compare" in done.err


def test_other_commands_see_the_base_experiment_alone(tmp_path: Path) -> None:
    found = ganflow.load(table(tmp_path))
    assert "Ablation" not in gin_text(found)
    text = TABLE[: TABLE.index("Ablation.variants")]
    assert gin_text(found) == gin_text(ganflow.loads(text))


# -- planning ------------------------------------------------------------------------------------------------


def test_every_variant_is_planned_and_compared_with_the_one_that_changes_nothing(tmp_path: Path) -> None:
    plan = plan_of(read(table(tmp_path)))
    assert plan.reference == "cGAN + L1" and plan.metrics == ("l1",)
    l1, unconditional, base = plan.variants
    assert base.comparison is None and not l1.comparison.same_graph and not unconditional.comparison.same_graph
    assert "D" not in l1.side.cost.parameters and "D" in unconditional.side.cost.parameters, "a weight of 0 has no D"
    assert l1.side.cost.total < base.side.cost.total


def test_a_number_written_otherwise_is_still_the_reference(tmp_path: Path) -> None:
    path = table(tmp_path, ("'cGAN + L1': {}", "'x': {'lambda_A': 100}"))
    assert plan_of(read(path)).reference == "x"


def test_the_reference_is_found_among_runs_too_whose_seeds_differ(tmp_path: Path) -> None:
    found = read(table(tmp_path))
    runs = [r for r in runs_of(found, tmp_path, found.variants) if r.seed == 1]
    assert reference_of(found, {r.variant.name: r.experiment for r in runs}) == "cGAN + L1"


def test_all_wrong_variants_are_named_with_their_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path, ("'lambda_GAN': 0.0", "'lambda_GAM': 0.0"), ("'D(fake_B)'", "'D(fake_C)'"))
    done = command(capsys, "ablate", path, "--runs", tmp_path / "runs")
    assert done.status == 2 and not (tmp_path / "runs").exists()
    assert f"{path}:7: error[unused]: variant 'L1': nothing reads `lambda_GAM`" in done.err
    assert "did you mean `lambda_GAN`" in done.err and "variant 'GAN + L1': unknown name `fake_C`" in done.err
    assert "--strict" not in done.err


def test_what_is_wrong_with_the_base_is_said_once(tmp_path: Path) -> None:
    with pytest.raises(GanflowError) as caught:
        plan_of(read(table(tmp_path, ("lambda_A * G_L1'", "lambda_A * G_L7'"))))
    assert caught.value.location.line == 4 and "variant" not in str(caught.value) and "G_L7" in str(caught.value)


def test_a_discriminator_that_expects_other_channels_is_told_its_binding(tmp_path: Path) -> None:
    path = table(tmp_path, (", 'D/PatchDiscriminator.in_channels': 3", ""))
    with pytest.raises(GanflowError, match=r"table.gin:8: error\[image-channels\]: variant 'GAN \+ L1'") as caught:
        plan_of(read(path))
    assert "PatchDiscriminator.in_channels = 3" in caught.value.hint


def test_a_starved_generator_is_refused(tmp_path: Path) -> None:
    bindings = "{'G_GAN': 'gan(D(cat(real_A, detach(fake_B))), True)', 'lambda_A': 0.0}"
    with pytest.raises(GanflowError, match="variant 'L1'") as caught:
        plan_of(read(table(tmp_path, ("{'lambda_GAN': 0.0}", bindings))))
    assert "starved" in caught.value.code


def test_warnings_name_the_variants_that_they_are_about(tmp_path: Path) -> None:
    path = table(tmp_path, ("{'pred_fake'", "{'gan.mode': 'wgan', 'pred_fake'"), also="nobody = 3\n")
    about = {line.partition("warning[")[2].partition("]")[0]: line for line in shown.warnings(plan_of(read(path)))}
    assert about["wgan-unbounded"].startswith("GAN + L1: ") and not about["unused"].startswith(("L1", "cGAN", "GAN"))
    assert "`nobody`" in about["unused"] and len(about) == 2


def test_a_dry_run_shows_the_plan_and_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = command(capsys, "ablate", table(tmp_path), "--runs", tmp_path / "runs", "--dry-run", "--only", "L1")
    assert done.status == 0 and not (tmp_path / "runs").exists()
    assert re.search(r"L1 +different step graphs: lambda_GAN 1 → 0; without D +[\d.]+ M +×0\.\d+ +G [\d.]+ k", done.out)
    assert "2 runs: 0 finished" in done.out and "2 to begin" in done.out


def test_only_names_a_variant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = command(capsys, "ablate", table(tmp_path), "--only", "cGAN", "--dry-run")
    assert done.status == 2 and "did you mean" in done.err and "--only 'cGAN'" in done.err


def test_the_same_seed_is_the_same_data_and_the_same_draws_in_every_variant(tmp_path: Path) -> None:
    """What makes the comparison a paired one; other terms, other networks or fewer of them change nothing about it."""
    also = """
noise  = 'randn_like(real_A)'
fake_B = 'G(real_A + 0.1 * noise)'
"""
    path = table(tmp_path, ("Ablation.variants", also + "Ablation.variants"),
                 ("'cGAN + L1': {}", "'cGAN + L1': {}, 'wide': {'D/PatchDiscriminator.base': 8}"))  # fmt: skip
    seen = {}
    for run in runs_of(read(path), tmp_path, read(path).variants):
        step, _ = prepare(
            run.experiment, dataset(run.experiment), settings_of(run.experiment), device=torch.device("cpu")
        )
        start = {n: p.detach().clone() for n, p in step.networks["G"].named_parameters()}
        seen[run.variant.name, run.seed] = (start, *recorded(step, 3))
    for name, seed in seen:
        start, batches, draws = seen[name, seed]
        assert len(batches) == len(draws) == 3
        for mine, other in zip((*start.values(), *batches, *draws), flat(seen["cGAN + L1", seed]), strict=True):
            assert torch.equal(mine, other), (name, seed)
    assert not torch.equal(seen["L1", 0][1][0], seen["L1", 1][1][0]), "another seed has other batches"
    assert not torch.equal(seen["L1", 0][2][0], seen["L1", 1][2][0]), "and other draws"


def flat(found: tuple) -> list[torch.Tensor]:
    return [*found[0].values(), *found[1], *found[2]]


def recorded(step: TrainStep, iterations: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What goes into some iterations: batches, and draws."""
    batches, draws = [], []
    step.networks["G"].register_forward_pre_hook(lambda _, given: batches.append(given[0].detach().clone()))
    source, before = step.random, step.random.draw

    def draw(*args: object, **kwargs: object) -> torch.Tensor:
        draws.append(before(*args, **kwargs))
        return draws[-1]

    source.draw = draw
    for _ in range(iterations):
        step()
    return batches, draws


# -- statistics ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("degrees", "quantile"),  # of printed tables of Student's t, 97.5%
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (10, 2.228), (19, 2.093), (120, 1.980)],
)
def test_quantiles_of_students_t_are_those_of_printed_tables(degrees: int, quantile: float) -> None:
    assert stats.student_quantile(0.95, degrees) == pytest.approx(quantile, abs=6e-4)


@pytest.mark.parametrize("degrees", [1, 2, 3, 6, 11])
def test_students_t_is_the_integral_of_its_density(degrees: int) -> None:
    t = 1.7
    x = torch.linspace(-t, t, 200_001, dtype=torch.float64)
    scale = math.gamma((degrees + 1) / 2) / (math.sqrt(degrees * math.pi) * math.gamma(degrees / 2))
    density = scale * (1 + x**2 / degrees) ** (-(degrees + 1) / 2)
    assert stats.student_inside(t, degrees) == pytest.approx(float(torch.trapezoid(density, x)), abs=1e-9)


def test_a_summary_is_mean_spread_and_interval() -> None:
    values = [23.1, 23.4, 22.9, 23.8]
    found = stats.summary(values)
    half = 3.182446 * statistics.stdev(values) / 2
    assert (found.n, found.mean) == (4, pytest.approx(23.3)) and found.sd == pytest.approx(statistics.stdev(values))
    assert (found.low, found.high) == (pytest.approx(23.3 - half), pytest.approx(23.3 + half))
    one = stats.summary([23.1])
    assert (one.n, one.mean, one.sd, one.low) == (1, 23.1, None, None)
    assert math.isnan(stats.summary([23.1, math.nan]).mean) and stats.summary([23.1, math.inf]).low is None


@pytest.mark.parametrize(
    "differences", [[1, 2, 3], [1, 2, -3], [0.5, 0.5, 0.5, 0.5, -0.1, 0.9], [0, 0], [-1, 2, 2, 2.5]]
)
def test_the_sign_flip_test_tries_every_choice_of_signs(differences: list[float]) -> None:
    signed = [sum(s * d for s, d in zip(signs, differences, strict=True))
              for signs in itertools.product((1, -1), repeat=len(differences))]  # fmt: skip
    extreme = sum(abs(s) >= abs(sum(differences)) - 1e-9 for s in signed) / len(signed)
    assert stats.sign_flip(differences) == pytest.approx(extreme)


def test_differences_are_of_pairs_not_of_means() -> None:
    """Seeds differ far more than variants do; seed by seed the difference is clear."""
    b = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
    a = [x + d for x, d in zip(b, (1.0, 1.1, 0.9, 1.0, 1.05, 0.95), strict=True)]
    found = stats.paired(a, b)
    assert found.difference.mean == pytest.approx(1.0) and found.p == pytest.approx(2 / 64) and found.supported
    assert found.difference.low > 0.9 and stats.summary(a).low < stats.summary(b).high


def test_fewer_than_six_seeds_support_nothing() -> None:
    found = stats.paired([2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 2.01, 2.99, 4.0, 5.0])
    assert found.p == found.least == pytest.approx(2 / 32) and found.difference.low > 0 and not found.supported


def test_an_interval_with_0_in_it_supports_nothing() -> None:
    found = stats.paired([0.01, 0.01, 0.01, 0.01, 0.01, 5.0], [0.0] * 6)
    assert found.p == pytest.approx(2 / 64) and found.difference.low < 0 and not found.supported


def test_under_no_difference_the_test_rarely_says_there_is_one() -> None:
    rng = random.Random(3)
    said = sum(stats.paired([rng.gauss(0, 1) for _ in range(7)], [rng.gauss(0, 1) for _ in range(7)]).supported
               for _ in range(600))  # fmt: skip
    assert said / 600 < 0.08


def test_many_pairs_are_compared_by_t() -> None:
    rng = random.Random(5)
    a = [rng.gauss(0.3, 1) for _ in range(30)]
    found = stats.paired(a, [0.0] * 30)
    t = abs(statistics.mean(a)) / (statistics.stdev(a) / math.sqrt(30))
    assert found.p == pytest.approx(1 - stats.student_inside(t, 29)) and (found.p <= 0.05) == (
        not found.difference.low <= 0 <= found.difference.high
    )


def test_only_a_variant_that_beats_every_other_is_marked_best() -> None:
    base = dict(enumerate((1.0, 1.2, 0.9, 1.1, 1.05, 0.97)))
    far = {s: v - 0.5 - 0.01 * s for s, v in base.items()}
    close = {s: v - 0.5 - 0.01 * s + (0.1 if s % 2 else -0.1) for s, v in base.items()}
    assert results.is_best(far, [base], larger=False) and not results.is_best(far, [base], larger=True)
    assert not results.is_best(far, [base, close], larger=False), "the other one may be as good"
    assert not results.is_best({0: 0.1, 1: 0.1}, [{0: 5.0, 1: 5.0}], larger=False), "two seeds"
    assert not results.is_best(far, [base], larger=None)


# -- tables --------------------------------------------------------------------------------------------------


def made(values: dict[str, list[float]], larger: bool | None = False) -> results.Results:
    """Results of one metric from numbers."""
    found = {n: {"l1": dict(enumerate(v))} for n, v in values.items()}
    first = next(iter(values))
    rows = tuple(results.Row(n, {"l1": results._cell(found, n, "l1", first, larger)}) for n in values)
    notes = tuple(results._notes(rows, ["l1"]))
    return results.Results("t", first, ("l1",), {"l1": larger}, rows, ("x, seed 3: not begun",), notes)


SIX = [1.0, 1.2, 0.9, 1.1, 1.05, 0.97]


def test_tables_bold_what_is_supported_and_nothing_else() -> None:
    clear = made({"base": SIX, "a|b_1": [v - 0.5 - 0.01 * k for k, v in enumerate(SIX)]})
    unclear = made({"base": SIX[:3], "a|b_1": [v - 0.5 for v in SIX[:3]]})
    assert "| a\\|b\\_1 | 6 | **0.51 ± 0.11** |" in tables.markdown(clear)
    assert r"a\textbar{}b\_1 & 6 & $\mathbf{0.51 \pm 0.11}$ \\" in tables.latex(clear)
    assert "**" not in tables.markdown(unclear) and "mathbf" not in tables.latex(unclear)
    assert "n = 3 is too small to say" in tables.markdown(unclear) and "p = 0.25" in tables.markdown(unclear)
    assert "too small" not in tables.markdown(clear) and "missing: x, seed 3: not begun" in tables.latex(clear)


def test_the_csv_has_every_number_in_full() -> None:
    found = made({"base": SIX, "other": [v + 1 / 3 for v in SIX]})
    first, second = csv.DictReader(tables.comma_separated(found).splitlines())
    assert [float(x.split("=")[1]) for x in first["values"].split()] == SIX and first["difference"] == ""
    assert float(second["difference"]) == pytest.approx(1 / 3) and float(second["p"]) == 2 / 64
    assert (second["variant"], second["n"], second["pairs"], second["best"]) == ("other", "6", "6", "0")


def test_one_seed_and_a_diverged_one_are_said() -> None:
    assert any("one seed" in n for n in made({"base": [1.0], "x": [2.0]}).notes)
    diverged = made({"base": SIX, "x": [math.nan, *SIX[1:]]})
    assert any("not finite" in n for n in diverged.notes) and "nan" in tables.markdown(diverged)


# -- runs ----------------------------------------------------------------------------------------------------


def one(path: Path, folder: Path, seed: int = 0, variant: int = 0) -> Run:
    found = read(path)
    return next(r for r in runs_of(found, folder / "table", found.variants[variant : variant + 1]) if r.seed == seed)


def test_progress_counts_what_processes_print() -> None:
    assert steps_in("") == (0, None)
    assert steps_in("runs/x/seed-0: 600 iterations on cpu; 9 training samples") == (0, 600)
    assert steps_in("runs/x: goes on after step 120 of 600 on cpu; 9 training\n") == (120, 600)
    assert steps_in("a: 600 iterations on cpu\nstep 50/600  9 it/s\nstep 100/600  9 it/s\n") == (100, 600)


def test_the_time_left_is_by_the_work_that_is_left(tmp_path: Path) -> None:
    path = table(tmp_path)
    cheap, dear = one(path, tmp_path), one(path, tmp_path, variant=2)
    now = [0.0]
    told = Shown(Work({cheap: 100, dear: 100}, {cheap: 1.0, dear: 3.0}), Silent(), clock_=lambda: now[0])
    told.begins(cheap, State("new", total=100))
    now[0] = 10.0
    told.update({cheap: "step 50/100  5 it/s"})
    assert told.done_and_left() == (50.0, 350.0) and told.eta() == "eta 1:10"
    told.ends(cheap, "")
    assert told.done_and_left() == (100.0, 300.0)


class Silent:
    file = sys.stdout

    def print(self, *_: object, **__: object) -> None: ...


def test_cores_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [processes.threads_for(n) for n in (1, 3, 8, 20)] == [8, 2, 1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert [processes.threads_for(n) for n in (1, 8)] == [2, 1]


def test_what_goes_on_has_the_threads_that_it_was_begun_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With others its sums would be added in another order."""
    begun: list[tuple[list[str], str]] = []
    monkeypatch.setattr(processes.subprocess, "Popen", lambda c, env, **_: begun.append((c, env["OMP_NUM_THREADS"])))
    path = table(tmp_path)
    run = one(path, tmp_path / "runs", seed=1)
    for state in (State("new", total=2), State("begun", 1, 2, threads=3)):
        processes._start(processes.Job(run, path, state, threads=7)).log.close()
    assert [threads for _, threads in begun] == ["7", "3"]
    words = begun[0][0]
    assert words[words.index("run") + 1 :] == [
        str(path), "--set", "lambda_GAN = 0.0", "--set", "Trainer.seed = 1", "--runs",
        str(tmp_path / "runs" / "table" / "L1"), "--name", "seed-1", "--resume",
    ]  # fmt: skip


def test_last_words_are_the_error() -> None:
    text = "a warning\nstep 1/6\nx.gin:3: error[no-data]: there is no data\n  bind a dataset\n"
    assert (
        processes.last_words(text, 2) == "x.gin:3: error[no-data]: there is no data\n  bind a dataset\n(exit status 2)"
    )
    assert processes.last_words("one\ntwo", -9) == "one\ntwo\n(killed by signal 9)"


def test_a_directory_with_another_experiment_is_refused_before_anything_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = one(table(tmp_path), tmp_path / "runs")
    Trainer(run.experiment, run.path, progress=False).fit()
    assert state_of(run).kind == "finished"
    path = table(tmp_path, ("'lambda_GAN': 0.0", "'lambda_GAN': 0.5"))
    done = command(capsys, "ablate", path, "--runs", tmp_path / "runs")
    assert done.status == 2 and "lambda_GAN" in done.err and "give the variant another name" in done.err
    assert "begins" not in done.out


def test_a_run_that_was_stopped_goes_on_and_a_finished_one_is_left_alone(tmp_path: Path) -> None:
    run = one(table(tmp_path), tmp_path / "runs")
    assert state_of(run) == State("new", total=2)
    Trainer(run.experiment, run.path, progress=False).fit()
    found = state_of(run)
    assert (found.kind, found.step, found.total, found.threads) == ("finished", 2, 2, torch.get_num_threads())
    longer = replace(run, experiment=config.load(run.variant.location.file, [*run.overrides, "Trainer.steps = 9"]))
    assert state_of(longer).kind == "other"
    by_epochs = ["Trainer.steps = None", "Trainer.epochs = 1", "Trainer.batch_size = 64"]
    path = tmp_path / "runs" / "epochs"
    epochs = replace(run, experiment=config.load(BASE, by_epochs), path=path)
    Trainer(epochs.experiment, path, progress=False).fit()
    assert state_of(epochs).kind == "finished" and state_of(epochs).total == state_of(epochs).step > 0


def test_a_report_is_made_of_run_directories_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path, also="Trainer.watch_every = 0\n")
    for variant in (0, 2):
        run = one(path, tmp_path / "runs", variant=variant)
        Trainer(run.experiment, run.path, progress=False).fit()
    done = command(capsys, "ablate", path, "--runs", tmp_path / "runs", "--report")
    folder = tmp_path / "runs" / "table"
    names = [
        "curves.png",
        "curves.svg",
        "metrics.png",
        "metrics.svg",
        "samples.png",
        "table.csv",
        "table.md",
        "table.tex",
    ]
    assert (done.status, sorted(p.name for p in folder.iterdir() if p.is_file())) == (0, names)
    assert "missing: GAN + L1, seed 0: not begun" in done.out and "L1, seed 1: not begun" in done.out
    assert "difference from cGAN + L1" in done.out and "one seed shows nothing" in done.out
    rows = {row["variant"]: row for row in csv.DictReader((folder / "table.csv").read_text("utf-8").splitlines())}
    last = (folder / "L1" / "seed-0" / "metrics.csv").read_text("utf-8").splitlines()
    logged = dict(zip(last[0].split(","), last[-1].split(","), strict=True))
    assert float(rows["L1"]["mean"]) == pytest.approx(float(logged["metric/l1"]), rel=1e-6)
    assert rows["GAN + L1"]["mean"] == "" and rows["L1"]["sd"] == ""
    with Image.open(folder / "samples.png") as sheet:
        parts = images.apart(sheet.convert("RGB"), ["real_A", "real_B", "L1", "cGAN + L1"])
    with Image.open(folder / "L1" / "seed-0" / "samples" / "000002.png") as sheet:
        own = images.apart(sheet.convert("RGB"), ["real_A", "fake_B", "real_B"])
    assert parts["L1"].tobytes() == own["fake_B"].tobytes() != parts["cGAN + L1"].tobytes()
    assert parts["real_A"].tobytes() == own["real_A"].tobytes() and parts["real_B"].tobytes() == own["real_B"].tobytes()


def test_without_matplotlib_the_tables_are_written_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (tmp_path / "runs" / "table").mkdir(parents=True)
    done = command(capsys, "ablate", table(tmp_path), "--runs", tmp_path / "runs", "--report")
    assert done.status == 0 and "no pictures: " in done.out and "ganflow[report]" in done.out
    assert "6 runs" not in done.out and done.out.count("not begun") == 6
    assert sorted(p.name for p in (tmp_path / "runs" / "table").iterdir()) == ["table.csv", "table.md", "table.tex"]


def test_a_report_of_nothing_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = command(capsys, "ablate", table(tmp_path), "--runs", tmp_path / "runs", "--report")
    assert done.status == 2 and "nothing of this ablation has run" in done.err
    done = command(capsys, "ablate", table(tmp_path), "--report", "--dry-run")
    assert done.status == 2 and "--report runs nothing" in done.err


def test_a_mean_curve_has_the_steps_that_all_seeds_have() -> None:
    assert pictures.mean_line([[(1, 2.0), (5, 4.0), (9, 1.0)], [(1, 4.0), (5, 5.0)], []]) == [(1, 3.0), (5, 4.5)]
    assert pictures.mean_line([[], []]) == []


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}


def ablate(path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    given = [sys.executable, "-m", "ganflow", "ablate", str(path), "--runs", str(path.parent / "runs"), *more]
    return subprocess.run(given, capture_output=True, text=True, env=environment(), timeout=300)


@pytest.mark.slow
def test_one_failure_stops_no_other_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """`bad` is legal, and its data are not there when it trains."""
    (tmp_path / "ablation_data.py").write_text(
        "import gin, pathlib\nfrom ganflow.data.earth import earth\n"
        "@gin.register\ndef gate(name):\n"
        "    made = earth(size=16, scale=10, block=2)\n"
        "    class Gate:\n"
        "        def __getattr__(self, name):\n"
        "            return getattr(made, name)\n"
        "        def prepare(self):\n"
        "            if name and not pathlib.Path(name).exists():\n"
        "                raise ValueError('the gate is shut')\n"
        "            made.prepare()\n"
        "    return Gate()\n",
        encoding="utf-8",
    )
    path = table(tmp_path, ("include", "import ablation_data\ninclude"), ("(0, 1)", "(0,)"))
    open_ = (tmp_path / "open").as_posix()
    text = path.read_text(encoding="utf-8").replace("{'pred_fake'", f"{{'gate.name': '{open_}', 'pred_fake'")
    path.write_text(text + "Trainer.data = @gate()\ngate.name = ''\n", encoding="utf-8")
    first = ablate(path, "--jobs", "2")
    assert first.returncode == 1, first.stdout + first.stderr
    assert "the gate is shut" in first.stdout and "1 of 3 runs failed" in first.stdout
    assert "L1, seed 0: done" in first.stdout and "cGAN + L1, seed 0: done" in first.stdout
    folder = tmp_path / "runs" / "table"
    assert "GAN + L1, seed 0: not begun" in (folder / "table.md").read_text(encoding="utf-8")
    (tmp_path / "open").touch()
    before = (folder / "L1" / "seed-0" / "metrics.jsonl").stat().st_mtime_ns
    second = ablate(path)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "2 finished, which are not run again" in second.stdout and "L1, seed 0: begins" in second.stdout
    assert (folder / "L1" / "seed-0" / "metrics.jsonl").stat().st_mtime_ns == before
    made_ = {p.name: p.read_bytes() for p in folder.glob("table.*")}
    assert len(made_) == 3 and b"missing" not in made_["table.md"]
    for name in made_:
        (folder / name).unlink()
    assert ablate(path, "--report").returncode == 0
    assert {p.name: p.read_bytes() for p in folder.glob("table.*")} == made_


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_reaches_the_runs_which_save_and_go_on_exactly(tmp_path: Path, number: int, status: int) -> None:
    path = table(tmp_path, ("Trainer.steps = 2", "Trainer.steps = 400"), ("(0, 1)", "(0,)"),
                 also="Trainer.log_every = 5\nTrainer.sample_every = 0\nTrainer.eval_every = 0\n")  # fmt: skip
    given = [sys.executable, "-m", "ganflow", "ablate", str(path), "--runs", str(tmp_path / "runs"), "--only", "L1"]
    process = subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    log = tmp_path / "runs" / "table" / "L1" / "seed-0.log"
    until = time.monotonic() + 120
    while time.monotonic() < until and not (log.exists() and "step 5/400" in log.read_text(encoding="utf-8")):
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, out + err
    assert "stopped; what was done is saved. To go on: " in out and f"ablate {path} --only L1 --runs" in out
    run = one(path, tmp_path / "runs")
    stopped = state_of(run)
    assert not rundir.is_in_use(run.path) and stopped.kind == "begun" and 0 < stopped.step < 400
    again = ablate(path, "--only", "L1")
    assert again.returncode == 0 and f"goes on after step {stopped.step}" in again.stdout
    whole = tmp_path / "whole"
    Trainer(run.experiment, whole, progress=False).fit()
    mine, other = (torch.load(p / "weights.pt")["networks"]["G"] for p in (run.path, whole))
    assert all(torch.equal(mine[k], other[k]) for k in mine)


# -- the page ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1])
def test_the_examples_of_the_page_can_be_planned(tmp_path: Path, number: int) -> None:
    text = (ROOT / "docs" / "ablations.md").read_text(encoding="utf-8")
    block = re.findall(r"^```\n(.*?)^```$", text, re.M | re.S)[number]
    base = (ROOT / "experiments" / "pix2pix.gin").as_posix()
    path = tmp_path / "page.gin"
    path.write_text(f"include '{base}'\n" + block.replace("include 'pix2pix.gin'\n", ""), encoding="utf-8")
    plan = plan_of(read(path))
    assert plan.variants[0].variant.name in ("L1", "base") and plan.reference in ("cGAN + L1", "base")
    assert all(p.comparison is None or not p.comparison.same for p in plan.variants)
