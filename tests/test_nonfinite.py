"""Numbers that are not finite: noticed without waiting, named where they were first, skipped, or left behind."""

from __future__ import annotations

import copy
import json
import math
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import ganflow
from ganflow import loop as loop_module
from ganflow.averages import FOLD, Averages
from ganflow.checkpoint import Store
from ganflow.errors import GanflowError
from ganflow.guard import Guard, all_finite
from ganflow.nonfinite import Finder, Found, counted, weights_finite
from ganflow.settings import settings_of
from ganflow.step import clip_gradients
from ganflow.trainer import Trainer, prepare

GAN = """
Network.optimizer = @SGD
SGD.lr = 0.1
G/Network.module = @MLP()
G/MLP.in_features = 4
G/MLP.out_features = 2
D/Network.module = @MLP()
D/MLP.in_features = 2
D/MLP.out_features = 1
MLP.hidden = (8,)
fake = 'G(randn(batch_size, 4))'
D_real = 'gan(D(real), True)'
D_fake = 'gan(D(fake), False)'
G_GAN = 'gan(D(fake), True)'
D/Update.minimize = 'D_real + D_fake'
G/Update.minimize = 'G_GAN'
Schedule.updates = ['D', 'G']
"""


def batches(count: int = 12, *, bad: int | None = None, size: int = 6) -> list[dict[str, Tensor]]:
    """Points; one number of batch ``bad`` is NaN."""
    generator = torch.Generator().manual_seed(0)
    found = [{"real": torch.randn(size, 2, generator=generator)} for _ in range(count)]
    if bad is not None:
        found[bad]["real"][1, 0] = math.nan
    return found


def step_of(*changes: str, given: Any = None, **more: Any) -> ganflow.TrainStep:
    return ganflow.TrainStep(ganflow.loads(GAN + "\n".join(changes)), given or batches(), **more)


def searched(step: ganflow.TrainStep, most: int = 12) -> Found | None:
    """Iteration after iteration, until one is found."""
    for _ in range(most):
        finder = Finder(step)
        if found := finder.found(step(observe=finder.observe)):
            return found
    return None


# -- noticing ------------------------------------------------------------------------------------------------

VALUES = st.sampled_from([0.5, -1.0, 2.0, math.nan, math.inf, -math.inf])


@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES), max_size=12), st.integers(1, 5))
def test_averages_say_which_value_was_not_finite_first(steps: list[dict[str, float]], fold: int) -> None:
    """Against a loop over the numbers, however many steps are folded at once."""
    averages = Averages()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganflow.averages.FOLD", fold)
        for step in steps:
            averages.add({name: torch.tensor(value) for name, value in step.items()})
        found = averages.nonfinite()
        means = averages.means()
    first: dict[str, int] = {}
    for number, step in enumerate(steps):
        for name, value in step.items():
            if not math.isfinite(value):
                first.setdefault(name, number)
    assert found == first and list(found.values()) == sorted(first.values())
    assert found.keys() == {name for name, value in means.items() if not math.isfinite(value)}
    assert averages.means() == {} and averages.nonfinite() == {}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_first_is_known_in_every_precision_and_long_after(dtype: torch.dtype) -> None:
    averages = Averages()
    for number in range(3 * FOLD + 7):
        averages.add(
            {"x": torch.tensor(1.0), "y": torch.tensor(math.inf if number in (FOLD + 5, 700) else 1.0, dtype=dtype)}
        )
    assert averages.nonfinite() == averages.nonfinite() == {"y": FOLD + 5}
    assert averages.means() == {"x": 1.0, "y": math.inf} and averages.nonfinite() == {}


def test_a_sum_that_overflows_is_no_value_that_is_infinite() -> None:
    averages = Averages()
    for _ in range(4):
        averages.add({"x": torch.tensor(3e38)})
    assert averages.nonfinite() == {} and averages.means() == {"x": math.inf}


def test_averages_hold_few_tensors_however_long_it_takes() -> None:
    averages = Averages()
    sizes = []
    for number in range(5 * FOLD):
        averages.add({"x": torch.tensor(float(number)), "y": torch.tensor(1.0)})
        sizes.append(len(next(iter(averages._groups.values())).parts[0].rows))
    assert max(sizes) < FOLD
    assert averages.means() == {"x": (5 * FOLD - 1) / 2, "y": 1.0}


