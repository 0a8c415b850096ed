"""Gradients of single terms against backward passes written by hand, in double precision."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ganflow
from ganflow.printing import BEFORE_BACKWARD
from ganflow.shares import Matrix, inner_products
from ganflow.termgrads import TermGradients
from handwritten.zoo.bicyclegan import adversarial
from handwritten.zoo.cases import CASES
from handwritten.zoo.common import Draws, bcel, difference, kl_divergence, l1, mse, query, result
from handwritten.zoo.stylegan2_ada import r1_penalty, style_mixed_ws
from handwritten.zoo.wgan_gp import gradient_penalty
from test_zoo import PROGRAMS, experiment
from zoo_networks import known

Nets = Mapping[str, nn.Module]
Weighted = dict[str, Tensor]  # term -> weight times term


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    with known():
        yield


def step_of(program: str, *, stateful: bool = False, changes: tuple[str, ...] = (), **given: Any) -> Any:
    case = CASES[program]
    declared = experiment(program, stateful=stateful, changes=changes)
    networks = case.build(stateful=stateful)
    return ganflow.TrainStep(declared, case.batches(), networks=networks, random=Draws(), **given)


# -- backward passes by hand --------------------------------------------------------------------------------


class Snapshots:
    """The networks as they were right before each backward pass."""

    def __init__(self, step: Any) -> None:
        self.step, self.at = step, dict[str, Nets]()

    def observe(self, phase: str, node: str, value: Any) -> None:
        if node == BEFORE_BACKWARD:
            self.at[phase] = {n: copy.deepcopy(m) for n, m in self.step.networks.items()}


def pix2pix(at: Mapping[str, Nets], batch: Mapping[str, Tensor], draw: Draws) -> Iterator[tuple[str, Weighted]]:
    A, B = batch["real_A"], batch["real_B"]
    G, D = at["D"]["G"], at["D"]["D"]
    fake = G(A).detach()
    yield "D", {"D.1": 0.5 * bcel(D(torch.cat((A, fake), 1)), 0.0), "D.2": 0.5 * bcel(D(torch.cat((A, B), 1)), 1.0)}
    G, D = at["G"]["G"], at["G"]["D"]
    fake = G(A)
    yield "G", {"G.1": bcel(D(torch.cat((A, fake), 1)), 1.0), "G.2": 100.0 * l1(fake, B)}


def cyclegan(at: Mapping[str, Nets], batch: Mapping[str, Tensor], draw: Draws) -> Iterator[tuple[str, Weighted]]:
    A, B = batch["real_A"], batch["real_B"]
    G_A, G_B, D_A, D_B = (at["G"][n] for n in ("G_A", "G_B", "D_A", "D_B"))
    fake_B, fake_A = G_A(A), G_B(B)
    yield (
        "G",
        {
            "G_adv": mse(D_A(fake_B), 1.0) + mse(D_B(fake_A), 1.0),
            "cycle": 10 * l1(G_B(fake_B), A) + 10 * l1(G_A(fake_A), B),
            "idt": 0.5 * (10 * l1(G_A(B), B) + 10 * l1(G_B(A), A)),
        },
    )
    D_A, D_B = at["D"]["D_A"], at["D"]["D_B"]
    old_B, old_A = (query([], x, 50, torch.zeros(0, 2)) for x in (fake_B, fake_A))
    yield (
        "D",
        {
            "D_A_loss": 0.5 * (mse(D_A(B), 1.0) + mse(D_A(old_B), 0.0)),
            "D_B_loss": 0.5 * (mse(D_B(A), 1.0) + mse(D_B(old_A), 0.0)),
        },
    )


def bicyclegan(at: Mapping[str, Nets], batch: Mapping[str, Tensor], draw: Draws) -> Iterator[tuple[str, Weighted]]:
    G, E, D, D2 = (at["G"][n] for n in ("G", "E", "D", "D2"))
    h = len(batch["real_A"]) // 2
    A1, B1, B2 = batch["real_A"][:h], batch["real_B"][:h], batch["real_B"][h:]
    mu, logvar = E(B1)
    f_e = G(A1, mu + torch.exp(0.5 * logvar) * draw("z_e", "randn_like", mu))
    z_r = draw("z_r", "randn", h, 8)
    f_r = G(A1, z_r)
    vae = adversarial(D(f_e), 1.0) + adversarial(D2(f_r), 1.0) + 10 * l1(f_e, B1) + 0.01 * kl_divergence(mu, logvar)
    still = copy.deepcopy(E).requires_grad_(False)
    yield "G", {"vae": vae, "z_l1": 0.5 * l1(still(f_r)[0], z_r)}
    D, D2 = at["D"]["D"], at["D2"]["D2"]
    yield "D", {"D.1": adversarial(D(f_e.detach()), 0.0), "D.2": adversarial(D(B1), 1.0)}
    yield "D2", {"D2.1": adversarial(D2(f_r.detach()), 0.0), "D2.2": adversarial(D2(B2), 1.0)}


def wgan_gp(at: Mapping[str, Nets], batch: Mapping[str, Tensor], draw: Draws) -> Iterator[tuple[str, Weighted]]:
    G, D, real = at["D"]["G"], at["D"]["D"], batch["real"]
    fake = G(draw("z", "randn", len(real), 100)).detach()
    eps = draw("eps", "uniform", len(real), 1)
    yield "D", {"D.1": D(fake).mean(), "D.2": -D(real).mean(), "gp": 10 * gradient_penalty(D, real, fake, eps)}


def stylegan2_ada(at: Mapping[str, Nets], batch: Mapping[str, Tensor], draw: Draws) -> Iterator[tuple[str, Weighted]]:
    real, n = batch["real"], len(batch["real"])
    for update, extra in (("G", ()), ("G/pl", ("z", "noise"))):  # their draws come first
        if update == "G":
            style_mixed_ws(at["G"]["G"], n, draw, 512)
            draw.generator("lf")
        for site in extra:
            draw.generator(site)
    G, D = at["D"]["G"], at["D"]["D"]
    with torch.no_grad():
        img = G.synthesis(style_mixed_ws(G, n, draw, 512))
    fake_logits, real_logits = D(draw("lf", "aug", img, 0.5)), D(draw("lr_", "aug", real, 0.5))
    yield "D", {"D.1": F.softplus(fake_logits).mean(), "D.2": F.softplus(-real_logits).mean()}
    D = at["D/r1"]["D"]  # changed to have two terms, under a gain of 16
    ahead = copy.deepcopy(draw)
    penalty = r1_penalty(D, real, draw, 0.5)
    logits = D(ahead("lr_", "aug", real, 0.5))
    yield "D/r1", {"D/r1.1": 16 * 5 * penalty, "D/r1.2": 16 * 0.1 * logits.square().mean()}


ORACLES = {f.__name__: f for f in (pix2pix, cyclegan, bicyclegan, wgan_gp, stylegan2_ada)}
CHANGES = {"stylegan2_ada": ("D/r1/Update.minimize = 'mean(r1) * r1_gamma / 2 + 0.1 * mean(square(lr_))'",)}


def vector(loss: Tensor, module: nn.Module) -> Tensor:
    """Its gradient in all weights of a network, by a backward pass of its own."""
    parameters = list(module.parameters())
    grads = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return torch.cat([torch.zeros_like(p).flatten() if g is None else g.flatten()
                      for p, g in zip(parameters, grads, strict=True)])  # fmt: skip


@pytest.mark.parametrize("program", ORACLES)
def test_terms_are_those_of_backward_passes_by_hand(program: str) -> None:
    step = step_of(program, changes=CHANGES.get(program, ()))
    shares, before = TermGradients(step), Snapshots(step)

    def observe(*told: Any) -> None:
        before.observe(*told)
        shares.observe(*told)

    logs = step(log_gradients=True, observe=observe)
    batch = CASES[program].batches()[0]
    trains = {u.name: u for u in step.graph.updates}
    compared = []
    for update, weighted in ORACLES[program](before.at, batch, Draws()):
        found, compared = shares.found[update], [*compared, update]
        assert list(weighted) == list(found.terms)
        of_network = {n: [vector(loss, before_of(loss, before.at, update, n)) for loss in weighted.values()]
                      for n in trains[update].networks}  # fmt: skip
        whole = [torch.cat(parts) for parts in zip(*of_network.values(), strict=True)]
        check_matrix(found, whole, of_network)
        for network, terms in of_network.items():
            tag = next(t for t in (f"grad_norm/{update.replace('/', '.')}/{network}", f"grad_norm/{update}")
                       if t in logs)  # fmt: skip
            assert float(logs[tag]) == pytest.approx(float(sum(terms).norm()), rel=1e-9)
    assert sorted(compared) == sorted(shares.found)


def before_of(loss: Tensor, at: Mapping[str, Nets], update: str, network: str) -> nn.Module:
    """The copy of the network that the loss was made with: values may be older than the update that uses them."""
    return at[update][network]


def check_matrix(found: Matrix, whole: list[Tensor], of_network: Mapping[str, list[Tensor]]) -> None:
    norms = [float(v.norm()) for v in whole]
    assert found.norms() == pytest.approx(norms, rel=1e-9, abs=1e-15)
    shares = found.shares()
    assert shares is not None
    assert shares == pytest.approx([n / sum(norms) for n in norms], rel=1e-9, abs=1e-15)
    for network, terms in of_network.items():
        assert found.norms(network) == pytest.approx([float(v.norm()) for v in terms], rel=1e-9, abs=1e-15)
    for a in range(len(whole)):
        for b in range(a):
            if norms[a] and norms[b]:
                cosine = float(whole[a] @ whole[b]) / norms[a] / norms[b]
                assert found.cosine(a, b) == pytest.approx(cosine, abs=1e-9)


@pytest.mark.parametrize("stateful", [False, True], ids=["plain", "stateful"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_terms_together_are_the_gradient_that_is_used(program: str, stateful: bool) -> None:
    step = step_of(program, stateful=stateful)
    networks = {u.name: u.networks for u in step.graph.updates if len(u.terms) > 1}
    for _ in range(3):
        shares = TermGradients(step)
        logs = step(log_gradients=True, observe=shares.observe)
        for update, found in shares.found.items():
            for network in networks[update]:
                tags = (f"grad_norm/{update.replace('/', '.')}/{network}", f"grad_norm/{update}")
                norm = float(next(logs[t] for t in tags if t in logs))
                assert math.sqrt(float(found.by_network[network].sum())) == pytest.approx(norm, rel=1e-6, abs=1e-9)
    assert shares.found.keys() == {u for u in networks if f"loss/{u}" in logs}


# -- at cuts ------------------------------------------------------------------------------------------------


class Apart:
    """Each term differentiated by the value of a cut, by a backward pass of its own; weights as given."""

    def __init__(self, step: Any, update: str, value: str, weights: Mapping[str, float]) -> None:
        self.update, self.value, self.weights = update, value, weights
        self.nodes = {t.name: t.node for u in step.graph.updates if u.name == update for t in u.terms}
        self.values, self.norms = dict[str, Any](), dict[str, float]()

    def observe(self, phase: str, node: str, value: Any) -> None:
        self.values[node] = value
        if node == BEFORE_BACKWARD and phase == self.update:
            for term, weight in self.weights.items():
                self.norms[term] = self.norm(weight * self.values[self.nodes[term]])

    def norm(self, loss: Tensor) -> float:
        held = self.values[self.value]
        held = list(held) if isinstance(held, (tuple, list)) else [held]
        grads = torch.autograd.grad(loss, held, retain_graph=True, allow_unused=True)
        return math.sqrt(sum(float(g.square().sum()) for g in grads if g is not None))


AT_CUTS = {
    "pix2pix": ("G", "fake_B", {"G.1": 1.0, "G.2": 100.0}),
    "infogan": ("info", "q", {"info.1": 1.0, "info.2": 0.1}),
    "aae": ("G", "code", {"G.1": 0.001, "G.2": 0.999}),
    "pix2pixhd": ("G", "fake", {"G_VGG": 1.0}),
    "vaegan": ("E", "enc", {"kl_loss": 1.0, "rec": 1.0}),
    "vqgan": ("G", "out", {"nll": 1.0, "G.2": 1.0}),
}


@pytest.mark.parametrize("stateful", [False, True], ids=["plain", "stateful"])
@pytest.mark.parametrize("program", AT_CUTS)
def test_norms_at_a_cut_are_those_of_separate_backward_passes(program: str, stateful: bool) -> None:
    update, value, weights = AT_CUTS[program]
    step = step_of(program, stateful=stateful)
    apart = Apart(step, update, value, weights)
    for _ in range(2):
        logs = step(log_gradients=True, observe=apart.observe)
        assert {t.split("/")[-1] for t in logs if t.startswith(f"grad_at/{value}/")} >= apart.norms.keys()
        for term, norm in apart.norms.items():
            assert float(logs[f"grad_at/{value}/{term}"]) == pytest.approx(norm, rel=1e-9), term


def test_lambda_is_the_ratio_at_the_generated_image() -> None:
    ratios = []
    for weight in (100.0, 50.0):
        logs = step_of("pix2pix", changes=(f"lambda_A = {weight}",))(log_gradients=True)
        ratios.append(float(logs["grad_at/fake_B/G.2"] / logs["grad_at/fake_B/G.1"]))
    assert ratios[0] == pytest.approx(2 * ratios[1], rel=1e-9)


def test_terms_that_come_by_one_way_are_measured_together() -> None:
    logs = step_of("pix2pixhd")(log_gradients=True)
    assert {t for t in logs if t.startswith("grad_at/")} == {"grad_at/fake/G_GAN+G_feat", "grad_at/fake/G_VGG"}


POINTS = """
G/Network.module  = @G/MLP()
D/Network.module  = @D/MLP()
Network.optimizer = @SGD
SGD.lr            = 0.01
MLP.hidden        = (8,)
MLP.in_features   = 2
G/MLP.out_features = 2
D/MLP.out_features = 1
fake  = 'G(x)'
G_adv = 'mean(square(D(fake)))'
near  = 'l1(fake, real)'
D/Update.minimize = 'mean(square(D(real) - 1)) + mean(square(D(fake)))'
G/Update.minimize = 'G_adv + 2 * near'
Schedule.updates  = ['D', 'G']
"""


def points(changes: str = "", batches: int = 1, **given: Any) -> Any:
    g = torch.Generator().manual_seed(3)
    data = [{k: torch.randn(8, 2, generator=g) for k in ("x", "real")} for _ in range(batches)]
    return ganflow.TrainStep(ganflow.loads(POINTS + changes), data, **given)


def cut_tags(changes: str = "") -> set[str]:
    return {t.removeprefix("grad_at/") for t in points(changes)(log_gradients=True) if t.startswith("grad_at/")}


@pytest.mark.parametrize(
    ("changes", "tags"),
    [
        ("", {"fake/G_adv", "fake/near"}),
        ("fake = 'G(x) / 2'", {"fake/G_adv", "fake/near"}),  # nearer to the loss than G(x), where all come together
        ("near = 'mean(abs(D(fake)))'", {"fake/G_adv", "fake/near"}),  # D is called twice
        ("y = 'D(fake)'\nG_adv = 'mean(y)'\nnear = 'mean(abs(y))'", {"y/G_adv", "y/near"}),
        ("near = 'l1(G(real), real)'", set()),  # G is called twice
        ("G/Update.minimize = 'G_adv'", set()),
        ("near = 'mean(square(grad(sum(G(x)), x)))'", set()),  # another call
        ("out = 'sum(fake)'\nnear = 'mean(square(grad(out, x)))'", set()),  # the inner gradient goes through G itself
        ("near = 'mean(square(grad(sum(D(fake)), fake)))'", {"fake/G_adv", "fake/near"}),  # through D, to the image
        ("p = '1 * real'\nout = 'mean(D(p * fake))'\nG_adv = 'square(out)'\nnear = 'mean(square(grad(out, p)))'",
         set()),  # the inner gradient reaches the image past `out`
        ("near = 'l1(fake, real) + 0 * mean(G(x))'", {"fake/G_adv", "fake/near"}),  # nothing of weight 0 counts
    ],
)  # fmt: skip
def test_where_terms_can_be_told_apart(changes: str, tags: set[str]) -> None:
    assert cut_tags(changes) == tags


def test_a_gradient_penalty_on_the_way_is_counted_once() -> None:
    step = points("near = 'mean(square(grad(sum(D(fake)), fake)))'")
    apart = Apart(step, "G", "fake", {"G_adv": 1.0, "near": 2.0})
    logs = step(log_gradients=True, observe=apart.observe)
    for term, norm in apart.norms.items():
        assert float(logs[f"grad_at/fake/{term}"]) == pytest.approx(norm, rel=1e-5)


def test_members_of_a_group_are_measured_apart() -> None:
    step = points("Schedule.updates = [('D', 'G')]")
    apart = Apart(step, "G", "fake", {"G_adv": 1.0, "near": 2.0})
    logs = step(log_gradients=True, observe=apart.observe)
    for term, norm in apart.norms.items():
        assert float(logs[f"grad_at/fake/{term}"]) == pytest.approx(norm, rel=1e-5)


class Doubled(torch.autograd.Function):
    """A function written by hand, with arguments that are no tensors before and between those that are."""

    @staticmethod
    def forward(ctx: Any, name: str, other: Tensor, factor: float, x: Tensor) -> Tensor:
        ctx.factor = factor
        return other + factor * x

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, grads[0], None, ctx.factor * grads[0]


class Critic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(Doubled.apply("x", x.detach() + 1, 2.0, x))  # type: ignore[no-untyped-call]


def test_functions_with_a_backward_of_their_own() -> None:
    step = points(networks={"D": Critic()})
    apart = Apart(step, "G", "fake", {"G_adv": 1.0, "near": 2.0})
    logs = step(log_gradients=True, observe=apart.observe)
    for term, norm in apart.norms.items():
        assert norm > 0 and float(logs[f"grad_at/fake/{term}"]) == pytest.approx(norm, rel=1e-5)


def test_parts_of_a_batch_add_up() -> None:
    whole, parts = step_of("pix2pix"), step_of("pix2pix", changes=("Update.microbatches = 3",))
    seen = [TermGradients(whole), TermGradients(parts)]
    one, three = (s(log_gradients=True, observe=t.observe) for s, t in zip((whole, parts), seen, strict=True))
    for tag in (t for t in one if t.startswith("grad_")):
        assert float(three[tag]) == pytest.approx(float(one[tag]), rel=1e-9), tag
    for update, matrix in seen[0].found.items():
        torch.testing.assert_close(seen[1].found[update].products, matrix.products, rtol=1e-9, atol=1e-15)


# -- nothing else changes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_logged_iteration_has_the_same_bits(program: str) -> None:
    def trained(logged: bool) -> Any:
        step = step_of(program, stateful=True)
        torch.manual_seed(1)
        for _ in range(CASES[program].iterations):
            shares = TermGradients(step)
            step(log_gradients=logged, **({"observe": shares.observe} if logged else {}))
        return result(step.networks, step.states)

    assert difference(trained(True), trained(False)) == 0.0


def test_the_order_in_which_gradients_are_added_stays() -> None:
    """In single precision, with readers that use the image several times each."""
    changes = (
        "\nG_adv = 'mean(square(D(fake) + D(fake * fake)))'\nnear = 'l1(fake, real) + mean(tanh(fake) * tanh(fake))'"
    )
    steps = [points(changes), points(changes)]
    for _ in range(20):
        steps[0](log_gradients=True)
        steps[1]()
    for a, b in zip(steps[0].networks["G"].parameters(), steps[1].networks["G"].parameters(), strict=True):
        assert a.isfinite().all() and torch.equal(a, b)


def test_what_runs_otherwise_knows_nothing_of_it() -> None:
    step = points()
    step()
    assert "observe" not in step.source.text and "grad_at" not in step.source.text and not step._variants
    off = points(cut_norms=False)
    logs = off(log_gradients=True)
    assert not off._variants and not [t for t in logs if t.startswith("grad_at")]
    assert "grad_norm/G" in logs
    assert off.source == step.source


# -- clipping -----------------------------------------------------------------------------------------------


def test_norms_before_and_after_clipping() -> None:
    free = points()(log_gradients=True)
    assert not [t for t in free if "clipped" in t]
    norm = float(free["grad_norm/G"])
    logs = points(f"\nG/Update.clip_norm = {norm / 3!r}\nD/Update.clip_value = 1e-3")(log_gradients=True)
    assert float(logs["grad_norm/D"]) == float(free["grad_norm/D"])
    count = sum(p.numel() for p in points().parameters["D"])
    assert 0 < float(logs["grad_norm_clipped/D"]) <= 1e-3 * math.sqrt(count) < float(logs["grad_norm/D"])
    assert float(logs["grad_norm_clipped/G"]) == pytest.approx(norm / 3, rel=1e-4)
    assert float(logs["grad_norm/G"]) > 2 * float(logs["grad_norm_clipped/G"])
    assert not [t for t in points("\nG/Update.clip_norm = 0.1")() if t.startswith("grad_")]


def test_numbers_that_are_not_finite_are_seen_before_they_are_replaced() -> None:
    logs = points("\nnear = 'log(mean(fake) * 0)'\nG/Update.nan_to_num = True")(log_gradients=True)
    assert not math.isfinite(float(logs["grad_norm/G"]))


class Words(nn.Module):
    """Pairs of rows of a table, whose gradient is sparse."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 3, sparse=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.table(x)


