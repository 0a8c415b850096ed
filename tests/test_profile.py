"""`ganflow profile`: whose time, FLOPs and bytes they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import DeviceType

import ganflow
from commands import ganflow as command
from ganflow import cost
from ganflow.data.fields import Field
from ganflow.profile import html, measure, text, to_json
from ganflow.profile.attribution import attributed
from ganflow.profile.measure import ENOUGH, _Runner
from ganflow.profile.memory import peaks
from ganflow.profile.model import Profile, Row
from ganflow.profile.stepping import ProfiledStep, Tape
from handwritten.zoo.cases import CASES
from handwritten.zoo.common import Draws, difference, result
from test_zoo import PROGRAMS, trained
from test_zoo import experiment as program_of
from zoo_networks import known, register

PIX2PIX = Path(__file__).parent.parent / "experiments" / "pix2pix.gin"
SMALL = ["UNetGenerator.base = 4", "PatchDiscriminator.base = 4"]

SIZE = 256
ROUNDS = 30


@register
class Vectors:
    """Sixteen samples ``real``: 4 numbers."""

    def __init__(self) -> None:
        self.fields = {"real": Field((4,))}
        self.samples = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"real": self.samples[index]}


@register
class Two(nn.Module):
    """N×4 -> N×outputs, through 16 tanhs."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@register
def heavy(x: Tensor) -> Tensor:
    """``x`` plus nearly nothing, by many products of matrices, forward as backward."""
    wide = x.sum() * torch.full((SIZE, SIZE), 1.0 / SIZE)
    for _ in range(ROUNDS):
        wide = wide @ torch.full((SIZE, SIZE), 1.0 / SIZE)
    return x + 1e-3 * wide.mean()


GAN = """
Trainer.data = @Vectors()
Trainer.batch_size = 8
Trainer.device = 'cpu'
G/Network.module = @Two()
D/Network.module = @Two()
G/Two.outputs = 4
Network.optimizer = @SGD
SGD.lr = 0.01
z      = 'randn(batch_size, 4)'
fake   = 'G(z)'
D_loss = 'mean(softplus(D(detach(fake)))) + mean(softplus(-D(real)))'
G_loss = 'mean(softplus(-D(fake)))'
D/Update.minimize = 'D_loss'
G/Update.minimize = 'G_loss'
Schedule.updates  = ['D', 'G']
"""
HEAVY = "fake = 'heavy(made)'\nmade = 'G(z)'"


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    with known():
        yield


def profiled(*lines: str, **given: Any) -> Profile:
    given = {"steps": 2, "warmup": 1, "textbook": False, **given}
    return measure(ganflow.loads("\n".join([GAN, *lines])), **given)


def row(found: Profile, section: str, label: str) -> Row:
    return next(r for s in found.sections if s.name == section for r in s.rows if r.label == label)


# -- time --------------------------------------------------------------------------------------------------------


def test_the_times_of_all_rows_are_the_iteration() -> None:
    found = profiled()
    assert sum(r.time for r in found.rows) == pytest.approx(found.seconds, rel=1e-9)
    assert all(r.forward >= 0 and r.backward >= 0 for r in found.rows), [r for r in found.rows if r.time < 0]
    assert {r.label for r in found.sections[0].rows} >= {"fake", "D_loss", "loss D", "autograd itself", "step D"}


def test_a_slow_value_gets_its_time_forward_and_in_the_backward_pass_of_a_later_update() -> None:
    found = profiled(HEAVY)
    made, reused = row(found, "D", "fake"), row(found, "G", "fake")
    assert reused.kind == "reused" and reused.forward == 0 and made.backward == 0
    others = [r for r in found.rows if r.label not in ("fake", "elsewhere", "next batch")]
    assert made.forward > sum(r.forward for r in others)
    assert reused.backward > sum(r.backward for r in others)
    assert row(found, "", "elsewhere").time < found.seconds / 2


def test_the_time_of_an_inner_derivative_and_of_its_own_backward_pass_is_the_gradients() -> None:
    lines = (HEAVY, "g = 'grad(heavy(x), x)'", "x = 'heavy(real) + 0 * fake'", "G_loss = 'mean(square(g + 0 * fake))'")
    found = profiled(*lines)
    assert row(found, "G", "g").forward > row(found, "G", "loss G").time


def test_a_profiled_iteration_has_the_same_bits() -> None:
    for program in ("wgan_gp", "vqgan", "cut", "stylegan2_ada", "unrolled", "cyclegan"):
        assert difference(run(program, timed=True), trained(program)) == 0.0, program


