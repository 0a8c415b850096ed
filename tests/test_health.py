"""What a watched iteration says of the game, against loops in float64; and what the numbers are taken to mean."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gin
import pytest
import torch
from torch import Tensor, nn

import ganflow
from ganflow.diagnosis import Finding, by_step, diagnose
from ganflow.health import SAMPLES, Health
from ganflow.judged import made, rivals, verdicts
from ganflow.logs import Logs
from ganflow.trainer import Trainer
from ganflow.watch import Watch, instruments
from test_reference import DOCS

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
pred_real = 'D(real)'
pred_fake = 'D(fake)'
G/Update.minimize = 'adv_g(D(fake), D(real))'
D/Update.minimize = 'adv_d(pred_real, pred_fake)'
Schedule.updates = ['D', 'G']
"""


class Seen(Health):
    """Health, and every value that it was told of, by name: the last one, and all of them."""

    def __init__(self, step: ganflow.TrainStep) -> None:
        super().__init__(step)
        self.last: dict[str, Any] = {}
        self.all: dict[str, list[Any]] = {}
        self.grads: dict[str, list[Tensor]] = {}
        self.weights = {n: [p.detach().double().clone() for p in m.parameters()] for n, m in step.networks.items()}

    def observe(self, phase: str, node: str, value: Any) -> None:
        super().observe(phase, node, value)
        if node == "backward":
            self.grads[phase] = [p.grad.double().clone() for p in self.step.parameters[phase] if p.grad is not None]
        elif isinstance(value, Tensor):
            self.last[node] = value.detach().double()
            self.all.setdefault(node, []).append(self.last[node])


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Networks that are made by hand here."""
    torch.manual_seed(0)


def batches(count: int = 12, size: int = 10, shape: tuple[int, ...] = (2,), seed: int = 0) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [{"real": torch.randn(size, *shape, generator=generator)} for _ in range(count)]


def watched(text: str, *, given: Any = None, before: int = 2, **more: Any) -> tuple[dict[str, float], Seen]:
    """The signals of one iteration, after some others."""
    step = ganflow.TrainStep(ganflow.loads(text), given or batches(), **more)
    for _ in range(before):
        step()
    seen = Seen(step)
    step(observe=Watch([seen]).observe)
    return seen.report(None, step.counters.step), seen  # type: ignore[arg-type]


def distance(x: Tensor) -> float:
    """The mean distance of all pairs, by the definition."""
    rows = x.double().flatten(1).numpy()
    pairs = [math.sqrt(float(((a - b) ** 2).sum())) for i, a in enumerate(rows) for b in rows[i + 1 :]]
    return sum(pairs) / len(pairs)


def norm(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float((t.double() ** 2).sum()) for t in tensors))


# -- accuracy -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "threshold"), [("vanilla", 0), ("hinge", 0), ("softplus", 0), ("lsgan", 0.5)])
def test_accuracy_is_the_share_of_samples_on_the_right_side(kind: str, threshold: float) -> None:
    found, seen = watched(f"{GAN}adv.kind = '{kind}'")
    real, fake = seen.all["pred_real"][0], seen.all["pred_fake"][0]  # of update D, before G's
    assert found["health/accuracy_real/D"] == pytest.approx(float((real > threshold).double().mean()))
    assert found["health/accuracy_fake/D"] == pytest.approx(float((fake < threshold).double().mean()))
    assert "health/ranking/D" not in found
    assert 0 < found["health/accuracy_real/D"] + found["health/accuracy_fake/D"] < 2, "or nothing is told apart"


@pytest.mark.parametrize("kind", ["wgan", "relativistic", "ra_vanilla", "ra_hinge", "ra_lsgan"])
def test_where_only_differences_count_pairs_are_counted(kind: str) -> None:
    more = "D/Network.clamp = (-0.5, 0.5)\n" if kind == "wgan" else ""
    found, seen = watched(f"{GAN}{more}adv.kind = '{kind}'")
    real, fake = seen.all["pred_real"][0].flatten(), seen.all["pred_fake"][0].flatten()
    above = [float(r > f) + 0.5 * float(r == f) for r in real for f in fake]
    assert found["health/ranking/D"] == pytest.approx(sum(above) / len(above))
    assert 0 < found["health/ranking/D"] < 1 and not any("accuracy" in tag for tag in found)


@pytest.mark.parametrize(
    ("text", "threshold"),
    [
        ("bcel(pred_real, 0.9) + bcel(pred_fake, 0)", 0.0),
        ("bce(sigmoid(pred_real), 1) + bce(sigmoid(pred_fake), 0)", 0.0),
        ("mse(pred_real, 1) + mse(pred_fake, -1)", 0.0),
        ("mse(pred_real, 1) + mse(pred_fake, 0)", 0.5),
        ("mean(relu(1 - pred_real)) + mean(relu(1 + pred_fake)) + 0.001 * mean(square(pred_real))", 0.0),
        ("-mean(log(sigmoid(pred_real))) - mean(log(1 - sigmoid(pred_fake)))", 0.0),
        ("mean(softplus(-pred_real)) + mean(softplus(pred_fake))", 0.0),
        ("0.5 * (gan(pred_real, True) + gan(pred_fake, False))", 0.0),
    ],
)
def test_losses_that_are_written_out_are_read_the_same_way(text: str, threshold: float) -> None:
    found, seen = watched(f'{GAN}D/Update.minimize = "{text}"')
    real, fake = seen.all["pred_real"][0], seen.all["pred_fake"][0]
    assert found["health/accuracy_real/D"] == pytest.approx(float((real > threshold).double().mean()))
    assert found["health/accuracy_fake/D"] == pytest.approx(float((fake < threshold).double().mean()))


def test_probabilities_have_their_middle_at_a_half() -> None:
    class Probability(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).sigmoid()

    for loss in ("bce(pred_real, 1) + bce(pred_fake, 0)", "-mean(log(pred_real)) - mean(log(1 - pred_fake))"):
        found, seen = watched(f"{GAN}D/Update.minimize = '{loss}'\nG/Update.minimize = 'bce(pred_fake, 1)'",
                              networks={"D": Probability()}, before=0)  # fmt: skip
        assert found["health/accuracy_real/D"] == pytest.approx(float((seen.all["pred_real"][0] > 0.5).double().mean()))
        assert 0 < found["health/accuracy_real/D"] < 1


def test_the_part_of_a_prediction_that_is_judged() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> list[Tensor]:
            y = self.layer(x)
            return [100 + y[:, :1], y[:, 1:]]

    found, _ = watched(f"{GAN}D/Update.minimize = 'gan(pred_real[1], True) + gan(pred_fake[1], False)'\n"
                       "G/Update.minimize = 'gan(pred_fake[1], True)'", networks={"D": Two()})  # fmt: skip
    assert found["health/accuracy_fake/D"] > 0 and found["health/accuracy_real/D"] < 1, "the first part is above 0"


def test_scales_count_together() -> None:
    class Scales(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x: Tensor) -> list[list[Tensor]]:
            return [[x, 0 * self.layer(x) + 1], [x, 0 * self.layer(x) - 1], [x, 0 * self.layer(x) - 1]]

    found, _ = watched(GAN, networks={"D": Scales()})
    assert found["health/accuracy_real/D"] == pytest.approx(1 / 3)
    assert found["health/accuracy_fake/D"] == pytest.approx(2 / 3)


def test_only_updates_that_train_the_judge_say_what_is_right() -> None:
    other = "E/Network.module = @MLP()\nE/MLP.in_features = 2\nE/MLP.out_features = 2\n" \
            "E/Update.minimize = 'l1(E(real), real)'\nSchedule.updates = ['D', 'E', 'G']"  # fmt: skip
    experiment = ganflow.loads(GAN + other)
    said = verdicts(ganflow.schedule(experiment), experiment)
    assert {(v.update, v.call, v.real) for v in said} == {("D", "pred_real", True), ("D", "pred_fake", False)}
    assert rivals(ganflow.schedule(experiment), experiment, said) == [("D", "G")]


def test_a_logit_on_the_threshold_is_on_no_side() -> None:
    class Silent(Judge):
        def forward(self, x: Tensor) -> Tensor:
            return 0 * super().forward(x)

    found, _ = watched(GAN, given=images(), before=0, networks={"G": Images(), "D": Silent()})
    assert found["health/accuracy_real/D"] == found["health/accuracy_fake/D"] == 0


def test_a_call_that_is_told_both_has_no_right_side() -> None:
    text = f"{GAN}D/Update.minimize = 'bcel(pred_real, 1) + bcel(pred_fake, 0) + 0.01 * bcel(pred_real, 0)'"
    assert not any("accuracy" in tag for tag in watched(text)[0])


def test_a_judge_that_is_told_one_side_only_has_no_accuracy() -> None:
    text = f"{GAN}D/Update.minimize = 'mse(pred_real, 0)'\nG/Update.minimize = 'l1(fake, real)'"
    assert not any("accuracy" in tag or "ranking" in tag for tag in watched(text)[0])


# -- what is generated --------------------------------------------------------------------------------------


def test_diversity_is_the_mean_distance_beside_that_of_real_samples() -> None:
    found, seen = watched(GAN)
    assert found["health/diversity/fake"] == pytest.approx(
        distance(seen.last["fake"]) / distance(seen.last["real"]), rel=1e-5
    )


class Images(nn.Module):
    """Images of a draw: ``spread`` 0 makes all of them alike."""

    def __init__(self, spread: float = 1.0, size: int = 6, gain: float = 1.0, bend: bool = True) -> None:
        super().__init__()
        self.layer, self.size = nn.Linear(4, 3 * size * size), size
        self.spread, self.gain, self.bend = spread, gain, bend

    def forward(self, z: Tensor) -> Tensor:
        x = self.gain * self.layer(self.spread * z + 1).unflatten(1, (3, self.size, self.size))
        return x.tanh() if self.bend else x


class Judge(nn.Module):
    def __init__(self, size: int = 6) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * size * size, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


def images(size: int = 6, count: int = 10) -> list[dict[str, Tensor]]:
    return [{"real": b["real"].tanh()} for b in batches(shape=(3, size, size), size=count)]


def test_a_collapsed_generator_has_no_diversity() -> None:
    alike, _ = watched(GAN, given=images(), networks={"G": Images(0.0), "D": Judge()})
    spread, _ = watched(GAN, given=images(), networks={"G": Images(1.0), "D": Judge()})
    assert alike["health/diversity/fake"] == 0 < 0.2 < spread["health/diversity/fake"]


def test_saturated_outputs_are_counted_beside_those_of_the_data() -> None:
    found, seen = watched(GAN, given=images(), networks={"G": Images(gain=5.0), "D": Judge()})
    assert found["health/saturated/fake"] == pytest.approx(float((seen.last["fake"].abs() > 0.99).double().mean()))
    assert found["health/saturated/real"] == pytest.approx(float((seen.last["real"].abs() > 0.99).double().mean()))
    assert found["health/saturated/fake"] > 0.1


def test_what_ends_in_no_tanh_is_not_saturated() -> None:
    found, _ = watched(GAN, given=images(), networks={"G": Images(gain=5.0, bend=False), "D": Judge()})
    assert "health/diversity/fake" in found and "health/saturated/fake" not in found
    assert "health/saturated/fake" not in watched(GAN)[0], "vectors are no images"


def test_large_batches_and_samples_are_looked_at_in_part() -> None:
    big = {"G": Images(size=40), "D": Judge(40)}  # 4800 numbers
    found, seen = watched(GAN, given=images(40, count=SAMPLES + 6), before=0, networks=big)
    fake, real = seen.last["fake"], seen.last["real"]
    assert found["health/diversity/fake"] != pytest.approx(distance(fake) / distance(real), rel=1e-6)
    assert found["health/diversity/fake"] == pytest.approx(distance(fake) / distance(real), rel=0.05)


def test_without_a_judge_images_that_look_like_the_data_are_looked_at() -> None:
    text = (
        f"{GAN}D/Update.minimize = 'l1(D(real), 0.5)'\nG/Update.minimize = 'l1(G(e), real)'\ne = 'randn(batch_size, 4)'"
    )
    steps = {"health/update_ratio/D", "health/update_ratio/G"}
    assert set(watched(text)[0]) == steps, "a vector may be a class or a value: to be alike is no fault of it"
    found, seen = watched(text, given=images(), networks={"G": Images(), "D": Judge()})
    assert set(found) == steps | {"health/diversity/G(e)", "health/saturated/G(e)", "health/saturated/real"}


def test_what_is_shown_counts_where_only_that_looks_like_the_data() -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3 * 6 * 6)

        def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
            return z, self.layer(z)

    text = f"{GAN}made = 'G(randn(batch_size, 4))'\nfake = 'reshape(made[1], (batch_size, 3, 6, 6))'"
    found, seen = watched(text, given=images(), networks={"G": Parts(), "D": Judge()})
    ratio = distance(seen.last["fake"]) / distance(seen.last["real"])
    assert found["health/diversity/fake"] == pytest.approx(ratio, rel=1e-5)
    flat = [{"real": b["real"].flatten(1)} for b in images()]
    found, seen = watched(text.replace("'reshape(made[1], (batch_size, 3, 6, 6))'", "'made[1]'"), given=flat,
                          networks={"G": Parts(), "D": Judge()})  # fmt: skip
    tags = [tag for tag in found if "diversity" in tag]
    assert tags and found[tags[0]] == pytest.approx(distance(seen.last["fake"]) / distance(seen.last["real"]), rel=1e-5)


def test_conditions_in_a_concatenation_are_not_taken_for_what_is_generated() -> None:
    text = f"""{GAN}