SPARSE = """
E/Network.module = @MLP()
MLP.in_features = 1
MLP.out_features = 1
Network.optimizer = @SGD
SGD.lr = 1.0
E/Update.minimize = 'mean(square(E(x))) + 3 * mean(E(y))'
Schedule.updates = ['E']
"""


@pytest.mark.parametrize("limit", ["clip_norm = 0.01", "clip_value = 0.01", "nan_to_num = True"])
def test_sparse_gradients(limit: str) -> None:
    data = [{"x": torch.tensor([1, 2, 2, 5]), "y": torch.tensor([0, 2, 8, 8])}]

    def run(sparse: bool) -> tuple[Any, Any, Tensor]:
        torch.manual_seed(0)
        words = Words()
        words.table.sparse = sparse
        step = ganflow.TrainStep(ganflow.loads(f"{SPARSE}E/Update.{limit}"), data, networks={"E": words})
        shares = TermGradients(step)
        logs = step(log_gradients=True, observe=shares.observe)
        return {k: float(v) for k, v in logs.items()}, shares.found["E"].scalars(), words.table.weight.detach()

    ours, dense = run(True), run(False)
    assert ours[0] == pytest.approx(dense[0], rel=1e-6)
    assert ours[1] == pytest.approx(dense[1], rel=1e-6)
    torch.testing.assert_close(ours[2], dense[2])