@pytest.mark.parametrize("at", [1, 100, FOLD, FOLD + 3])
def test_averages_go_on_from_their_state_bit_for_bit(at: int) -> None:
    def added(averages: Averages, numbers: range) -> Averages:
        generator = torch.Generator().manual_seed(3)
        for number, value in enumerate(torch.rand(2 * FOLD, generator=generator)):
            if number in numbers:
                own = {"a": value, "b": value * 3} if number % 3 else {"a": value}
                averages.add({**own, "c": torch.tensor(math.nan)} if number == 200 else own)
        return averages

    straight, resumed = added(Averages(), range(2 * FOLD)), Averages()
    state = copy.deepcopy(added(Averages(), range(at)).state_dict())
    resumed.load_state_dict(state)
    added(resumed, range(at, 2 * FOLD))
    assert resumed.nonfinite() == straight.nonfinite() and resumed.steps == straight.steps
    assert repr(resumed.means()) == repr(straight.means())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64])
def test_one_number_of_many_is_seen(bad: float, dtype: torch.dtype) -> None:
    x = torch.zeros(3, 5, dtype=dtype)
    assert all_finite([torch.ones(2), x, torch.empty(0), torch.tensor(3), torch.full((2,), 3e38)])
    x[1, 2] = bad
    assert not all_finite([torch.ones(2), x])
    assert all_finite([torch.full((3,), 1e300, dtype=torch.float64), torch.ones(2)])


# -- locating ------------------------------------------------------------------------------------------------


def test_a_field_with_nan_in_it() -> None:
    step = step_of(given=batches(bad=7))
    found = searched(step)
    assert found is not None and (found.iteration, found.kind, found.update, found.name) == (8, "term", "D", "D_real")
    assert (found.value, found.first) == ("nan", "real (nan)")
    assert found.file == "<string>" and "D_real = " in found.text


def test_nothing_is_found_where_all_is_finite() -> None:
    assert searched(step_of()) is None
    step = step_of()
    assert weights_finite(step) and counted(step.graph) == {
        "loss/D",
        "loss/G",
        "loss/D_real",
        "loss/D_fake",
        "loss/G_GAN",
    }


LOG = "D_real = 'gan(D(real), True) + mean(log(real * 0 + (-1 if step == 5 else 1)))'"
ROOT = "G_GAN = 'gan(D(fake), True) + mean(sqrt(abs(D(fake)) * (0 if step == 5 else 1)))'"


def test_the_logarithm_of_a_negative_number() -> None:
    """A loop of plain steps agrees about the iteration."""
    found = searched(step_of(LOG))
    assert found is not None and (found.iteration, found.kind, found.update, found.name) == (6, "term", "D", "D_real")
    plain = step_of(LOG)
    finite = [all(math.isfinite(float(v)) for v in plain().values()) for _ in range(8)]
    assert finite == [True] * 5 + [False] + [True] * 2  # its gradient is 0


def test_a_root_at_zero_has_a_finite_loss_and_no_finite_gradient() -> None:
    found = searched(step_of(ROOT))
    assert found is not None and (found.iteration, found.kind, found.update, found.name) == (6, "gradient", "G", "G")
    assert (found.value, found.detail) == ("nan", "layers.0.weight") and "G/Update.minimize" in found.text
    plain = step_of(ROOT)
    losses = [plain() for _ in range(6)]
    assert all(math.isfinite(float(v)) for logs in losses for v in logs.values())
    assert not weights_finite(plain) and weights_finite(step_of(ROOT))


def test_terms_without_a_name_and_weights() -> None:
    unnamed = "D/Update.minimize = 'gan(D(real), True) + mean(log(real * 0 + (-1 if step == 2 else 1))) + D_fake'"
    found = searched(step_of(unnamed))
    assert found is not None and (found.iteration, found.kind, found.name) == (3, "term", "D.2")
    weighted = "D/Update.minimize = 'D_real + (1e308 * 10 if step == 3 else 1) * D_fake'"
    found = searched(step_of(weighted))
    assert found is not None and (found.iteration, found.kind, found.name, found.value) == (
        4,
        "weight",
        "D_fake",
        "inf",
    )
    heavy = "D/Update.minimize = '(1e38 if step == 3 else 1) * D_real + 1e38 * D_fake'", "D/Update.gain = 10.0"
    found = searched(step_of(*heavy, "SGD.lr = 0.0"))
    assert found is not None and (found.iteration, found.kind, found.update, found.value) == (1, "sum", "D", "inf")


