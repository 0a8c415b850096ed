"""The gradient probe: bugs that no gin file shows are found and named, and nothing is changed by looking."""

from __future__ import annotations

import copy
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganflow
from commands import ganflow as command
from ganflow.codegen import Source
from ganflow.draws import SeededRandom
from ganflow.probe import Probe, compared, probe
from golden_text import GOLDEN
from handwritten.zoo.cases import CASES
from handwritten.zoo.common import Draws
from zoo_networks import known

ZOO = Path(__file__).parent / "zoo"
TOY = """
G/Network.module = @MLP()
D/Network.module = @MLP()
S/Network.module = @MLP()
S/Network.trainable = False
Network.optimizer = @Adam
Adam.lr = 1e-2
z = 'randn(batch_size, 4)'
fake = 'G(z)'
D_fake = 'bcel(D(fake), 0)'
D_real = 'bcel(D(real), 1)'
G_adv = 'bcel(D(fake), 1)'
G_spec = 'l1(S(fake), S(real))'
D/Update.minimize = 'D_fake + D_real'
G/Update.minimize = 'G_adv + 10.0 * G_spec'
Schedule.updates = ['D', 'G']
"""


def mlp(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 5), nn.SiLU(), nn.Linear(5, outputs))


def toy_step(change: str = "", *, text: str = TOY, **networks: nn.Module) -> ganflow.TrainStep:
    """The toy with other networks; ``change`` is added to its gin text."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        nets = {"G": mlp(4, 3), "D": mlp(3, 1), "S": mlp(3, 2)} | networks
        data = [{"real": torch.randn(6, 3)} for _ in range(4)]
    experiment = ganflow.loads(text + change, name="toy")
    return ganflow.TrainStep(experiment, data, networks={n: m for n, m in nets.items() if n in experiment.networks})


def line_of(definition: str, text: str = TOY) -> int:
    return next(i for i, line in enumerate(text.splitlines(), 1) if line.startswith(f"{definition} ="))


SPEC = line_of("G_spec")


def cells(found: Probe) -> dict[tuple[str, str], dict[str, str]]:
    """``{("G", "G_adv"): {"G": "some", "D": "none"}}``."""
    return {(r.update, r.term): {n: c.kind for n, c in r.cells.items()} for r in found.rows}


def codes(found: Probe) -> list[str]:
    return [f.code for f in found.findings]


# -- modules with a bug inside -------------------------------------------------------------------------------


class Data(nn.Module):
    """A spectrogram that takes `.data` of its input: rishikksh20/HiFi-GAN #8."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.data)


class Zero(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return torch.zeros_like(gradient)


class Nothing(Zero):
    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> None:  # type: ignore[override]
        return None


class Infinite(Zero):
    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient / 0


class Through(nn.Module):
    """A custom function behind a layer."""

    def __init__(self, function: Any, inputs: int = 3, outputs: int = 2) -> None:
        super().__init__()
        self.function, self.layer = function, nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.function.apply(x))


class TwoHeads(nn.Module):
    """Its second head never reaches an output."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head, self.other = nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, z: Tensor) -> Tensor:
        hidden = self.trunk(z).relu()
        self.unused = self.other(hidden).detach()
        return self.head(hidden)


class Borrows(nn.Module):
    """A discriminator that reads a weight of another network, which no gin file says."""

    def __init__(self, other: nn.Module) -> None:
        super().__init__()
        self.held = [other]  # in a list, so that it is no sub-module
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.held[0][0].weight.mean()


def hooked() -> nn.Sequential:
    """A detach in a forward hook: myscience/open-genie #6."""
    module = mlp(3, 2)
    module[0].register_forward_hook(lambda *given: given[-1].clone().detach())
    return module.requires_grad_(False)