def test_an_optimizer_that_takes_no_sparse_gradients_is_refused() -> None:
    text = SPARSE.replace("@SGD\nSGD.lr = 1.0", "@Adam")
    with pytest.raises(ganflow.GanflowError, match="E has an embedding with sparse gradients, and Adam takes none"):
        ganflow.TrainStep(ganflow.loads(text), [], networks={"E": Words()})


# -- terms and weights --------------------------------------------------------------------------------------


def seen(changes: str, iterations: int = 1, update: str = "G") -> tuple[Matrix, dict[str, Any]]:
    step = points(changes)
    for _ in range(iterations):
        shares = TermGradients(step)
        logs = step(log_gradients=True, observe=shares.observe)
    return shares.found[update], logs


@pytest.mark.parametrize(
    ("changes", "names", "iterations"),
    [
        ("w = '2.0 if step < 1 else 5.0'\nG/Update.minimize = 'G_adv + w * near'", ["G_adv", "near"], 2),
        ("G/Update.minimize = '(s * near - G_adv) / 4'\ns/State.init = 2.0\ns/State.next = 's + mean(near)'",
         ["near", "G_adv"], 2),
        ("G/Update.minimize = '2 * near + G_adv - near / 2'", ["near", "G_adv"], 1),
        ("G/Update.minimize = 'batch_size * near + mean(fake)'\nG/Update.microbatches = 2", ["near", "G.1"], 1),
        ("G/Update.minimize = '2 * near + G_adv'\nUpdate.microbatches = 2\nG/Update.repeat = 3", ["near", "G_adv"], 1),
        ("G/Update.minimize = 'near + G_adv'\nG/Update.gain = 3.0\nG/Update.repeat = 2", ["near", "G_adv"], 1),
        ("G/Update.minimize = 'mean(square(G.layers[0].weight)) + near + near ** 2'", ["G.1", "near", "G.2"], 1),
    ],
)  # fmt: skip
def test_weights_are_those_of_the_iteration(changes: str, names: list[str], iterations: int) -> None:
    matrix, logs = seen(changes, iterations)
    assert list(matrix.terms) == names
    assert math.sqrt(float(matrix.products.sum())) == pytest.approx(float(logs["grad_norm/G"]), rel=1e-5)