def test_a_rate_that_is_too_large() -> None:
    """Weights of 1e30 are finite, and what is made with them is not."""
    step = step_of("Network.optimizer = @Adam", "Adam.lr = 1e30")
    found = searched(step)
    assert found is not None and (found.iteration, found.kind) == (1, "term") and found.update == "G"
    step = step_of("Network.optimizer = @Adam", "D/Adam.lr = 1e30", "G/Adam.lr = 1e-4")
    found = searched(step)
    assert found is not None and found.largest["D"] > 1e29


def test_a_step_that_makes_weights_too_large() -> None:
    found = searched(step_of("D/SGD.lr = 3e38", "D/Update.gain = 1e4", "Schedule.updates = ['G', 'D']"))
    assert found is not None and (found.iteration, found.kind, found.update, found.name) == (1, "step", "D", "D")


@pytest.mark.parametrize("mended", ["G/Update.nan_to_num = True", "G/Update.clip_value = 1.0"])
def test_what_is_mended_is_no_fault(mended: str) -> None:
    infinite = "G_GAN = 'gan(D(fake), True) + (1e38 * 1e10 if step == 5 else 1) * mean(D(fake))'"
    found = searched(step_of(infinite, mended))
    if "clip" in mended:  # a gradient that is clipped to a value is mended; a loss that is infinite is none the less
        assert found is not None and (found.iteration, found.kind) == (6, "term")
    else:
        assert found is None


def test_in_parts_and_in_a_group_and_repeated() -> None:
    for changes in (
        ["Update.microbatches = 3"],
        ["Schedule.updates = [('D', 'G')]"],
        ["D/Update.repeat = 3", "D/Update.repeat_fresh = ()"],
    ):
        found = searched(step_of(LOG, *changes))
        assert found is not None and (found.iteration, found.kind, found.update, found.name) == (
            6,
            "term",
            "D",
            "D_real",
        )
        found = searched(step_of(ROOT, *changes))
        assert found is not None and (found.iteration, found.kind, found.update, found.name) == (
            6,
            "gradient",
            "G",
            "G",
        )


def test_the_gradient_of_d_alone() -> None:
    root = "D_real = 'gan(D(real), True) + mean(sqrt(abs(D(real)) * (0 if step == 3 else 1)))'"
    found = searched(step_of(root))
    assert found is not None and (found.iteration, found.kind, found.update, found.name) == (4, "gradient", "D", "D")


# -- skipping ------------------------------------------------------------------------------------------------