# In their groups one member's pass reaches what another trains; without freezing they are other methods.
GROUPS = ("bicyclegan", "pix2pixhd", "vaegan")


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p not in GROUPS])
def test_the_textbook_loop_trains_the_same(program: str) -> None:
    """It costs more, and its numbers are the plan's: nothing is freed too early, no gradient is left over."""
    assert difference(run(program, textbook=True), trained(program)) <= 1e-12


def test_a_textbook_pass_leaves_the_graph_that_a_later_member_needs() -> None:
    """D's whole pass goes through `fake`, which both generator updates differentiate; the plan's stops at D."""
    found = profiled(
        "pred = 'D(fake)'", "D_loss = 'mean(softplus(pred))'", "G_loss = '-mean(pred)'", "H/Update.trains = 'G'",
        "H/Update.minimize = 'mean(square(fake - real))'", "Schedule.updates = [('G', 'D', 'H')]", textbook=True,
    )  # fmt: skip
    assert found.textbook is not None and not found.notes


def test_what_is_not_known_of_conditions_on_tensors_is_not_told() -> None:
    """D never steps here, and what a textbook loop spends for it is no part of a ratio."""
    found = profiled("D/Update.when = 'mean(fake) > 100'", textbook=True)
    assert found.textbook is not None and found.textbook.flops is None and not found.savings
    assert found.flops and any("not counted where conditions" in note for note in found.notes)


def run(program: str, *, timed: bool = False, textbook: bool = False) -> Any:
    case, draws = CASES[program], Draws()
    step = ProfiledStep(program_of(program), case.batches(), networks=case.build(), random=draws, textbook=textbook)
    step.timed = timed
    torch.manual_seed(1)
    for _ in range(case.iterations):
        step()
    return result(step.networks, step.states) | {"draws": draws.counts}


def test_what_runs_now_and_then_says_how_often() -> None:
    found = profiled("G/Update.every = 4", steps=4, warmup=4)
    assert row(found, "D", "step D").runs == 1 and row(found, "G", "step G").runs == 0.25
    whole = profiled()
    assert row(found, "G", "D(fake)").flops == row(whole, "G", "D(fake)").flops / 4
    assert "step G ×0.25" in text(found)
    never = profiled("G/Update.every = 4", steps=1, warmup=5)
    assert [n for n in never.notes if "update G did not run" in n]


def test_flops_are_those_of_the_iterations_that_ran() -> None:
    found = profiled("D/Update.every = 4", steps=4, textbook=True)
    wide, narrow = 2 * 8 * 4 * 16, 2 * 8 * 16 * 1
    made, reused, real = row(found, "D", "fake"), row(found, "G", "fake"), row(found, "D", "D(real)")
    assert made.forward_flops == 2 * wide / 4 and reused.forward_flops == 2 * wide * 3 / 4  # without D, G makes it
    assert real.forward_flops == (wide + narrow) / 4 and reused.backward_flops == 3 * wide
    frozen, reuse = (next(s for s in found.savings if s.counted is k) for k in (True, False))
    assert frozen.flops == wide + narrow and reuse.flops == 2 * wide / 4
    assert found.textbook is not None and found.flops is not None
    assert found.textbook.flops == found.flops + wide + narrow


def test_repeats_and_parts_of_a_batch_count_as_often_as_they_run() -> None:
    found = profiled("D/Update.repeat = 3")
    assert row(found, "D", "step D").runs == 3 and row(found, "", "next batch").runs == 3
    parts = profiled("D/Update.microbatches = 4")
    assert row(parts, "D", "loss D").runs == 4 and row(parts, "D", "step D").runs == 1
    assert row(parts, "D", "D(real)").forward_flops == row(profiled(), "D", "D(real)").forward_flops


def test_averages_clipping_states_and_clamps_have_rows() -> None:
    lines = ("E/Network.ema_of = 'G'", "E/Network.ema_beta = 0.9", "Trainer.eval_networks = {'G': 'E'}",
             "D/Update.clip_norm = 1.0", "D/Network.clamp = (-1, 1)", "p/State.init = 0.0",
             "p/State.next = 'p + mean(fake)'",
             "G_loss = 'mean(softplus(-D(fake))) + p * mean(fake)'")  # fmt: skip
    labels = {r.label for r in profiled(*lines).rows}
    assert labels >= {"clip gradients D", "clamp D", "E follows", "state p"}


# -- FLOPs and bytes ---------------------------------------------------------------------------------------------