# -- starvation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "where"),
    [(Data, ", in the module S"), (hooked, ", in the module S.0"), (lambda: Through(Nothing), f"(<string>:{SPEC})")],
    ids=["data", "hook", "returns-none"],
)
def test_a_term_that_gives_nothing_is_found(module: Callable[[], nn.Module], where: str) -> None:
    found = probe(toy_step(S=module()))
    assert codes(found) == ["gradient-starved"]
    finding = found.findings[0]
    assert "term G_spec of update G gives G no gradient" in finding.message and finding.level == "error"
    assert finding.location is not None and finding.location.line == line_of("G_spec")
    first = finding.hint.splitlines()[0]
    assert first.startswith("it stops inside `S(fake)` (") and first.endswith(where)
    assert cells(found)["G", "G_spec"]["G"] == "none" and cells(found)["G", "G_adv"]["G"] == "some"
    assert "G / G_spec     ✗ ·" in str(found)


def test_an_update_that_gets_nothing_at_all_is_found_and_the_others_are_measured() -> None:
    found = probe(toy_step(D=Through(Nothing, 3, 1), S=hooked()))
    wrong = [(r.term, n) for r in found.rows for n, c in r.cells.items() if c.wrong]
    assert wrong == [("G_adv", "G"), ("G_spec", "G")]
    assert cells(found)["D", "D_fake"]["D"] == "some"
    assert {f.code for f in found.findings} == {"gradient-starved"}


def test_a_detach_in_the_trained_network_itself() -> None:
    class Detached(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).detach()

    finding = probe(toy_step(G=Detached(4, 3))).findings[0]
    assert finding.code == "gradient-starved" and "stops inside `fake = G(z)`" in finding.hint


def test_a_detach_in_the_gin_file_is_no_starvation() -> None:
    step = toy_step("\nG_adv = 'bcel(D(fake), 1) / (1 + detach(l1(S(fake), S(real))))'")
    assert codes(probe(step)) == []


def test_a_branch_that_is_not_taken_is_no_starvation() -> None:
    text = TOY.replace(
        "'l1(S(fake), S(real))'", "'l1(S(fake), S(real)) if step >= 5 else 0 * l1(S(real), real[:, :2])'"
    )
    step = toy_step(text=text)
    assert not [f for f in probe(step).findings if f.level == "error"]
    step.counters.step = 5
    assert cells(probe(step))["G", "G_spec"]["G"] == "some"
    starving = toy_step(text=text, S=hooked())
    starving.counters.step = 5
    assert codes(probe(starving)) == ["gradient-starved"]


# -- leaks ---------------------------------------------------------------------------------------------------


def test_a_path_that_no_gin_file_shows_is_a_leak() -> None:
    G = mlp(4, 3)
    found = probe(toy_step(G=G, D=Borrows(G)))
    assert codes(found) == ["gradient-leak", "gradient-leak"]
    finding = found.findings[0]
    assert "term D_fake of update D gives G a gradient (G.0.weight)" in finding.message
    assert finding.location is not None and finding.location.line == line_of("D_fake")
    assert cells(found)["D", "D_real"] == {"G": "some", "D": "some", "S": "none"}
    assert "✗ " in str(found).splitlines()[2]


def test_a_frozen_network_that_is_reached_behind_the_back_is_a_leak() -> None:
    D = mlp(3, 1)

    class Peeks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)
            self.held = [D]

        def forward(self, z: Tensor) -> Tensor:
            return self.layer(z) * (1 + self.held[0][0].bias.mean())

    found = probe(toy_step(G=Peeks(), D=D))
    assert {(r.update, r.term) for r in found.rows for n, c in r.cells.items() if c.wrong == "leak" and n == "D"} == {
        ("G", "G_adv"), ("G", "G_spec")
    }  # fmt: skip