class Global:
    """Draws as a loop by hand makes them."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(1)

    def draw(self, site: str, kind: str, *args: Any, **_: Any) -> Tensor:
        return torch.randn(*args, generator=self.generator)


SHIFTED = """
shown = '0 if step == 3 else 1'
G_GAN = 'gan(D(fake), True) + mean(sqrt(abs(D(fake)) * shown + shown))'
"""
EMA = "G_ema/Network.ema_of = 'G'", "G_ema/Network.ema_beta = 0.5"
CLAMP = "D/Network.clamp = (-0.2, 0.2)", "Trainer.steps = 9"


Make = Callable[[Any], torch.optim.Optimizer]


SGD, ADAM = partial(torch.optim.SGD, lr=0.1), partial(torch.optim.Adam, lr=0.01)


def by_hand(
    step: Any, given: Sequence[dict[str, Tensor]], make: Make, *, at: int, clip: float | None, parts: int
) -> tuple[dict[str, nn.Module], list[tuple[int, str]]]:
    """The experiment above as one writes it, skipping: returns which steps were skipped."""
    nets = {n: copy.deepcopy(m) for n, m in step.networks.items()}
    optimizers = {n: make(nets[n].parameters()) for n in "DG"}
    draw, skipped = Global(), []
    bce = nn.functional.binary_cross_entropy_with_logits

    def ends(name: str, losses: Sequence[tuple[Tensor, float]], number: int) -> None:
        own = list(nets[name].parameters())
        for p in own:
            p.grad = None
        for loss, share in losses:
            (share * loss).backward(inputs=own)
        if clip is not None:
            nn.utils.clip_grad_norm_(own, clip)
        if all(p.grad.isfinite().all() for p in own if p.grad is not None):
            optimizers[name].step()
        else:
            skipped.append((number, name))

    for number, batch in enumerate(given, 1):
        real, z = batch["real"], draw.draw("", "randn", len(batch["real"]), 4)
        cut = list(zip(real.tensor_split(parts), z.tensor_split(parts), strict=True))
        share = [len(r) / len(real) for r, _ in cut]
        G, D = nets["G"], nets["D"]
        losses = []
        for (r, own), s in zip(cut, share, strict=True):
            real_logits, fake_logits = D(r), D(G(own).detach())
            losses.append(
                (bce(real_logits, torch.ones_like(real_logits)) + bce(fake_logits, torch.zeros_like(fake_logits)), s)
            )
        ends("D", losses, number)
        if "G_ema" in nets:
            with torch.no_grad():
                for p in D.parameters():
                    p.clamp_(-0.2, 0.2)
        losses = []
        for (_, own), s in zip(cut, share, strict=True):
            logits = D(G(own))
            on = 0.0 if number == at else 1.0
            extra = (logits.abs() * on + on).sqrt().mean()
            losses.append((bce(logits, torch.ones_like(logits)) + extra, s))
        ends("G", losses, number)
        if "G_ema" in nets:
            with torch.no_grad():
                for e, p in zip(nets["G_ema"].parameters(), G.parameters(), strict=True):
                    e.lerp_(p, 0.5)
    return nets, skipped


@pytest.mark.parametrize(
    ("changes", "make", "clip", "parts"),
    [
        pytest.param((), SGD, None, 1, id="sgd"),
        pytest.param(("Network.optimizer = @Adam", "Adam.lr = 0.01"), ADAM, None, 1, id="adam"),
        pytest.param(("Update.clip_norm = 0.5",), SGD, 0.5, 1, id="clipped"),
        pytest.param(("Update.microbatches = 2",), SGD, None, 2, id="in parts"),
        pytest.param((*EMA, *CLAMP), SGD, None, 1, id="average and clamp"),
        pytest.param(("Update.optimizer = @Adam", "Adam.lr = 0.01"), ADAM, None, 1, id="of the update"),
    ],
)  # fmt: skip
def test_skipping_is_what_a_loop_by_hand_does(
    changes: Sequence[str], make: Make, clip: float | None, parts: int
) -> None:
    data = batches(10, bad=6)
    step = step_of(SHIFTED, *changes, given=data, random=Global(), skip_nonfinite=True)
    suffix = "/Update" * ("Update.optimizer = @Adam" in changes)
    assert set(step.optimizers) == {f"D{suffix}", f"G{suffix}"}
    nets, skipped = by_hand(step, data, make, at=4, clip=clip, parts=parts)
    assert step.guard is not None
    found, times = [], dict.fromkeys(step.optimizers, 0.0)
    for number in range(1, len(data) + 1):
        step()
        said, scalars = step.guard.taken()
        own = [name.removeprefix("skipped/") for name, count in scalars.items() if count]
        assert said == "; ".join(f"{name} once, in iteration {number}" for name in own)
        found += [(number, name) for name in own]
        times = {name: times[name] + scalars[f"skipped/{name}"] for name in times}
    assert skipped == [(4, "G"), (7, "D")] and found == [(i, n + suffix) for i, n in skipped]
    assert times == {f"D{suffix}": 1.0, f"G{suffix}": 1.0}
    for name, network in nets.items():
        for (key, p), q in zip(step.networks[name].state_dict().items(), network.state_dict().values(), strict=True):
            assert torch.allclose(p, q, rtol=1e-5, atol=1e-6), (name, key)


def test_one_norm_over_two_networks_spoils_both() -> None:
    """G's gradient is infinite: clipping gives D zeros, and a step with zeros would move what has momentum."""
    both = "both/Update.minimize = 'D_real + (1e38 * 10 if step == 2 else 1) * mean(square(fake))'"
    changes = [
        both,
        "both/Update.trains = ['D', 'G']",
        "both/Update.clip_norm = 1.0",
        "Schedule.updates = ['both']",
        "SGD.momentum = 0.9",
    ]
    text = GAN.replace(
        "D/Update.minimize = 'D_real + D_fake'\nG/Update.minimize = 'G_GAN'\nSchedule.updates = ['D', 'G']\n", ""
    )
    step = ganflow.TrainStep(ganflow.loads(text + "\n".join(changes)), batches(), skip_nonfinite=True)
    for _ in range(2):
        step()
    before = {n: copy.deepcopy(m.state_dict()) for n, m in step.networks.items()}
    step()
    assert step.guard is not None and step.guard.taken()[0] == "D once, in iteration 3; G once, in iteration 3"
    assert all(torch.equal(v, step.networks[n].state_dict()[k]) for n, own in before.items() for k, v in own.items())