def test_flops_are_those_that_cost_counts() -> None:
    found = profiled("Schedule.updates = ['G', 'D']")
    experiment = ganflow.loads(GAN + "Schedule.updates = ['G', 'D']")
    counted = cost.measure(experiment, ganflow.schedule(experiment))
    assert {s.name: sum(r.flops for r in s.rows) for s in found.sections if s.name} == counted.updates
    assert found.flops == counted.total > 0


def test_flops_and_bytes_of_a_tiny_network_are_those_of_a_pencil() -> None:
    found = profiled()
    wide, narrow = 2 * 8 * 4 * 16, 2 * 8 * 16 * 1  # the two layers of D on a batch of 8
    real, through = row(found, "D", "D(real)"), row(found, "G", "D(fake)")
    assert (real.forward_flops, real.backward_flops) == (wide + narrow, wide + 2 * narrow)  # no gradient of `real`
    assert (through.forward_flops, through.backward_flops) == (wide + narrow, wide + narrow)  # none of the weights
    generator = row(found, "G", "fake")
    assert (generator.forward_flops, generator.backward_flops) == (0, 3 * wide)  # its two layers are as large
    hidden, out = 8 * 16 * 4, 8 * 1 * 4
    assert (real.value_bytes, real.kept_bytes) == (out, hidden)
    made = row(found, "D", "fake")
    assert (made.value_bytes, made.kept_bytes) == (8 * 4 * 4, hidden)
    loss = row(found, "G", "G_loss")
    assert (loss.value_bytes, loss.kept_bytes) == (4, out)  # softplus of -D(fake), which is a value of its own


def test_nothing_is_kept_for_a_value_without_gradient() -> None:
    found = profiled("D_loss = 'mean(softplus(D(detach(G(randn(batch_size, 4)))))) + mean(softplus(-D(real)))'")
    quiet = next(r for r in found.sections[0].rows if r.label.startswith("G(randn"))
    assert quiet.mode == "no-grad" and quiet.kept_bytes == 0 and quiet.value_bytes == 8 * 4 * 4


def test_the_peak_is_the_most_that_is_there_at_one_time() -> None:
    def memory(time: float, change: int, device: int = 0) -> dict[str, Any]:
        return {"name": "[memory]", "ts": time, "args": {"Bytes": change, "Device Type": device}}

    def at(time: float, name: str) -> dict[str, Any]:
        return {"name": name, "cat": "user_annotation", "ts": time, "dur": 1}

    events = [memory(1, 10), at(2, "D: x"), memory(3, 100), memory(3.5, 7, 1), memory(4, -90), at(6, "G: y"),
              memory(7, 30), memory(8, 25), at(5, "D: z")]  # fmt: skip
    trace = json.dumps({"traceEvents": events})
    labels = {"D: x": ("D", "x"), "D: z": ("D", "z"), "G: y": ("G", "y")}
    found = peaks(trace, labels, device="cpu")
    assert found is not None and (found.total, found.phases["D"], found.phases["G"]) == (110, 110, 75)
    assert peaks(trace, labels, device="cuda").total == 7 and peaks(trace, labels, device="mps") is None


def test_nobody_pays_for_the_batch() -> None:
    found = profiled("Schedule.updates = ['D']", "D_loss = 'mean(softplus(-D(real)))'", "fake = 'real'", textbook=True)
    assert found.textbook is not None and found.peak == found.textbook.peak  # there is nothing to freeze


def test_a_measured_peak_holds_what_is_kept() -> None:
    found = profiled("Trainer.batch_size = 16")
    least = sum((r.value_bytes or 0) + (r.kept_bytes or 0) for r in found.sections[0].rows if r.mode)
    weights = 4 * (4 * 16 + 16 + 16 * 4 + 4)
    assert found.peak is not None and least <= found.peak < 8 * (least + weights)
    assert found.sections[0].peak is not None and found.sections[0].peak <= found.peak


# -- attribution -------------------------------------------------------------------------------------------------


def event(name: str, start: float, end: float, *, seq: int = -1, scope: int = 0, **more: Any) -> SimpleNamespace:
    given = {"thread": 1, "fwd_thread": 1, "kernels": [], "device_type": DeviceType.CPU, **more}
    return SimpleNamespace(name=name, time_range=SimpleNamespace(start=start, end=end), sequence_nr=seq, scope=scope,
                           **given)  # fmt: skip


ENGINE = "autograd::engine::evaluate_function: "


def kernels(*durations: float) -> list[SimpleNamespace]:
    return [SimpleNamespace(duration=d) for d in durations]