def test_a_value_that_is_a_term_several_times_has_one_weight() -> None:
    logs = points("G/Update.minimize = '2 * near + G_adv - near / 2'")()
    assert logs["weight/near"] == 1.5
    both = (
        "D/Update.minimize = '-2 * (step * near) + mean(D(real))'\nG/Update.minimize = '-3 * (step * near) + G_adv'\n"
    )
    step = points(both + "D/Update.trains = ['D', 'G']\nG/Update.trains = ['D', 'G']")
    step()
    shares = TermGradients(step)
    logs = step(log_gradients=True, observe=shares.observe)
    for update, weight in (("D", -2.0), ("G", -3.0)):
        joint = math.sqrt(float(shares.found[update].by_network["G"].sum()))
        assert joint == pytest.approx(float(logs[f"grad_norm/{update}/G"]), rel=1e-5)
        assert shares.weights[update](step.counters)["near"] == weight * step.counters.step


def test_tags() -> None:
    matrix, _ = seen("")
    assert matrix.scalars().keys() == {
        "grad_term/G/G_adv", "grad_term/G/near", "grad_share/G/G_adv", "grad_share/G/near", "grad_cosine/G/G_adv,near",
    }  # fmt: skip
    two = "D/both/Update.minimize = 'near + mean(D(real))'\nD/both/Update.trains = ['G', 'D']\n"
    matrix, _ = seen(two + "Schedule.updates = ['D/both', 'D', 'G']", update="D/both")
    assert {t for t in matrix.scalars() if t.startswith("grad_term")} == {
        f"grad_term/D.both/{n}/{t}" for n in "GD" for t in ("near", "D/both.1")
    }
    assert "cosine:" in str(matrix) and "together" in str(matrix)