def test_one_norm_that_is_infinite_leaves_no_zeros_behind() -> None:
    """1/inf is 0, and 0 times a finite gradient is finite: momentum would move what was to be left alone."""
    a, b = (nn.Parameter(torch.ones(2)) for _ in range(2))
    guard = Guard({n: torch.optim.SGD([p], lr=0.1, momentum=0.9) for n, p in (("A", a), ("B", b))}, lambda: 2)
    clip = guard.clipping(clip_gradients)
    for bad in (1.0, math.inf):
        before = b.detach().clone()
        a.grad, b.grad = torch.tensor([1.0, bad]), torch.ones(2)
        clip([a, b], norm=1.0, value=None, nan_to_num=False)
        for optimizer in guard.optimizers.values():
            optimizer.step()
    assert torch.equal(b, before) and guard.taken()[0] == "A once, in iteration 2; B once, in iteration 2"


def test_sparse_gradients_are_seen() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.Embedding(5, 2, sparse=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.rows(x)

    text = """
G/Network.module = @MLP()
G/MLP.in_features = 1
G/MLP.out_features = 2
G/Network.optimizer = @SGD
SGD.lr = 0.1
G/Update.minimize = 'mean(square(G(label))) * (1e38 * 10 if step == 1 else 1)'
Schedule.updates = ['G']
"""
    data = [{"label": torch.tensor([0, 1, 1])}] * 4
    step = ganflow.TrainStep(ganflow.loads(text), data, networks={"G": Table()}, skip_nonfinite=True)
    for _ in range(4):
        step()
    assert step.guard is not None and step.guard.taken()[0] == "G once, in iteration 2" and weights_finite(step)


# -- runs ----------------------------------------------------------------------------------------------------


class Points:
    """Sixty points; one of them may be no number."""

    splits = ("train",)

    def __init__(self, bad: int | None = None) -> None:
        self.points = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
        if bad is not None:
            self.points[bad, 1] = math.nan

    def open(self, split: str) -> list[dict[str, Tensor]]:
        return [{"real": x} for x in self.points]


RUN = """
Trainer.batch_size = 6
Trainer.steps = 40
Trainer.log_every = 20
Trainer.checkpoint_every = 7
Trainer.device = 'cpu'
Trainer.probe = False
"""


def declared(*changes: str) -> ganflow.Experiment:
    """Bindings of the changes replace those above."""
    new = [line.split(" = ")[0] for change in changes for line in change.splitlines()]
    lines = [line for line in (GAN + RUN).splitlines() if line.split(" = ")[0] not in new]
    return ganflow.loads("\n".join([*lines, *changes]))


def trained(path: Path, *changes: str, bad: int | None = None, **more: Any) -> Any:
    return Trainer(declared(*changes), path, data=Points(bad), progress=False, **more).fit()


def stopped(path: Path, *changes: str, **more: Any) -> GanflowError:
    with pytest.raises(GanflowError) as raised:
        trained(path, *changes, **more)
    assert (raised.value.code, raised.value.status) == ("not-finite", 1)
    return raised.value


def first_bad(*changes: str, bad: int | None = None) -> tuple[int, set[str], set[str]]:
    """By hand, with a look after every iteration: which one, its losses that are bad, its networks that are."""
    experiment = declared(*changes)
    step, _ = prepare(experiment, Points(bad), settings_of(experiment), device=torch.device("cpu"))
    while True:
        logs = step()
        losses = {k for k, v in logs.items() if isinstance(v, Tensor) and not math.isfinite(float(v))}
        weights = {n for n, m in step.networks.items() if not all(bool(p.isfinite().all()) for p in m.parameters())}
        if losses or weights:
            return step.counters.step, losses, weights


def at(text: str, step: int) -> str:
    return text.replace("step == 5", f"step == {step}")


D_ROOT = "D_real = 'gan(D(real), True) + mean(sqrt(abs(D(real)) * (0 if step == 5 else 1)))'"
INFINITE = "D_fake = 'gan(D(fake), False) + (1e38 * 1e38 if step == 5 else 1) * mean(square(D(fake)))'"
RATE = ("Network.optimizer = @Adam\nD/Adam.lr = 1e30\nG/Adam.lr = 1e-4",)
BLOWN = {
    "logarithm": ((at(LOG, 29),), None, "the term `D_real` of update D is nan"),
    "root": ((at(ROOT, 29),), None, "the gradient of update G in network G is nan"),
    "root of D": ((at(D_ROOT, 31),), None, "the gradient of update D in network D is nan"),
    "infinite": ((at(INFINITE, 17),), None, "the term `D_fake` of update D is inf"),
    "rate": (RATE, None, "the term `G_GAN` of update G is nan"),
    "data": ((), 17, "the term `D_real` of update D is nan"),
    "late data": (("Trainer.seed = 3",), 11, "the term `D_real` of update D is nan"),
    "probed": (("Trainer.probe = True",), 17, "the term `D_real` of update D is nan"),
    "other batches": (("D/Update.repeat = 3",), 17, "the term `D_real` of update D is nan"),
    "in parts": (("Update.microbatches = 2", at(ROOT, 29)), None, "the gradient of update G in network G is nan"),
    "at once": (
        ("Schedule.updates = [('D', 'G')]", at(ROOT, 29)),
        None,
        "the gradient of update G in network G is nan",
    ),
}


@pytest.mark.parametrize("name", BLOWN)
def test_a_run_stops_and_names_the_first(name: str, tmp_path: Path) -> None:
    """The iteration is the one that a look after each iteration by hand finds."""
    changes, bad, said = BLOWN[name]
    iteration, losses, weights = first_bad(*changes, bad=bad)
    error = stopped(tmp_path / "run", *changes, bad=bad)
    assert error.message.startswith(f"in iteration {iteration} {said}")
    if "gradient" in said:
        network = said.split("network ")[1][0]
        assert f"loss/{network}" not in losses and network in weights
    else:
        assert f"loss/{said.split('`')[1]}" in losses
    assert error.location is not None and f"--step {iteration}\n" in error.hint
    assert ("the first on the way to it: real (nan)" in error.hint) == (bad is not None)
    kept = Store(tmp_path / "run" / "checkpoints")
    assert kept.steps()[-1:] == tuple(range(7, iteration, 7))[-1:]  # a slow disk may leave out earlier ones
    for step in kept.steps():
        assert all(
            bool(x.isfinite().all()) for net in kept.read(step)["state"]["networks"].values() for x in net.values()
        )
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == int(error.hint.split("noticed at step ")[1].split(",")[0]) >= iteration
    bundle = Store(tmp_path / "run" / "nonfinite").read(iteration)
    assert bundle["step"] == iteration - 1 and len(bundle["batch"]) == (3 if name == "other batches" else 1)
    assert all(batch["real"].shape == (6, 2) for batch in bundle["batch"])


def test_what_to_try_fits_what_was_found(tmp_path: Path) -> None:
    data = stopped(tmp_path / "data", bad=17)
    assert "field `real` of that batch is nan" in data.hint and "the first on the way to it: real (nan)" in data.hint
    rate = stopped(tmp_path / "rate", *RATE)
    assert "a smaller learning rate for D: its weights are as large as 1e+30" in rate.hint
    assert "learning rate" not in data.hint


def test_no_checkpoint_has_weights_that_are_not_finite(tmp_path: Path) -> None:
    """Nothing is reported for long, but the checkpoint of iteration 24 is due in which G's gradient is NaN."""
    error = stopped(tmp_path / "run", at(ROOT, 23), "Trainer.log_every = 1000", "Trainer.checkpoint_every = 8")
    assert "iteration 24" in error.message and "noticed at step 24" in error.hint
    assert Store(tmp_path / "run" / "checkpoints").steps()[-1] == 16
    saved = torch.load(tmp_path / "run" / "weights.pt", weights_only=True)
    assert saved["step"] == 16 and all(bool(x.isfinite().all()) for x in saved["networks"]["G"].values())


def test_an_interrupted_run_does_not_save_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    iteration = loop_module.Loop.iteration

    def ends(self: Any) -> None:
        iteration(self)
        if self.step.counters.step == 26:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop_module.Loop, "iteration", ends)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run", at(ROOT, 23), "Trainer.log_every = 1000", "Trainer.checkpoint_every = 10")
    assert Store(tmp_path / "run" / "checkpoints").steps()[-1] == 20