def recorded() -> list[SimpleNamespace]:
    """Two values, the second made by the last of three operations that saw number 7; a backward pass elsewhere."""
    return [
        event("iteration", 0, 100), event("a", 0, 10), event("b", 10, 20), event("bw", 30, 60),
        event("mm", 1, 9, seq=6, kernels=kernels(2, 3)), event("view", 9, 9.5, seq=7),
        event("mm", 11, 19, seq=7, kernels=kernels(10)),
        event(ENGINE + "Mm", 31, 40, seq=7, thread=2), event("MmBackward", 32, 39, seq=7, scope=1, thread=2),
        event("mm", 33, 38, thread=2, kernels=kernels(20)), event(ENGINE + "inner", 34, 37, seq=6, thread=2),
        event(ENGINE + "Mm", 41, 45, seq=6, thread=2), event("mm", 42, 44, thread=2, kernels=kernels(4)),
        event(ENGINE + "AccumulateGrad", 46, 48, thread=2),
        event("sync", 90, 99, kernels=kernels(1)),
        event("a", 5, 9, device_type=DeviceType.CUDA),
    ]  # fmt: skip


LABELS = {"a": ("D", "a"), "b": ("D", "b"), "bw": ("G", "backward G")}


def micro(found: Any, key: tuple[str, str]) -> tuple[float, float]:
    return round(1e6 * found.times[key].forward, 6), round(1e6 * found.times[key].backward, 6)


def test_backward_passes_count_for_whoever_made_the_operation() -> None:
    found = attributed(recorded(), LABELS)
    assert micro(found, ("D", "a")) == (10, 0) and micro(found, ("D", "b")) == (10, 0)
    assert micro(found, ("G", "b")) == (0, 9)  # the inner pass is part of it
    assert micro(found, ("G", "a")) == (0, 4 + 2)  # with the accumulation that follows
    assert micro(found, ("G", "backward G")) == (30 - 9 - 4 - 2, 0)
    assert 1e6 * found.elsewhere == pytest.approx(100 - 50)


def test_on_a_device_the_time_is_that_of_the_kernels() -> None:
    found = attributed(recorded(), LABELS, on_device=True)
    assert micro(found, ("D", "a")) == (5, 0) and micro(found, ("D", "b")) == (10, 0)
    assert micro(found, ("G", "b")) == (0, 20) and micro(found, ("G", "a")) == (0, 4)
    assert 1e6 * found.elsewhere == pytest.approx(100 - 39)


# -- the textbook loop -------------------------------------------------------------------------------------------


def test_the_ratio_is_that_of_neighbours_on_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[bool] = []

    def seconds(self: _Runner, step: ProfiledStep) -> float:
        order.append(step.textbook)
        step.timed = False
        step()
        return (ENOUGH if step.textbook else ENOUGH / 2) * (1 + len(order))

    monkeypatch.setattr(_Runner, "seconds", seconds)
    found = profiled(textbook=True, steps=3, warmup=0)
    assert order == [False, True, True, False, False, True]
    assert found.textbook is not None and found.textbook.pairs == 3
    ratios = 2 * 3 / 2, 2 * 4 / 5, 2 * 7 / 6  # the textbook loop was first in the second pair
    assert found.textbook.ratio == pytest.approx(ratios[2])
    assert found.textbook.low == pytest.approx((ratios[1] + ratios[2]) / 2)
    assert found.plain[0] == pytest.approx(ENOUGH / 2 * 5) and found.textbook.seconds == pytest.approx(ENOUGH * 4)


def test_what_the_plan_avoids_is_named() -> None:
    found = profiled(textbook=True)
    wide, narrow = 2 * 8 * 4 * 16, 2 * 8 * 16 * 1
    assert found.textbook is not None and found.textbook.flops is not None and found.flops is not None
    assert found.textbook.flops - found.flops == wide + narrow
    frozen, reused = found.savings
    assert frozen.counted and frozen.flops == wide + narrow and "D frozen" in frozen.why
    assert not reused.counted and reused.flops == 2 * wide and "fake reused" in reused.why
    assert found.forwards == {"G": 1, "D": 3}


def test_both_read_the_same_batches() -> None:
    tape = Tape([{"x": torch.tensor(k)} for k in range(3)])
    one, other = tape.reader(0), tape.reader(1)
    read = [int(next(one)["x"]) for _ in range(2)], [int(next(other)["x"]) for _ in range(4)]
    assert read == ([0, 1], [0, 1, 2, 0]) and [int(next(one)["x"]) for _ in range(3)] == [2, 0, 1]
    assert next(Tape([]).reader(0), None) is None


# -- what is shown -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pix2pix() -> Profile:
    return measure(ganflow.load(PIX2PIX, overrides=SMALL), steps=1, warmup=1, synthetic=True, device="cpu", trace=True)