def test_zero_and_infinite_gradients_are_shown_as_what_they_are() -> None:
    zero, _ = seen("near = 'mean(relu(-square(fake)))'")
    assert zero.norms()[1] == 0 and zero.shares() == [1.0, 0.0] and zero.cosine(0, 1) is None
    assert "grad_cosine/G/G_adv,near" not in zero.scalars()
    nothing = Matrix("G", ("a", "b"), torch.zeros(2, 2), {"G": torch.zeros(2, 2)})
    assert nothing.shares() is None and nothing.scalars().keys() == {"grad_term/G/a", "grad_term/G/b"}
    broken, _ = seen("near = 'log(mean(fake) * 0)'\nG/Update.nan_to_num = True")
    assert broken.shares() is None and broken.cosine(0, 1) is None and math.isfinite(broken.norms()[0])
    for matrix in (zero, nothing, broken):
        assert str(matrix).startswith(" ")


def test_of_many_terms_there_are_no_cosines() -> None:
    many = " + ".join(f"mean(fake ** {k})" for k in range(1, 9))
    matrix, _ = seen(f"G/Update.minimize = '{many}'")
    assert len(matrix.norms()) == 8 and min(matrix.norms()) > 0 and sum(matrix.shares() or ()) == pytest.approx(1)
    assert "cosine" not in str(matrix) and not [t for t in matrix.scalars() if t.startswith("grad_cosine")]


def test_products_of_small_numbers_do_not_underflow() -> None:
    tiny = torch.full((4,), 1e-30)
    products = inner_products([tiny, -tiny], paired=True) * 1e60
    assert products.tolist() == [pytest.approx([4, -4], rel=1e-5), pytest.approx([-4, 4], rel=1e-5)]


def test_without_memory_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError

    step = points()
    shares = TermGradients(step)
    monkeypatch.setattr("ganflow.termgrads.inner_products", full)
    assert "loss/G" in step(observe=shares.observe)
    told: list[str] = []
    written: Callable[..., None] = lambda tag, text, step: told.append(text)  # noqa: E731
    assert shares.report(type("Logs", (), {"text": staticmethod(written)})(), 1) == {}  # type: ignore[arg-type]
    assert "not enough memory" in told[0]