@pytest.mark.parametrize("cut", ["detach(fake)", "with frozen['D']:"])
def test_a_plan_that_forgets_to_cut_is_a_leak(cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The measure is the generated code, so a mistake in it is found, too."""
    from ganflow import probe as module

    original = module.generate

    def careless(*args: Any, **kwargs: Any) -> Source:
        source = original(*args, **kwargs)
        changed = source.text.replace(cut, "fake" if "fake" in cut else "if True:")
        assert changed != source.text
        return Source(changed, source.lines, source.variables)

    monkeypatch.setattr(module, "generate", careless)
    assert "gradient-leak" in codes(probe(toy_step()))


def test_members_of_a_group_share_and_that_is_no_leak() -> None:
    shared = TOY.replace("['D', 'G']", "[('D', 'G')]").replace("D(fake)", "pred")
    found = probe(toy_step("\npred = 'D(fake)'", text=shared))
    assert codes(found) == []
    row = next(r for r in found.rows if r.term == "D_fake")
    assert str(row.cells["G"]).startswith("(") and not row.cells["G"].used, "what is shared is in brackets"


def test_networks_that_share_a_layer_are_no_leak() -> None:
    D, E = mlp(3, 1), mlp(3, 1)
    E[0] = D[0]
    more = "\nE/Network.module = @MLP()\nE/Network.trainable = True\nE_real = 'bcel(E(real), 1)'\n"
    more += "D/Update.minimize = 'D_fake + D_real + E_real'\nD/Update.trains = ['D', 'E']"
    found = probe(toy_step(more, D=D, E=E))
    assert codes(found) == [] and cells(found)["D", "D_real"]["E"] == "some"


# -- zeros, parts that nothing reaches, numbers that are none ------------------------------------------------


def test_a_function_that_returns_zero_is_a_warning() -> None:
    found = probe(toy_step(S=Through(Zero)))
    assert [(f.code, f.level) for f in found.findings] == [("gradient-zero", "warning")]
    assert "term G_spec of update G in G is exactly zero" in found.findings[0].message
    assert found.zeros == ("G_spec of update G in G",)
    assert cells(found)["G", "G_spec"]["G"] == "zero"


def test_a_zero_inside_a_network_names_the_parameters() -> None:
    class Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, z: Tensor) -> Tensor:
            return self.last(Zero.apply(self.first(z)))

    found = probe(toy_step(G=Inside()))
    assert codes(found) == ["gradient-zero"]
    assert "G.first.weight, G.first.bias" in found.findings[0].message and found.dead == (
        "G.first.weight", "G.first.bias",
    )  # fmt: skip


def test_a_small_gradient_is_not_zero() -> None:
    """Its squares underflow."""
    found = probe(toy_step("\nG_spec = '1.0 * mean(fake * 1e-30)'"))
    assert cells(found)["G", "G_spec"]["G"] == "some"


def test_a_head_that_reaches_no_output_is_named() -> None:
    found = probe(toy_step(G=TwoHeads()))
    assert [(f.code, f.level) for f in found.findings] == [("unreached-parameters", "warning")]
    assert "G.other.weight, G.other.bias" in found.findings[0].message


def test_a_gradient_that_is_not_finite_is_an_error() -> None:
    found = probe(toy_step(S=Through(Infinite)))
    assert codes(found) == ["gradient-non-finite"] and found.findings[0].level == "error"
    assert "term G_spec" in found.findings[0].message and "G.0.weight" in found.findings[0].message
    allowed = probe(toy_step("\nG/Update.nan_to_num = True", S=Through(Infinite)))
    assert allowed.findings[0].level == "warning"


def test_what_became_of_a_zero() -> None:
    class Late(nn.Module):
        """Zero-initialised: nothing comes through before it has moved."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.gate = nn.Linear(4, 3), nn.Parameter(torch.zeros(3))

        def forward(self, z: Tensor) -> Tensor:
            return self.first(z) * self.gate

    step = toy_step(G=Late())
    before = probe(step)
    assert before.zeros == ("G.first.weight", "G.first.bias")
    assert compared(before, before)[0].startswith("warning: still exactly zero")
    step()
    assert compared(before, probe(step)) == [
        f"no longer zero after 1 iterations: the gradient of {n}" for n in before.zeros
    ]


# -- clean experiments ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stateful", [False, True], ids=["plain", "stateful"])
@pytest.mark.parametrize("program", CASES)
def test_the_zoo_is_clean(program: str, stateful: bool) -> None:
    case = CASES[program]
    with known():
        experiment = ganflow.load(ZOO / f"{program}.gin", overrides=case.gin(stateful=stateful))
        step = ganflow.TrainStep(experiment, case.batches(), networks=case.build(stateful=stateful), random=Draws())
        before = state(step)
        found = probe(step)
        assert state(step) == before
    assert codes(found) == (["gradient-zero"] if program == "vqgan" else []), str(found)  # its adversarial term waits
    trained = {n for u in step.graph.updates for n in u.networks}
    assert {n for r in found.rows for n, c in r.cells.items() if c.must} == trained


def test_parts_of_a_batch_and_repeats() -> None:
    wgan = TOY.replace("Schedule", "D/Update.repeat = 3\nG/Update.microbatches = 2\nSchedule")
    found = probe(toy_step(text=wgan))
    assert codes(found) == [] and cells(found)["G", "G_spec"] == {"G": "some", "D": "none", "S": "none"}
    assert codes(probe(toy_step(text=wgan, S=hooked()))) == ["gradient-starved"]


def test_only_the_first_run_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five runs of a critic do not cost five measures."""
    from ganflow import gradients as module

    counted: list[object] = []
    original = module.gradients
    monkeypatch.setattr(module, "gradients", lambda value, p: (counted.append(value), original(value, p))[1])
    probe(toy_step(text=TOY.replace("Schedule", "D/Update.repeat = 5\nSchedule")))
    assert len(counted) == 4


def test_a_second_derivative_that_vanishes_is_no_starvation() -> None:
    """The slope of a linear critic does not depend on where it is taken."""
    text = TOY.replace("D_fake + D_real'", "D_real + slope'\nD/Update.trains = ['D', 'G']")
    step = toy_step("\nslope = 'mean(square(grad(D(fake), fake)))'", text=text, D=nn.Linear(3, 1))
    found = probe(step)
    assert cells(found)["D", "slope"] == {"G": "none", "D": "some", "S": "none"}
    assert codes(found) == [], found.findings[0]


def test_every_condition_is_met() -> None:
    late = TOY.replace("Schedule", "G/Update.when = 'step >= 100'\nSchedule")
    assert codes(probe(toy_step(text=late, S=hooked()))) == ["gradient-starved"]


def test_an_update_that_cannot_run_yet_is_left_out_with_a_note() -> None:
    """The first iteration must not be refused for what a later one does."""
    late = TOY.replace("10.0 * G_spec", "G_spec / step").replace("Schedule", "G/Update.when = 'step >= 1'\nSchedule")
    step = toy_step(text=late)
    found = probe(step)
    assert [(f.code, f.level) for f in found.findings] == [("gradient-unknown", "note")]
    assert {r.update for r in found.rows} == {"D"}
    step()
    assert codes(probe(step)) == [] and "G" in {r.update for r in probe(step).rows}


def test_what_is_not_finite_before_its_time_is_a_warning() -> None:
    late = TOY.replace("l1(S(fake), S(real))", "mean(log(fake * 0 + step))")
    late = late.replace("Schedule", "G/Update.when = 'step >= 1'\nSchedule")
    step = toy_step(text=late)
    assert {(f.code, f.level) for f in probe(step).findings} == {("gradient-non-finite", "warning")}
    always = toy_step(text=late.replace("step >= 1", "step >= 0"))
    assert {(f.code, f.level) for f in probe(always).findings} == {("gradient-non-finite", "error")}


class Classifies(nn.Module):
    """Two outputs, of which a term may use one."""

    def __init__(self, cut: bool = False) -> None:
        super().__init__()
        self.trunk, self.score, self.code = nn.Linear(3, 5), nn.Linear(5, 1), nn.Linear(5, 4)
        self.cut = cut

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.trunk(x).tanh()
        code = self.code(hidden)
        return self.score(hidden), code.detach() if self.cut else code


@pytest.mark.parametrize("cut", [False, True])
def test_a_part_of_a_network_may_be_trained_by_one_of_several_terms(cut: bool) -> None:
    text = TOY.replace("D(fake)", "D(fake)[0]").replace("D(real)", "D(real)[0]")
    text = text.replace("Schedule.updates = ['D', 'G']", "Schedule.updates = ['D', 'info']")
    text = text.replace("G/Update.minimize = 'G_adv + 10.0 * G_spec'", "info/Update.minimize = 'G_adv + info'")
    more = "\ninfo = 'mse(D(fake)[1], z)'\ninfo/Update.trains = ['G', 'D.code']"
    found = probe(toy_step(more, text=text, D=Classifies(cut)))
    errors = {f.message.split(" gives ")[1].split(",")[0] for f in found.findings if f.level == "error"}
    assert errors == ({"G no gradient", "D no gradient"} if cut else set())


# -- nothing changes -----------------------------------------------------------------------------------------


def data_of(value: Any) -> Any:
    """Something that can be compared, down to the bytes of tensors."""
    if isinstance(value, Tensor):
        bytes_ = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes() if value.ndim else None
        grad = data_of(value.grad) if value.is_leaf and value.grad is not None else None
        return (id(value), value.dtype, tuple(value.shape), value.requires_grad, bytes_ or value.tolist(), grad)
    if isinstance(value, Mapping):
        return [(k if isinstance(k, (str, int)) else id(k), data_of(v)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return [data_of(v) for v in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def state(step: ganflow.TrainStep) -> Any:
    """All that an iteration changes, the random states of the process included."""
    modules = [m for net in step.networks.values() for m in net.modules()]
    source = step.randomness.source
    return copy.deepcopy({
        "parameters": [data_of([*n.parameters(), *n.buffers()]) for n in step.networks.values()],
        "modules": [data_of({k: v for k, v in vars(m).items() if not k.startswith("_")}) for m in modules],
        "optimizers": [data_of(vars(o).get("state", {})) for o in step.optimizers.values()],
        "groups": [data_of(o.param_groups) for o in step.optimizers.values()],
        "random": [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()],
        "source": data_of(source.state_dict() if isinstance(source, SeededRandom) else vars(source)),
        "states": data_of(step.states), "pools": data_of(step.pools), "counters": repr(step.counters),
    })  # fmt: skip


class Busy(nn.Module):
    """Changes all that a module can change, in training and in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm, self.drop = nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.3)
        self.calls, self.log, self.last = 0, [], torch.zeros(3)
        self.register_buffer("swapped", torch.zeros(2))
        self.generator = torch.Generator().manual_seed(1)

    def forward(self, z: Tensor) -> Tensor:
        self.calls += 1
        self.log.append(self.calls)
        self.late = z
        z.mul_(torch.rand((), generator=self.generator))
        self.swapped = torch.rand(2) + random.random() + np.random.rand()
        out = self.drop(self.norm(self.layer(z.clone())))
        self.last += out.detach().mean(0)
        self.norm.training = not self.norm.training
        return out