G/MLP.in_features = 2
D/MLP.in_features = 4
fake = 'G(x)'
pred_real = 'D(cat(x, real))'
pred_fake = 'D(cat(x, pool(fake, 5)))'
G/Update.minimize = 'gan(D(cat(x, fake)), True)'
"""
    given = [{"x": 3 * b["real"].flip(0), **b} for b in batches()]
    experiment = ganflow.loads(text)
    graph = ganflow.schedule(experiment)
    assert [(m.call, m.reference) for m in made(graph, verdicts(graph, experiment))] == [("fake", "real")]
    found, seen = watched(text, given=given)
    assert found["health/diversity/fake"] == pytest.approx(
        distance(seen.last["fake"]) / distance(seen.last["real"]), rel=1e-5
    )


# -- gradients and steps ------------------------------------------------------------------------------------


def test_ratio_of_gradients_and_size_of_steps() -> None:
    found, seen = watched(f"{GAN}D/Update.clip_norm = 0.001")
    assert found["health/grad_ratio/D,G"] == pytest.approx(norm(seen.grads["D"]) / norm(seen.grads["G"]), rel=1e-5)
    for name in ("D", "G"):
        now = [p.detach().double() for p in seen.step.networks[name].parameters()]
        went = [a - b for a, b in zip(now, seen.weights[name], strict=True)]
        assert found[f"health/update_ratio/{name}"] == pytest.approx(norm(went) / norm(seen.weights[name]), rel=1e-4)
    assert norm(seen.grads["D"]) > 0.01, "before clipping"


def test_averages_and_what_did_not_step_are_left_out() -> None:
    text = f"{GAN}E/Network.ema_of = 'G'\nE/Network.ema_beta = 0.9\nG/Update.every = 2\nG/Update.minimize = " \
           "'adv_g(D(fake), D(real)) + 0 * mean(E(randn(batch_size, 4)))'"  # fmt: skip
    both = [set(watched(text, before=k)[0]) for k in (0, 1)]
    ratios = [{t for t in tags if "update_ratio" in t or "grad_ratio" in t} for tags in both]
    every = {"health/update_ratio/D", "health/update_ratio/G", "health/grad_ratio/D,G"}
    assert {frozenset(r) for r in ratios} == {frozenset(every), frozenset({"health/update_ratio/D"})}


def test_large_parameters_are_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganflow.health.WEIGHTS", 6)
    found, seen = watched(GAN)

    def size(of: list[Tensor]) -> float:
        """Of each tensor six numbers stand for all."""
        total = 0.0
        for x in (x.flatten() for x in of):
            n = x.numel()
            some = x if n <= 6 else x[[k * n // 6 for k in range(6)]]
            total += float((some**2).sum()) * n / len(some)
        return math.sqrt(total)

    for name in ("D", "G"):
        before = seen.weights[name]
        now = [p.detach().double() for p in seen.step.networks[name].parameters()]
        wanted = size([a - b for a, b in zip(now, before, strict=True)]) / size(before)
        assert found[f"health/update_ratio/{name}"] == pytest.approx(wanted, rel=1e-4)


# -- repeats, parts, precision ------------------------------------------------------------------------------


def test_of_repeats_the_last_run_counts_and_of_microbatches_all_parts() -> None:
    found, seen = watched(f"{GAN}D/Update.repeat = 3\nD/Update.microbatches = 5", given=batches(40))
    assert len(seen.all["pred_real"]) == 15
    real, fake, made_ = (torch.cat(seen.all[n][10:15]) for n in ("pred_real", "pred_fake", "fake"))
    assert len(real) == 10
    assert found["health/accuracy_real/D"] == pytest.approx(float((real > 0).double().mean()))
    assert found["health/accuracy_fake/D"] == pytest.approx(float((fake < 0).double().mean()))
    assert found["health/diversity/fake"] == pytest.approx(distance(made_) / distance(seen.last["real"]), rel=1e-5)


def test_half_precision_and_nan() -> None:
    class Half(nn.Module):
        def __init__(self, inner: nn.Module, *, lose: bool = False) -> None:
            super().__init__()
            self.inner, self.lose = inner, lose

        def forward(self, x: Tensor) -> Tensor:
            y = self.inner(x.float())
            return (y * torch.nan if self.lose else y).half()

    found, _ = watched(GAN, given=images(), networks={"G": Half(Images()), "D": Half(Judge())})
    assert all(math.isfinite(v) for v in found.values()) and found["health/diversity/fake"] > 0
    lost, _ = watched(GAN, given=images(), before=0, networks={"G": Half(Images()), "D": Half(Judge(), lose=True)})
    assert math.isnan(lost["health/accuracy_real/D"]) and math.isnan(lost["health/accuracy_fake/D"])
    assert math.isfinite(lost["health/diversity/fake"])
    lost, _ = watched(GAN, given=images(), before=0, networks={"G": Half(Images(), lose=True), "D": Half(Judge())})
    assert math.isnan(lost["health/diversity/fake"]) and math.isfinite(lost["health/accuracy_real/D"])


def test_one_sample_has_no_diversity_to_speak_of() -> None:
    found, _ = watched(GAN, given=batches(size=1))
    assert "health/diversity/fake" not in found and "health/accuracy_real/D" in found


def test_the_bits_stay_the_same(tmp_path: Path) -> None:
    def weights(look: bool) -> list[Tensor]:
        step = ganflow.TrainStep(ganflow.loads(f"{GAN}D/Update.repeat = 2"), batches())
        for _ in range(4):
            watch = Watch(instruments(step))
            logs = step(observe=watch.observe) if look else step()
            if look:
                with Logs(tmp_path) as files:
                    assert any("health/" in tag for tag in watch.report(files, step.counters.step))
        return [*(p for m in step.networks.values() for p in m.parameters()), *logs.values()]

    assert all(torch.equal(a, b) for a, b in zip(weights(True), weights(False), strict=True))


def test_the_host_waits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[str] = []
    step = ganflow.TrainStep(ganflow.loads(GAN), batches())
    health = Health(step)
    for name in ("item", "tolist", "__float__", "__bool__", "cpu", "numpy"):
        original = getattr(Tensor, name)
        monkeypatch.setattr(
            Tensor, name, lambda self, *a, _o=original, _n=name, **k: (waits.append(_n), _o(self, *a, **k))[1]
        )
    health_only = Watch([health])
    step(observe=health_only.observe)
    assert waits == [] and health_only.report(None, 1) and waits == ["tolist"]  # type: ignore[arg-type]


def test_it_can_be_switched_off() -> None:
    step = ganflow.TrainStep(ganflow.loads(f"{GAN}Trainer.health = False"), batches())
    assert not any(isinstance(i, Health) for i in instruments(step))


# -- a run --------------------------------------------------------------------------------------------------


@gin.configurable
class eight:  # noqa: N801
    """Points near eight places on a circle."""

    splits = ("train", "val")
    fields = {"real": (2,)}  # noqa: RUF012

    def open(self, split: str) -> list[dict[str, Tensor]]:
        generator = torch.Generator().manual_seed(0)
        angle = torch.randint(0, 8, (512,), generator=generator) * math.pi / 4
        points = torch.stack([angle.cos(), angle.sin()], 1) + 0.02 * torch.randn(512, 2, generator=generator)
        return [{"real": p} for p in points]


RUN = GAN.replace("SGD.lr = 0.1", "Adam.lr = 1e-3").replace("@SGD", "@Adam").replace("(8,)", "(64, 64)")
RUN += """
Trainer.data = @eight()
Trainer.batch_size = 64
Trainer.steps = 400
Trainer.log_every = 20
Trainer.watch_every = 40
"""


def run_of(path: Path, *more: str) -> list[dict[str, float]]:
    gin.constant  # noqa: B018 - `eight` is registered by its decorator
    Trainer(ganflow.loads(RUN, [*more]), path, progress=False).fit()
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_a_watched_row_that_is_logged_too_is_one_row(tmp_path: Path) -> None:
    rows = run_of(tmp_path / "run", "Trainer.steps = 12", "Trainer.log_every = 4", "Trainer.watch_every = 6")
    assert [r["step"] for r in rows] == [1, 4, 6, 8, 12]
    assert "health/diversity/fake" in rows[2] and "loss/G" not in rows[2]
    assert "health/diversity/fake" in rows[4] and "loss/G" in rows[4]


def test_a_small_gan_that_works_is_left_alone(tmp_path: Path) -> None:
    assert [f.code for f in diagnose(run_of(tmp_path / "run"))] == ["nothing-found"]


def test_a_run_that_collapses_is_said_to(tmp_path: Path) -> None:
    rows = run_of(tmp_path / "run", "Adam.lr = 0.1")
    found = {f.code: f for f in diagnose(rows)}
    assert found["collapse"].level == "warning" and "fake" in found["collapse"].says


# -- findings -----------------------------------------------------------------------------------------------


def always(value: float) -> Any:
    return lambda t: value


def rows_of(count: int = 20, every: int = 50, **series: Any) -> list[dict[str, float]]:
    """Rows with numbers that are functions of the place in the run, from 0 to 1; ``__`` is a slash."""
    numbers = {"loss/D": 1.0, "loss/G": 2.0, "grad_norm/D": 1.0, "grad_norm/G": 1.0, "health/grad_ratio/D,G": 1.0,
               "health/accuracy_real/D": 0.8, "health/accuracy_fake/D": 0.7, "health/diversity/fake": 0.9,
               "health/update_ratio/D": 1e-3, "health/update_ratio/G": 1e-3, "lr/D": 1e-3, "lr/G": 1e-3}  # fmt: skip
    base = {tag: always(value) for tag, value in numbers.items()}
    base |= {k.replace("__", "/"): v for k, v in series.items()}
    return [
        {"step": every * (k + 1)} | {tag: float(f(k / (count - 1))) for tag, f in base.items()} for k in range(count)
    ]


def codes(rows: list[dict[str, float]]) -> list[tuple[str, str]]:
    return [(f.level, f.code) for f in diagnose(rows)]


def test_nothing_is_said_of_a_run_in_which_nothing_is_wrong() -> None:
    wavy = rows_of(40, loss__D=lambda t: 1 + math.sin(40 * t) / 2, loss__G=lambda t: 3 - t + math.cos(30 * t) / 3)
    assert codes(rows_of()) == codes(wavy) == [("fine", "nothing-found")]


@pytest.mark.parametrize(
    ("level", "code", "series"),
    [
        ("warning", "not-finite", {"loss__G": lambda t: math.nan if t > 0.7 else 1.0}),
        ("warning", "not-finite", {"loss__G": lambda t: math.inf if t > 0.95 else 1.0}),
        ("note", "not-finite", {"grad_norm__G": lambda t: math.inf if 0.4 < t < 0.5 else 1.0}),
        ("note", "judge-wins", {"health__accuracy_real__D": always(1), "health__accuracy_fake__D": always(0.995)}),
        ("warning", "judge-wins", {"health__accuracy_real__D": always(1), "health__accuracy_fake__D": always(1),
                                   "grad_norm__G": lambda t: 1.0 if t < 0.3 else 0.01}),
        ("note", "judge-at-chance", {"health__accuracy_real__D": always(0.55),
                                     "health__accuracy_fake__D": always(0.46)}),
        ("note", "judge-at-chance", {"health__accuracy_real__D": always(1), "health__accuracy_fake__D": always(0)}),
        ("warning", "collapse", {"health__diversity__fake": lambda t: 0.9 if t < 0.5 else 0.02}),
        ("warning", "collapse", {"health__diversity__fake": lambda t: 0.9 if t < 0.5 else 0.15}),
        ("warning", "saturated", {"health__saturated__fake": always(0.8), "health__saturated__real": always(0.1)}),
        ("warning", "step-too-large", {"health__update_ratio__G": always(0.3)}),
        ("warning", "step-too-small", {"health__update_ratio__G": always(1e-6)}),
        ("warning", "diverging", {"loss__G": lambda t: math.exp(6 * t)}),
        ("warning", "diverging", {"loss__D": lambda t: -math.exp(12 * t)}),
        ("warning", "gradient-vanished", {"grad_norm__G": lambda t: 10 ** (-6 * t)}),
        ("warning", "worse-than-before", {"metric__psnr": lambda t: 10 + 8 * t if t < 0.5 else 14 - 6 * (t - 0.5)}),
        ("warning", "worse-than-before", {"metric__fid_a": lambda t: 100 - 90 * t if t < 0.5 else 55 + 60 * (t - 0.5)}),
    ],
)  # fmt: skip
def test_each_finding_is_found_alone_with_its_evidence(level: str, code: str, series: dict[str, Any]) -> None:
    rows = rows_of(**series)
    assert codes(rows) == [(level, code)]
    [finding] = diagnose(rows)
    assert finding.says and finding.means and finding.tries
    assert any(str(row["step"]) in finding.evidence for row in rows) or "five parts" in finding.evidence


@pytest.mark.parametrize(
    "series",
    [
        {
            "loss__D": lambda t: 1.4 if t == 0 else 1e-6 * 10 ** (5 * t)
        },  # a discriminator that won, and was caught up with
        {"loss__D": lambda t: -5 * t},  # a Wasserstein critic
        {"loss__G": lambda t: 1 + 4 * t},
        {"health__accuracy_real__D": lambda t: 1.0 if t < 0.9 else 0.9, "health__accuracy_fake__D": always(1)},
        {"health__diversity__fake": lambda t: 0.02 if t < 0.5 else 0.5},  # small at the start
        {"health__diversity__fake": lambda t: 0.05 if int(20 * t) % 2 else 0.6},
        {"health__saturated__fake": always(0.8), "health__saturated__real": always(0.75)},  # digits on a black ground
        {"health__update_ratio__G": lambda t: 1e-3 * max(0.0, 1 - 1.8 * t), "lr__G": lambda t: max(0.0, 1 - 1.8 * t)},
        {"health__update_ratio__G": lambda t: 0.2 if t < 0.1 else 5e-3},  # Adam's first steps
        {"grad_norm__G": lambda t: 1 - 0.98 * t},
        {"metric__psnr": lambda t: 10 + 4 * t - (t > 0.8)},
        {"metric__mine": lambda t: 1 - abs(t - 0.5)},  # nobody knows which way is better
        {"metric__psnr": lambda t: 10 + 4 * t},
    ],
)
def test_what_is_normal_is_not_reported(series: dict[str, Any]) -> None:
    assert codes(rows_of(**series)) == [("fine", "nothing-found")]


def test_short_runs_are_too_short_to_tell() -> None:
    assert codes([]) == codes([{"step": 1, "loss/G": 1.0}]) == [("unknown", "too-short")]
    assert codes(rows_of(4, health__diversity__fake=always(0.9))) == [("unknown", "too-short")]
    counted = [{"step": float(k), "loss/G": 1.0, "health/nonfinite/weights/G": 3.0} for k in range(1, 21)]
    assert ("unknown", "too-short") in codes(counted)  # comes with the histograms, and is no close look
    two = rows_of(2, health__diversity__fake=always(0.0), health__update_ratio__G=always(1.0))
    assert codes(two) == [("unknown", "too-short")]
    assert codes(rows_of(2, loss__G=always(math.nan)))[0] == ("warning", "not-finite"), "one NaN is enough"


def test_rows_of_one_step_are_one() -> None:
    rows = [{"step": 2, "loss/G": 1.0}, {"step": 1, "loss/G": 2.0}, {"step": 2, "metric/l1": 0.5}]
    assert by_step(rows) == [{"step": 1, "loss/G": 2.0}, {"step": 2, "loss/G": 1.0, "metric/l1": 0.5}]


def every_code() -> Iterator[str]:
    source = Path(ganflow.__file__).with_name("diagnosis.py").read_text(encoding="utf-8")
    import ast

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == Finding.__name__:
            assert isinstance(node.args[1], ast.Constant)
            yield str(node.args[1].value)


def test_every_signal_and_every_finding_is_documented() -> None:
    page = (DOCS / "health.md").read_text(encoding="utf-8")
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert set(every_code()) == {code for code in listed if "/" not in code}
    signals = {tag.split("/")[1] for text in (GAN, GAN + "adv.kind = 'relativistic'") for tag in watched(text)[0]}
    assert {*signals, "saturated", "nonfinite"} == {  # a run that ends well has not all of them
        line.split("/")[1] for line in page.splitlines() if line.startswith("| `health/")
    }