def test_without_checkpoints_the_iteration_is_known(tmp_path: Path) -> None:
    error = stopped(tmp_path / "run", at(LOG, 29), "Trainer.checkpoint_every = 0")
    assert "loss/D_real is not finite since iteration 30" in error.message and "no checkpoint" in error.hint


def test_an_update_that_mends_its_gradients_may_have_any_loss(tmp_path: Path) -> None:
    result = trained(tmp_path / "run", at(ROOT, 23), "G/Update.nan_to_num = True")
    assert result.steps == 40
    infinite = "D_real = 'gan(D(real), True) + (1e38 * 1e38 if step == 5 else 1) * mean(D(real))'"
    assert trained(tmp_path / "other", infinite, "D/Update.nan_to_num = True").steps == 40


class Moody(nn.Module):
    """Its 30th call in this process gives NaN, which no state tells of."""

    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, z: Tensor) -> Tensor:
        type(self).calls += 1
        return self.linear(z) * (math.nan if type(self).calls == 30 else 1.0)


def test_what_does_not_happen_again_is_told_as_far_as_it_is_known(tmp_path: Path) -> None:
    Moody.calls = 0
    error = stopped(tmp_path / "run", networks={"G": Moody()})
    assert "since iteration" in error.message and "did not happen" in error.hint
    assert not (tmp_path / "run" / "nonfinite").exists()