BUSY = """
fake = 'G(real4)'
old = 'pool(fake, 2)'
D_fake = 'bcel(D(old), 0)'
m/State.next = 'm + mean(fake)'
m/State.after = 'G'
G_spec = 'l1(S(fake), S(real)) + m * 0.1 * mean(square(fake + 0.1 * randn_like(fake)))'
E/Network.ema_of = 'G'
E/Network.ema_beta = 0.5
D/Update.repeat = 2
D/Network.clamp = (-0.5, 0.5)
G/Adam.lr = '0.1 / (1 + step)'
"""


def busy_step() -> ganflow.TrainStep:
    torch.manual_seed(0)
    nets = {"G": Busy(), "D": mlp(3, 1), "S": mlp(3, 2)}
    data = [{"real": torch.randn(6, 3), "real4": torch.randn(6, 4)} for _ in range(5)]
    return ganflow.TrainStep(ganflow.loads(TOY + BUSY, name="busy"), data, networks=nets)


@pytest.mark.parametrize("iterations", [0, 3])
def test_every_bit_is_as_before(iterations: int) -> None:
    step = busy_step()
    for _ in range(iterations):
        step()
    step.networks["G"].layer.weight.grad = torch.ones(3, 4)  # somebody's
    before = state(step)
    probe(step)
    assert state(step) == before
    assert not hasattr(step.networks["G"], "late") or iterations


