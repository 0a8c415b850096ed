"""What differs between two experiments, and what does not: names, order, the way a text is written."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import ganflow
from commands import ganflow as command
from ganflow import expr as E
from ganflow import rundir
from ganflow.diff import SECTIONS, Comparison, Side, compare, text, to_json, verdict
from ganflow.experiment import Text, gin_text
from ganflow.parsing import parse
from ganflow.sides import defaults_of, side
from golden_text import GOLDEN, check_golden
from handwritten.zoo.cases import CASES
from zoo_networks import known

ROOT = Path(__file__).parent.parent
ZOO = Path(__file__).parent / "zoo"
PIX2PIX = ROOT / "experiments" / "pix2pix.gin"
PROGRAMS = tuple(CASES)
WIDTH = 100


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    with known():
        yield


def loaded(gin: str, *changes: str, program: str = "experiment") -> Side:
    experiment = ganflow.loads(gin, [*changes], name=program)
    return Side(experiment, ganflow.schedule(experiment), defaults=defaults_of(experiment))


def source(program: str) -> str:
    """The program with the sizes of its small networks, as one text."""
    text = (ZOO / f"{program}.gin").read_text(encoding="utf-8")
    text = re.sub(r"include '(\w+\.gin)'", lambda m: (ZOO / m[1]).read_text(encoding="utf-8"), text)
    return "\n".join([text, *CASES[program].gin(), ""])


def zoo(program: str, *changes: str) -> Side:
    return loaded(source(program), *changes, program=program)


@cache
def original(program: str) -> Side:
    return zoo(program)


@cache
def pix2pix(*changes: str) -> Side:
    return side(PIX2PIX, overrides=changes)


def subjects(comparison: Comparison) -> set[str]:
    return {c.subject for c in comparison.written}


# -- the same -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_is_the_same_as_itself(program: str) -> None:
    found = compare(original(program), zoo(program))
    assert (found.same, found.same_draws, found.changes, found.renamed) == (True, True, (), ())
    assert verdict(found) == "the same experiment"


def words_replaced(gin: str, new: dict[str, str]) -> str:
    """Definitions under other names, by text alone; what has a slash beside it is none, such as the update D/r1."""
    return re.sub(r"(?<![\w./])[^\W\d]\w*(?![\w/])", lambda m: new.get(m[0], m[0]), gin)


def lines_shuffled(gin: str, rng: random.Random) -> str:
    """The one-line definitions of a text in another order; of a name that is bound twice the last counts."""
    lines = gin.split("\n")
    once = [k for k, line in enumerate(lines) if re.match(r"\w+ *= ", line) and "'''" not in line]
    bound = Counter(lines[k].split()[0] for k in once)
    places = [k for k in once if bound[lines[k].split()[0]] == 1]
    order = rng.sample(places, len(places))
    moved = {k: lines[o] for k, o in zip(places, order, strict=True)}
    return "\n".join(moved.get(k, line) for k, line in enumerate(lines))


def draws(program: str) -> bool:
    return any(n.site for n in original(program).graph.nodes.values())


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("program", PROGRAMS)
def test_definitions_under_other_names_are_the_same_graph(program: str, seed: int) -> None:
    rng = random.Random(seed)
    definitions = list(original(program).experiment.definitions)
    new = dict(zip(definitions, rng.sample([f"v{k}_" for k in range(100)], len(definitions)), strict=True))
    found = compare(original(program), loaded(lines_shuffled(words_replaced(source(program), new), rng)))
    assert (found.same, found.same_graph, found.written, found.consequences) == (True, True, (), ())
    assert dict(found.renamed) == new
    assert found.same_draws == (not draws(program))  # every site has another name now
    assert all(f"{a} → {b}" in verdict(found) for a, b in new.items())


@pytest.mark.parametrize("program", PROGRAMS)
def test_definitions_that_swap_their_names_are_the_same_graph(program: str) -> None:
    definitions = [n for n, d in original(program).experiment.definitions.items() if not d.read_by_gin]
    new = dict(zip(definitions, [*definitions[1:], definitions[0]], strict=True))
    found = compare(original(program), loaded(words_replaced(source(program), new)))
    assert (found.same, found.written, found.consequences) == (True, (), ())
    assert dict(found.renamed) == {a: b for a, b in new.items() if a != b}


def test_a_name_for_a_part_is_the_same_graph() -> None:
    named = zoo("pix2pix", "D_fake = 'bcel(pred_fake, 0)'", "zero = 0",
                "D/Update.minimize = '0.5 * (D_fake + bcel(pred_real, 1))'")  # fmt: skip
    found = compare(original("pix2pix"), named)
    assert found.same and found.renamed == (("bcel(pred_fake, 0)", "D_fake"),)


def test_another_number_at_one_place_is_another_text() -> None:
    """Both numbers have their places; reading one for the other is no renaming."""
    found = compare(original("hinge_sngan"), zoo("hinge_sngan", "y_f = 'randint(batch_size, nz)'"))
    assert not found.same_graph and subjects(found) == {"y_f"} and not found.renamed


def test_a_text_instead_of_a_template_is_the_same_graph() -> None:
    penalty = "lambda net, x: mean((norm(flat(grad(net(x), x)), dim=1) - 1) ** 2)"
    found = compare(original("wgan_gp"), zoo("wgan_gp", f"penalty = '{penalty}'", "gp = 'penalty(D, x_hat)'"))
    assert found.same and found.same_draws


def test_a_call_written_twice_is_not_a_call_with_a_name() -> None:
    twice = compare(original("pix2pix"), zoo("pix2pix", "pred_fake = 'D(cat(real_A, G(real_A)))'"))
    assert not twice.same_graph and subjects(twice) == {"pred_fake"}


def test_a_draw_that_joins_what_is_made_fresh_is_another_step() -> None:
    """The same values, but now each `fresh = ['fake']` draws them anew: draws belong to the text they stand in."""
    fresh = "D/Update.fresh = ['fake']"
    found = compare(zoo("gan", fresh), zoo("gan", fresh, "fake = 'G(randn(batch_size, nz))'"))
    assert found.isomorphic and not found.same_graph
    assert [(c.update, c.before, c.after) for c in found.changes if c.what == "mode"] == [
        ("D", "reused from G", "draw")
    ]


def test_a_default_that_is_bound_is_no_difference() -> None:
    found = compare(pix2pix(), pix2pix("PatchDiscriminator.layers = 3", "Adam.eps = 1e-8", "Trainer.samples = 8"))
    assert found.same


def test_what_no_side_evaluates_is_no_difference() -> None:
    off = ("lambda_A = 0",)
    assert compare(pix2pix(*off), pix2pix(*off, "G_L1 = 'mse(fake_B, real_B)'")).same


# -- one edit -----------------------------------------------------------------------------------------------

GRAPH, NUMBERS = False, True
EDITS = [
    ("gan", NUMBERS, {"G", "D"}, ["Adam.lr = 3e-3"]),
    ("gan", NUMBERS, {"D"}, ["D/Adam.lr = 3e-3"]),
    ("gan", NUMBERS, {"nz"}, ["nz = 7", "G/Generator.inputs = 100"]),
    ("gan", GRAPH, {"order"}, ["Schedule.updates = ['D', 'G']"]),
    ("gan", GRAPH, {"order"}, ["Schedule.updates = [('G', 'D')]"]),
    ("gan", GRAPH, {"D"}, ["D/Update.every = 2"]),
    ("gan", GRAPH, {"D"}, ["D/Update.when = 'step > 3'"]),
    ("gan", GRAPH, {"G"}, ["G/Update.fresh = ['z']"]),
    ("gan", GRAPH, {"G"}, ["G/Update.clip_norm = 1.0"]),
    ("gan", GRAPH, {"D"}, ["D/Update.microbatches = 2"]),
    ("gan", GRAPH, {"D"}, ["D/Update.optimizer = @SGD", "SGD.lr = 0.1"]),
    ("gan", NUMBERS, {"D"}, ["D/Network.init = 'xavier'"]),
    ("gan", GRAPH, {"D"}, ["D/Network.clamp = (-1.0, 1.0)"]),
    ("gan", GRAPH, {"G_adv"}, ["G_adv = 'bce(D(detach(fake) + G(z)), True)'"]),
    ("gan", GRAPH, {"D_adv"}, ["D_adv = '0.5 * (bce(D(real), True) + bce(D(fake), True))'"]),
    ("lsgan", GRAPH, {"z"}, ["z = 'uniform(batch_size, nz)'"]),
    ("wgan", NUMBERS, {"D"}, ["D/Network.clamp = (-0.5, 0.5)"]),
    ("wgan", NUMBERS, {"n_critic"}, ["n_critic = 4"]),
    ("wgan", NUMBERS, {"G", "D"}, ["Network.optimizer = @SGD", "SGD.lr = 0.1"]),
    ("wgan_gp", NUMBERS, {"lambda_gp"}, ["lambda_gp = 1"]),
    ("wgan_gp", GRAPH, {"lambda_gp"}, ["lambda_gp = 0"]),
    ("wgan_gp", GRAPH, {"x_hat"}, ["x_hat = 'eps * real + (1 - eps) * fake'"]),
    ("wgan_gp", GRAPH, {"gp"}, ["gp = 'mean((norm(flat(grad(D(x_hat), x_hat)), dim=1) - 2) ** 2)'"]),
    ("wgan_gp_original", GRAPH, {"D"}, ["D/Update.repeat = 4"]),
    ("wgan_gp_original", GRAPH, {"D"}, ["D/Update.repeat_fresh = ['draws']"]),
    ("hinge_sngan", GRAPH, {"n_dis"}, ["n_dis = 3"]),
    ("hinge_sngan", GRAPH, {"G_ema"}, ["G_ema/Network.ema_beta = '0.8 if step >= 3 else 0.0'"]),
    ("hinge_sngan", GRAPH, {"G_ema"}, ["G_ema/Network.ema_buffers = 'average'"]),
    ("cyclegan", NUMBERS, {"lambda_idt"}, ["lambda_idt = 0.1"]),
    ("cyclegan", GRAPH, {"lambda_idt"}, ["lambda_idt = 0"]),
    ("cyclegan", GRAPH, {"pool_B"}, ["pool_B = 'pool(fake_B, 20)'"]),
    ("cyclegan", GRAPH, {"rec_A"}, ["rec_A = 'G_B(detach(fake_B))'"]),
    ("cyclegan", GRAPH, {"G"}, ["G/Update.trains = ['G_A', 'G_B', 'D_A']"]),
    ("began", NUMBERS, {"gamma"}, ["gamma = 0.7"]),
    ("began", NUMBERS, {"k"}, ["k/State.init = 0.5"]),
    ("began", GRAPH, {"k"}, ["k/State.next = 'clamp(k, 0, 1)'"]),
    ("infogan", GRAPH, {"info"}, ["info/Update.optimizer = None"]),
    ("infogan", GRAPH, {"info"}, ["info/Update.fresh = ['z', 'c']"]),
    ("infogan", NUMBERS, {"info/Update"}, ["info/Adam.lr = 3e-3"]),
    ("infogan", NUMBERS, {"mse(q[2], s)"}, ["info/Update.minimize = '1.0 * ce(q[1], c) + 0.2 * mse(q[2], s)'"]),
    ("infogan", GRAPH, {"info.2"}, ["info/Update.minimize = '1.0 * ce(q[1], c)'"]),
    ("stylegan2_ada", GRAPH, {"D/r1"}, ["D/r1/Update.every = 4"]),
    ("stylegan2_ada", NUMBERS, {"D/r1"}, ["D/r1/Update.gain = 4.0"]),
    ("stylegan2_ada", GRAPH, {"r1_gamma"}, ["r1_gamma = 0"]),
    ("stylegan2_ada", GRAPH, {"G", "G/pl", "D", "D/r1"}, ["Update.nan_to_num = False"]),
    ("bicyclegan", GRAPH, {"D/r"}, ["D/r/Update.minimize = 'mean(D(real_B))'", "D/r/Update.trains = ['D']",
                                    "Schedule.updates = [{0}, 'D/r']"]),
    ("cut", GRAPH, {"nce"}, ["nce = '''lambda src, tgt: patch_nce(F((q := G.encode(tgt, layers)), "
                             "(ids := perm_like(q))), F(G.encode(src, layers), ids))'''"]),
    ("cut", NUMBERS, {"layers"}, ["layers = (0, 4)"]),
    ("unrolled", NUMBERS, {"k_unroll"}, ["k_unroll = 2"]),
    ("unrolled", NUMBERS, {"Dk"}, ["Dk/Network.unroll_lr = 0.3"]),
    ("pix2pix", NUMBERS, {"lambda_A"}, ["lambda_A = 1"]),
    ("pix2pix", GRAPH, {"G.2"}, ["G/Update.minimize = 'bcel(pred_fake, 1) + l1(fake_B, real_B) ** 2'"]),
]  # fmt: skip


ONE_EDIT = pytest.mark.parametrize(
    ("program", "same_graph", "named", "changes"),
    [pytest.param(*edit, id=f"{edit[0]}: {edit[-1][0][:60]}") for edit in EDITS],
)


@ONE_EDIT
def test_an_edit_is_found_and_named(program: str, same_graph: bool, named: set[str], changes: list[str]) -> None:
    order = ", ".join(repr(u) if len(u) > 1 else repr(u[0]) for u in original(program).experiment.schedule)
    other = zoo(program, *[c.replace("{0}", order) for c in changes])
    found = compare(original(program), other)
    assert not found.same
    assert found.same_graph == same_graph
    assert subjects(found) == named
    told = text(found)
    assert all(name in told for name in named)
    assert max(map(len, told.splitlines())) <= WIDTH


@ONE_EDIT
def test_a_comparison_the_other_way_round_says_the_same(
    program: str, same_graph: bool, named: set[str], changes: list[str]
) -> None:
    order = ", ".join(repr(u) if len(u) > 1 else repr(u[0]) for u in original(program).experiment.schedule)
    found = compare(zoo(program, *[c.replace("{0}", order) for c in changes]), original(program))
    assert not found.same and found.same_graph == same_graph and subjects(found) >= named


def test_different_programs_are_different() -> None:
    for a, b in itertools.permutations(PROGRAMS, 2):
        found = compare(original(a), original(b))
        assert not found.same_graph, (a, b)
        assert max(map(len, text(found).splitlines())) <= WIDTH, (a, b)


def test_names_and_an_edit_at_once() -> None:
    new = {"fake_B": "y", "rec_A": "back", "lambda_A": "weight_of_cycle", "pool_B": "history"}
    gin = words_replaced(source("cyclegan"), new)
    found = compare(original("cyclegan"), loaded(gin, "weight_of_cycle = 3.0", "back = 'G_B(detach(y))'"))
    assert dict(found.renamed) == new
    assert subjects(found) == {"weight_of_cycle", "back"}
    assert {c.before for c in found.changes if c.section == "draws"} == {"pool_B"}


# -- what is told -------------------------------------------------------------------------------------------


def test_consequences_are_not_a_flood() -> None:
    """Everything of CycleGAN reads G_A(real_A); the reader wants to know the one line that changed."""
    told = text(compare(original("cyclegan"), zoo("cyclegan", "fake_B = 'G_A(flip(real_A, 3))'"))).splitlines()
    assert "  fake_B  G_A(real_A) → G_A(flip(real_A, 3))" in told
    assert len(told) < 12


def test_an_edge_that_is_cut_by_a_detach_is_shown() -> None:
    found = compare(original("cyclegan"), zoo("cyclegan", "rec_A = 'G_B(detach(fake_B))'"))
    [cut] = [c for c in found.changes if c.what == "detached"]
    assert (cut.subject, cut.kind, cut.update, cut.because) == ("fake_B → rec_A", "added", "G", ("rec_A",))
    assert "✂ fake_B in rec_A" in text(found)


def test_an_edge_that_the_plan_cuts_is_shown() -> None:
    """Swapped updates: what G detached for D and D for G is the other way round."""
    found = compare(pix2pix(), pix2pix("Schedule.updates = ['G', 'D']"))
    modes = {(c.update, c.subject): (c.before, c.after) for c in found.changes if c.what == "mode"}
    assert modes["G", "fake_B"] == ("reused from D, with its graph", "train")
    assert all(c.because == ("order",) for c in found.changes if c.section == "modes")


def test_edges_say_what_feeds_what() -> None:
    found = compare(pix2pix(), pix2pix("pred_real = 'D(cat(real_B, real_B))'"))
    edges = [(c.subject, c.kind) for c in found.changes if c.section == "edges"]
    assert edges == [("real_A → pred_real", "removed")]


def test_a_weight_of_zero_is_the_cause_of_all_that_goes() -> None:
    found = compare(pix2pix(), pix2pix("lambda_GAN = 0"))
    assert subjects(found) == {"lambda_GAN"}
    gone = {(c.section, c.subject) for c in found.consequences if c.kind == "removed"}
    assert {("networks", "D"), ("schedule", "D"), ("terms", "G_GAN"), ("values", "pred_real")} <= gone


def test_cost_is_what_was_measured() -> None:
    found = compare(pix2pix(), pix2pix("lambda_GAN = 0"))
    before, after = found.costs
    assert (before.forwards["D"], after.forwards.get("D", 0)) == (3, 0)
    assert before.flops["D"] > 0 and set(after.flops) == {"G"} and "D" not in after.parameters
    ratio = 100 * (after.total / before.total - 1)
    assert f"({ratio:+.1f}%)" in text(found)


def test_what_surrounds_the_step_is_not_another_training() -> None:
    found = compare(pix2pix(), pix2pix("Trainer.log_every = 7", "Trainer.show = ['real_B']"))
    assert not found.same and found.same_graph and {c.level for c in found.changes} == {"loop"}
    assert verdict(found).startswith("the same training, other settings of the run")


@pytest.mark.parametrize(
    ("name", "b"),
    [
        ("pix2pix-256", lambda: side(ROOT / "experiments" / "pix2pix_256.gin")),
        ("no-gan", lambda: pix2pix("lambda_GAN = 0")),
        ("unconditional", lambda: pix2pix("pred_fake = 'D(fake_B)'", "pred_real = 'D(real_B)'",
                                          "PatchDiscriminator.in_channels = 3")),
        ("weight", lambda: pix2pix("lambda_A = 10")),
        ("order", lambda: pix2pix("Schedule.updates = ['G', 'D']")),
    ],
)  # fmt: skip
def test_the_text_of_pix2pix(name: str, b: object) -> None:
    check_golden(GOLDEN / "diff" / f"{name}.txt", text(compare(pix2pix(), b()), labels=("a.gin", "b.gin")) + "\n")  # type: ignore[operator]


def test_the_text_of_the_zoo() -> None:
    renamed = loaded(words_replaced(source("cyclegan"), {"fake_B": "y", "pool_B": "history"}), program="cyclegan")
    told = [
        text(compare(original("wgan_gp"), original("wgan_gp_original"))),
        text(compare(original("cyclegan"), renamed)),
    ]
    check_golden(GOLDEN / "diff" / "zoo.txt", "\n\n".join(told) + "\n")


# -- JSON ---------------------------------------------------------------------------------------------------


def test_json_is_complete() -> None:
    comparison = compare(original("wgan_gp"), original("wgan_gp_original"))
    found = json.loads(to_json(comparison))
    assert found["version"] == 1 and (found["same"], found["same_graph"], found["same_draws"]) == (False, False, True)
    assert len(found["changes"]) == len(comparison.changes)
    for given, change in zip(found["changes"], comparison.changes, strict=True):
        assert set(given) == set(change.__dataclass_fields__) and given["section"] in SECTIONS
        plain = lambda v: list(v) if isinstance(v, tuple) else v  # noqa: E731
        assert all(given[k] == plain(getattr(change, k)) for k in given)
    assert found["cost"]["b"]["forwards"] == dict(comparison.costs[1].forwards)


def test_json_is_the_same_in_every_process() -> None:
    script = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from test_diff import *\n"
        "with known(): print(to_json(compare(original('stylegan2_ada'), original('cyclegan'))))"
    )
    said = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{ROOT}"}
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=environment)
        assert ran.returncode == 0, ran.stderr
        said.add(ran.stdout)
    assert len(said) == 1


# -- the command --------------------------------------------------------------------------------------------


def test_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    same = command(capsys, "diff", PIX2PIX, PIX2PIX, "--no-shapes")
    assert (same.status, same.err) == (0, "") and "the same experiment" in same.out
    other = command(
        capsys, "diff", PIX2PIX, PIX2PIX, "--set", "lambda_A=10", "--set", "D/Adam.eps = 1e-3", "--no-shapes"
    )
    assert (other.status, other.err) == (1, "")
    assert "lambda_A  100 → 10" in other.out and "Adam.eps  1e-08 → 0.001" in other.out
    assert "\x1b" not in other.out
    assert "Exit status: 0" in command(capsys, "diff", "--help").out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing.gin", PIX2PIX], [PIX2PIX, "nothing.gin"], [ROOT / "tests", PIX2PIX],
        [PIX2PIX, PIX2PIX, "--set", "lambda_A"], [PIX2PIX, PIX2PIX, "--set", "D_fake = 'gan(pred_fake, '"],
        [PIX2PIX, PIX2PIX, "--set", "UNetGenerator.size = 63"], [PIX2PIX, PIX2PIX, "--format", "yaml"], [PIX2PIX],
    ],
)  # fmt: skip
def test_bad_input_is_a_message(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    found = command(capsys, "diff", *arguments)
    assert found.status == 2 and found.out == ""
    assert "rror" in found.err and "Traceback" not in found.err


def test_a_run_is_compared_with_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = ganflow.load(PIX2PIX, ["lambda_A = 7"])
    files = {"config": gin_text(experiment), "plan": "", "source": "", "environment": {}}
    run = rundir.create(tmp_path / "run", **files)  # type: ignore[arg-type]
    found = command(capsys, "diff", PIX2PIX, run, "--format", "json")
    assert found.status == 1
    said = json.loads(found.out)
    assert said["verdict"] == "same step graph, other numbers: lambda_A 100 → 7"
    assert said["b"] == str(run) and said["cost"]["a"]["total"] == said["cost"]["b"]["total"] > 0
    back = command(capsys, "diff", run, PIX2PIX, "--set", "lambda_A = 7", "--no-shapes")
    assert back.status == 0


# -- edits at random, with the generated step as the judge ----------------------------------------------------


def edited(tree: E.Expr, rng: random.Random, names: list[str]) -> E.Expr:
    """The expression with one piece of it changed."""
    pieces = list(E.walk(tree))
    piece = rng.choice(pieces)
    where = [k for k, p in enumerate(pieces) if p is piece][0]
    match piece:
        case E.Const(value=bool() as value):
            new: E.Expr = E.Const(not value)
        case E.Const(value=int() | float() as value):
            new = E.Const(value + rng.choice([1, 0.5]))
        case E.Binary(op=op, left=left, right=right) if rng.random() < 0.7:
            new = E.Binary({"+": "-", "-": "+", "*": "+", "/": "*"}.get(op, op), right, left)
        case E.Name() if rng.random() < 0.5:
            new = E.Name(rng.choice(names))
        case _:
            new = E.Call(E.Name(rng.choice(["detach", "abs"])), (piece,))
    return replaced(tree, iter(range(len(pieces))), where, new)


def replaced(tree: E.Expr, count: Iterator[int], where: int, new: E.Expr) -> E.Expr:
    if next(count) == where:
        return new
    parts = {f: part(getattr(tree, f), count, where, new) for f in tree.__dataclass_fields__ if f != "location"}
    return dataclasses.replace(tree, **parts)


def part(value: object, count: Iterator[int], where: int, new: E.Expr) -> object:
    if isinstance(value, E.Expr):
        return replaced(value, count, where, new)
    return tuple(part(v, count, where, new) for v in value) if isinstance(value, tuple) else value


def step_of(given: Side) -> str:
    """The generated Python without its comments: what runs."""
    return "\n".join(
        line.split("#")[0].rstrip() for line in given.graph.source.splitlines() if line.split("#")[0].strip()
    )


@pytest.mark.parametrize("times", [8, pytest.param(150, marks=pytest.mark.slow)])
@pytest.mark.parametrize("program", PROGRAMS)
def test_another_step_is_never_called_the_same(program: str, times: int) -> None:
    """In either direction, and the text that was edited is among what is told before the consequences."""
    rng = random.Random(f"{program} {times}")
    base, experiment = original(program), original(program).experiment
    texts = {n: d.value for n, d in experiment.definitions.items() if isinstance(d.value, Text)}
    texts |= {f"{u.name}/Update.minimize": u.minimize for u in experiment.updates.values() if u.minimize}
    names = [*experiment.definitions, "real", "real_A"]
    compared = different = 0
    for _ in range(times):
        key = rng.choice([*texts])
        new = E.show(edited(parse(texts[key].source, texts[key].location), rng, names))
        try:
            other = zoo(program, f"{key} = {new!r}")
        except ganflow.GanflowError:
            continue
        found, alike = compare(base, other), step_of(base) == step_of(other)
        compared, different = compared + 1, different + (not alike)
        assert found.same == alike, (key, new, text(found))
        if not alike:
            assert key.split("/")[0] in text(found).split("what follows")[0], (key, new, text(found))
    assert compared >= times // 10 and different >= times // 10