def test_the_table_fits_a_terminal_and_is_in_the_order_of_the_step(pix2pix: Profile) -> None:
    lines = text(pix2pix).splitlines()
    table = lines[3 : lines.index("", 4)]
    assert max(map(len, table)) <= 80
    labels = [line.split()[0] for line in table]
    assert labels[:5] == ["FLOP", "mode", "update", "fake_B", "pred_fake"] and labels[-1] == "iteration"
    assert labels.index("D_real") < labels.index("step") < labels.index("G_GAN")
    assert re.search(r"saves .*FLOP +update G: D frozen", text(pix2pix))


def test_the_page_shows_the_numbers_in_the_picture_and_below(pix2pix: Profile) -> None:
    page = html(pix2pix)
    assert page.count('class="heat"') >= 4 and "https://" not in page and "<table>" in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))  # type: ignore[union-attr]
    details = dict(data["boxes"]["1.fake_B"]["details"])
    fake = row(pix2pix, "D", "fake_B")
    assert f"{1e3 * fake.forward:.3g}"[:2] in details["time"] and "forward" in details["FLOPs"]
    assert "kept for backward" in details["memory"] and "backward" in dict(data["boxes"]["2.fake_B"]["details"])["time"]
    assert page.count("<tr") == len(pix2pix.rows) + 2 + 2 * len(pix2pix.sections) + 1


def test_an_unprofiled_picture_has_no_heat() -> None:
    from ganflow.inspection import inspect

    assert "heat" not in inspect(ganflow.load(PIX2PIX)).shown("html")


def test_the_json_holds_every_number(pix2pix: Profile) -> None:
    found = json.loads(to_json(pix2pix))
    rows = [r for s in found["sections"] for r in s["rows"]]
    assert sum(r["share"] for r in rows) == pytest.approx(1) and found["flops"] == pix2pix.flops
    assert [r["what"] for r in rows] == [r.what for r in pix2pix.rows]
    assert found["textbook"]["ratio"] > 0 and found["without_profiler"]["seconds"] > 0


def test_the_trace_is_of_one_iteration(pix2pix: Profile) -> None:
    names = [e.get("name") for e in json.loads(pix2pix.trace)["traceEvents"]]
    assert names.count("iteration") == 1 and names.count("D: fake_B") == 1 and "G: backward G" in names


def test_what_is_not_known_is_a_question_mark(pix2pix: Profile) -> None:
    sections = tuple(
        replace(s, rows=tuple(replace(r, forward_flops=None, backward_flops=None) for r in s.rows))
        for s in pix2pix.sections
    )
    assert "?" in text(replace(pix2pix, sections=sections, flops=None)) and "?" not in text(pix2pix)


# -- the command -------------------------------------------------------------------------------------------------


def test_the_command_prints_and_writes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = [v for line in SMALL for v in ("--set", line)]
    page, numbers, trace = tmp_path / "p.html", tmp_path / "p.json", tmp_path / "t.json"
    ran = command(capsys, "profile", PIX2PIX, *given, "--steps", 1, "--synthetic", "--device", "cpu", "--no-textbook",
                  "--out", page, "--out", numbers, "--trace", trace)  # fmt: skip
    assert ran.status == 0 and "update D" in ran.out and "random numbers" in ran.out
    assert ran.out.splitlines()[-3:] == [str(page), str(numbers), str(trace)]
    assert json.loads(numbers.read_text())["textbook"] is None and "traceEvents" in trace.read_text()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (("--out", "p.png"), "unknown-format"),
        (("--out", "setup.py/p.html"), "cannot-write"),
        (("--out", "nowhere/p.html"), "cannot-write"),
        (("--trace", "."), "cannot-write"),
        (("--device", "cuda:7"), "no-device"),
        (("--set", "fake_B = 'G(real_C)'"), "unknown-name"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], code: str
) -> None:
    monkeypatch.setattr(_Runner, "run", lambda *_, **__: pytest.fail("it ran"))
    monkeypatch.chdir(PIX2PIX.parent.parent)
    ran = command(capsys, "profile", PIX2PIX, "--synthetic", *given)
    assert ran.status == 2 and f"error[{code}]" in ran.err and ran.out == ""


def test_synthetic_batches_need_shapes() -> None:
    with pytest.raises(ganflow.GanflowError, match="shapes of the batch are not known"):
        measure(program_of("gan"), synthetic=True)


@pytest.mark.parametrize("steps", ["0", "10001", "99999999999999999"])
def test_a_number_of_iterations_that_would_never_end_is_refused(steps: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = command(capsys, "profile", "none.gin", "--steps", steps)
    assert found.status == 2 and "--steps" in found.err