def test_looking_changes_no_iteration() -> None:
    """Data position, draws and dropout go on as if nothing had been, over the end of an epoch."""
    seen, logs = [], []
    for look in (False, True):
        step = busy_step()
        torch.manual_seed(5), random.seed(5), np.random.seed(5)  # noqa: B018
        for _ in range(8):
            if look:
                probe(step)
            logs.append({k: v.item() for k, v in step().items() if isinstance(v, Tensor)})
        seen.append({n: m.state_dict() for n, m in step.networks.items()})
    assert logs[:8] == logs[8:]
    assert all(torch.equal(v, seen[1][n][k]) for n, s in seen[0].items() for k, v in s.items())


def test_a_probe_that_fails_leaves_no_trace_either() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("no")

    step = toy_step(S=Fails())
    before = state(step)
    with pytest.raises(ganflow.GanflowError, match="no"):
        probe(step)
    assert state(step) == before


def test_state_can_tell() -> None:
    """The comparison above can fail: an iteration changes each part of it."""
    step = busy_step()
    before = state(step)
    step()
    after = state(step)
    assert [k for k in before if before[k] == after[k]] == []


# -- the commands --------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copy(GOLDEN / "errors" / "base.gin", tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def broken(size: int = 16) -> nn.Module:
    class Quiet(ganflow.nn.UNetGenerator):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).detach()

    return Quiet(size=size, base=4)