def weights_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(path / "weights.pt", weights_only=True)["networks"]
    return found


def test_a_run_that_rolls_back_goes_on_with_other_data(tmp_path: Path) -> None:
    """By hand: the weights after 14 iterations, with what 20 iterations have read and drawn."""
    changes = at(ROOT, 16), "Network.optimizer = @Adam", "Adam.lr = 0.01"
    trained(tmp_path / "run", *changes, "Trainer.on_nonfinite = 'rollback'")
    experiment = declared(*changes)
    early, late = (
        prepare(experiment, Points(), settings_of(experiment), device=torch.device("cpu"))[0] for _ in range(2)
    )
    for _ in range(14):
        early()
    for _ in range(20):
        late()
    for name, network in late.networks.items():
        network.load_state_dict(early.networks[name].state_dict())
        late.optimizers[name].load_state_dict(early.optimizers[name].state_dict())
    for _ in range(20):
        late()
    for name, own in weights_of(tmp_path / "run").items():
        assert all(torch.equal(v, late.networks[name].state_dict()[k]) for k, v in own.items())


def test_a_run_is_rolled_back_three_times_to_one_checkpoint(tmp_path: Path) -> None:
    always = ROOT.replace("step == 5", "step > 15")
    error = stopped(tmp_path / "run", always, "Trainer.on_nonfinite = 'rollback'", "Trainer.log_every = 5")
    assert "rolled back 3 times to step 14" in error.hint


def test_a_run_that_skips_says_so_and_counts(tmp_path: Path) -> None:
    changes = at(ROOT, 23), "Trainer.on_nonfinite = 'skip'"
    trained(tmp_path / "run", *changes)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [(r["step"], r["skipped/D"], r["skipped/G"]) for r in rows] == [(1, 0, 0), (20, 0, 0), (40, 0, 1)]
    experiment = declared(*changes)
    step, _ = prepare(experiment, Points(), settings_of(experiment), device=torch.device("cpu"))
    for _ in range(40):
        step()
    for name, own in weights_of(tmp_path / "run").items():
        assert all(torch.equal(v, step.networks[name].state_dict()[k]) for k, v in own.items())


def test_skipping_does_not_save_weights_that_became_too_large(tmp_path: Path) -> None:
    error = stopped(tmp_path / "run", "D/SGD.lr = 3e38", "D/Update.gain = 1e4", "Trainer.on_nonfinite = 'skip'")
    assert "a weight of network D is" in error.message and "finite gradients" in error.message


@pytest.mark.parametrize("given", ["'go on'", "True", "None"])
def test_other_choices_are_refused(given: str) -> None:
    with pytest.raises(GanflowError, match="it takes 'stop', 'skip' or 'rollback'"):
        settings_of(declared(f"Trainer.on_nonfinite = {given}"))