def test_check_prints_the_matrix(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = command(capsys, "check", "base.gin", "--probe")
    lines = found.out.splitlines()
    assert found.status == 0 and lines[1].split() == ["update", "/", "term", "G", "D"]
    assert [line.split()[2] for line in lines[2:6]] == ["D_fake", "D_real", "G_GAN", "G_L1"]
    assert lines[2].split()[3] == "·" and float(lines[2].split()[4]) > 0
    assert lines[-1] == "0 errors, 0 warnings, 0 notes" and not (here / "runs").exists()


def test_a_run_keeps_the_matrix(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert command(capsys, "run", "base.gin", "--set", "Trainer.steps = 1").status == 0
    assert "G / G_L1" in (here / "runs" / "base" / "probe.txt").read_text()
    events = EventAccumulator(str(here / "runs" / "base"))
    events.Reload()
    assert "probe" in events.Tags()["tensors"]
    off = ("--set", "Trainer.steps = 1", "--set", "Trainer.probe = False", "--name", "off")
    assert command(capsys, "run", "base.gin", *off).status == 0
    assert not (here / "runs" / "off" / "probe.txt").exists()
    assert command(capsys, "run", "base.gin", "--set", "Trainer.probe = 1").status == 2


def test_a_run_that_would_train_nothing_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganflow import build

    original = build.network
    monkeypatch.setattr(
        build, "network", lambda e, n, **k: broken() if n == "G" and k.get("device") is None else original(e, n, **k)
    )
    assert command(capsys, "data", "base.gin").status == 0  # or the run might say that it makes it
    refused = command(capsys, "run", "base.gin")
    assert refused.status == 2 and not (here / "runs").exists()
    first, *rest = (text for text in refused.err.splitlines() if not text.startswith("earth: "))
    line = next(i for i, text in enumerate(Path("base.gin").read_text().splitlines(), 1) if text.startswith("G_GAN"))
    assert first.startswith(f"base.gin:{line}: error[gradient-starved]: term G_GAN of update G gives G no gradient")
    assert refused.err.count("error[") == 1 and any("✗ ·" in text for text in rest)
    checked = command(capsys, "check", "base.gin", "--probe")
    assert checked.status == 2 and checked.out.count("error[gradient-starved]") == 2
    assert "2 errors, 0 warnings, 0 notes" in checked.out


def test_a_run_starts_without_it_where_memory_does_not_suffice(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganflow import gradients as module

    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("out of memory")

    monkeypatch.setattr(module, "gradients", full)
    found = command(capsys, "run", "base.gin", "--set", "Trainer.steps = 1")
    assert found.status == 0 and "the run starts without it" in found.out + found.err
    assert not (here / "runs" / "base" / "probe.txt").exists()


def test_a_zero_is_measured_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    switched = "G_L1 = '(1.0 if step >= 50 else 0.0) * sum(abs(fake_B - real_B)) * mean(real_A * 0 + 1)'"
    more = ("Trainer.steps = 101", "Trainer.log_every = 60", "Trainer.sample_every = 0", "Trainer.metrics = {}")
    sets = [x for s in (switched, "lambda_A = 1e-3", *more) for x in ("--set", s)]
    found = command(capsys, "run", "base.gin", *sets)
    assert found.status == 0, found.err
    assert "gradient-zero" in found.out + found.err and "no longer zero after 101 iterations" in found.out
    assert (here / "runs" / "base" / "probe.txt").read_text().count("update / term") == 2
