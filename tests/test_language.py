"""Each construct of the language against plain PyTorch: two points of view on the same few numbers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganflow
from ganflow.draws import SeededRandom
from ganflow.errors import Location
from ganflow.evaluate import Evaluator, evaluation
from ganflow.experiment import Text
from ganflow.inspection import inspect
from ganflow.views import forwards
from zoo_networks import known, register

HEAD = """
Network.module = @MLP()
Network.optimizer = @SGD
SGD.lr = 0.1
MLP.in_features = 3
MLP.out_features = 3
"""


class Net(nn.Module):
    """N×3 -> N×3, in two parts, optionally with batch norm between them."""

    def __init__(self, *, norm: bool = False) -> None:
        super().__init__()
        self.body = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3) if norm else nn.Identity()
        self.head = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.encode(x)))

    def encode(self, x: Tensor) -> Tensor:
        return self.norm(self.body(x))


@register
def tally(x: Tensor, *, state: Any = None) -> tuple[Tensor, Any]:
    """How often it ran, beside x."""
    count = 0 if state is None else state
    return x.detach() + count, count + 1


@register
def jitter(x: Tensor, scale: float = 1.0, *, generator: torch.Generator) -> Tensor:
    """x and noise; gradient passes to x."""
    return x + scale * torch.randn(x.shape, generator=generator, dtype=x.dtype)


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    with known():
        yield


def net(seed: int, **given: Any) -> Net:
    torch.manual_seed(seed)
    return Net(**given).double()


def batches(count: int = 6, size: int = 4) -> list[dict[str, Tensor]]:
    g = torch.Generator().manual_seed(5)
    return [{"x": torch.randn(size, 3, generator=g, dtype=torch.float64)} for _ in range(count)]


def program(text: str, networks: Mapping[str, nn.Module], **given: Any) -> ganflow.TrainStep:
    given.setdefault("random", SeededRandom(1, dtype=torch.float64))
    declared = "".join(f"{n}/Network.module = @MLP()\n" for n in networks)
    return ganflow.TrainStep(
        ganflow.loads(HEAD + declared + text), given.pop("data", batches()), networks=networks, **given
    )


def refused(text: str, **networks: nn.Module) -> ganflow.GanflowError:
    with pytest.raises(ganflow.GanflowError) as error:
        program(text, networks)
    return error.value


def same(a: nn.Module, b: nn.Module, tolerance: float = 1e-12) -> None:
    other = b.state_dict()
    for key, value in a.state_dict().items():
        assert (value.double() - other[key].double()).abs().max() <= tolerance, key


def sgd(loss: Tensor, *modules: nn.Module, lr: float = 0.1) -> None:
    parameters = list({id(p): p for m in modules for p in m.parameters()}.values())
    for p, g in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
        if g is not None:
            p.data -= lr * g


ONE = "Schedule.updates = ['G']\nG/Update.minimize = 'mean(square(G(x)))'\n"


# -- steps --------------------------------------------------------------------------------------------------


def test_weights_are_clamped_after_every_step_of_the_network_whoever_stepped_it() -> None:
    text = """
G/Network.clamp = (-0.2, 0.25)
a/Update.minimize = 'mean(G(x))'
a/Update.trains = ['G']
b/Update.minimize = 'mean(square(G(x)))'
b/Update.trains = ['G']
b/Update.optimizer = @SGD
Schedule.updates = ['a', 'b']
"""
    G = net(0)
    hand = copy.deepcopy(G)
    step = program(text, {"G": G})
    step()
    x = batches()[0]["x"]
    for loss in (lambda: hand(x).mean(), lambda: hand(x).square().mean()):
        sgd(loss(), hand)
        for p in hand.parameters():
            p.data.clamp_(-0.2, 0.25)
    same(G, hand)


@pytest.mark.parametrize(
    ("bindings", "change"),
    [
        ("G/Update.gain = 3.0", lambda g: [3 * v for v in g]),
        ("G/Update.clip_value = 0.01", lambda g: [v.clamp(-0.01, 0.01) for v in g]),
        ("G/Update.clip_norm = 0.05", lambda g: [v * 0.05 / torch.cat([w.flatten() for w in g]).norm() for v in g]),
        ("Update.clip_norm = 0.05\nG/Update.clip_norm = None", lambda g: g),
    ],
)
def test_gain_and_clipping(bindings: str, change: Callable[[list[Tensor]], list[Tensor]]) -> None:
    G = net(0)
    hand = copy.deepcopy(G)
    program(ONE + bindings, {"G": G})()
    loss = hand(batches()[0]["x"]).square().mean()
    for p, g in zip(hand.parameters(), change(list(torch.autograd.grad(loss, list(hand.parameters())))), strict=True):
        p.data -= 0.1 * g
    same(G, hand, 1e-7 if "clip_norm = 0.05" in bindings else 1e-12)  # torch adds 1e-6 to the norm


def test_what_is_not_finite_becomes_finite() -> None:
    G = net(0)
    before = copy.deepcopy(G)
    program(ONE.replace("mean(square(G(x)))", "sum(sqrt(G(x) * 0.0))") + "Update.nan_to_num = True", {"G": G})()
    assert all(p.isfinite().all() for p in G.parameters())
    same(G, before)


def test_a_sub_module_is_trained_and_the_rest_stays() -> None:
    G = net(0)
    hand = copy.deepcopy(G)
    step = program(ONE + "G/Update.trains = ['G.head']", {"G": G})
    step()
    step()
    for batch in batches()[:2]:
        sgd(hand(batch["x"]).square().mean(), hand.head)
    same(G, hand)
    assert refused(ONE + "G/Update.trains = ['G.haed']", G=net(0)).code == "unknown-part"


def test_members_of_a_group_that_train_one_network_add_their_gradients() -> None:
    text = """
a/Update.minimize = 'mean(square(G(x)))'
b/Update.minimize = 'mean(square(D(G(x))))'
a/Update.trains = ['G']
b/Update.trains = ['G', 'D']
Schedule.updates = [('a', 'b')]
"""
    G, D = net(0), net(1)
    hand = copy.deepcopy(G), copy.deepcopy(D)
    step = program(text, {"G": G, "D": D})
    assert forwards(step.graph) == {"G": 2, "D": 1}
    step()
    x = batches()[0]["x"]
    sgd(hand[0](x).square().mean() + hand[1](hand[0](x)).square().mean(), *hand)
    same(G, hand[0])
    same(D, hand[1])
    assert refused(text + "b/Update.optimizer = @SGD", G=net(0), D=net(1)).code == "group"
    assert refused(text + "b/Update.repeat = 2", G=net(0), D=net(1)).code == "group"
    assert refused(text + "a/Update.fresh = ['draws']", G=net(0), D=net(1)).code == "group"


def test_an_optimizer_argument_inside_a_tuple_follows_the_counters() -> None:
    text = ONE + "Network.optimizer = @Adam\nAdam.lr = 0.1\nAdam.betas = (0.5, '0.9 + 0.01 * step')"
    step = program(text, {"G": net(0)})
    seen = []
    for _ in range(3):
        step()
        seen.append(step.optimizers["G"].param_groups[0]["betas"])
    assert seen == [(0.5, 0.9), (0.5, 0.91), (0.5, 0.92)]


# -- tensors in two networks ----------------------------------------------------------------------------------

SHARED = """
a/Update.minimize = 'mean(square(A(x))) + mean(square(y))'
a/Update.trains = ['A']
b/Update.minimize = 'mean(square(B(x) + y))'
b/Update.trains = ['A', 'B']
y = 'B(x)'
Schedule.updates = ['a', 'b']
"""


def siblings() -> tuple[Net, Net]:
    A, B = net(0), net(1)
    B.body = A.body
    return A, B


def test_a_shared_tensor_is_stepped_once_and_moves_both_networks() -> None:
    A, B = siblings()
    hand = copy.deepcopy(nn.ModuleList([A, B]))
    step = program(SHARED, {"A": A, "B": B})
    assert step.graph.shared == {"A": ("B",), "B": ("A",)}
    assert "y = B(x)" in " ".join(str(step.graph).split())
    step()
    x = batches()[0]["x"]
    sgd(hand[0](x).square().mean() + hand[1](x).square().mean(), hand[0])
    sgd((hand[1](x) + hand[1](x)).square().mean(), hand[0], hand[1])
    same(A, hand[0])
    same(B, hand[1])
    assert sum(len(g["params"]) for o in step.optimizers.values() for g in o.param_groups) == 6


def test_training_a_shared_tensor_without_its_owner_is_refused() -> None:
    A, B = siblings()
    error = refused(SHARED.replace("b/Update.trains = ['A', 'B']", "b/Update.trains = ['B']"), A=A, B=B)
    assert error.code == "two-owners" and "add 'A'" in error.hint


# -- derived networks and buffers -----------------------------------------------------------------------------


@pytest.mark.parametrize("buffers", ["copy", "average"])
def test_a_moving_average_with_its_buffers_and_a_beta_that_reads_a_state(buffers: str) -> None:
    text = f"""
G_ema/Network.ema_of = 'G'
G_ema/Network.ema_beta = '0.5 + 0.1 * k'
G_ema/Network.ema_buffers = '{buffers}'
k/State.next = 'k + 1.0'
{ONE}"""
    G = net(0, norm=True)
    hand = copy.deepcopy(G)
    average = copy.deepcopy(G).eval()
    step = program(text, {"G": G})
    assert not step.networks["G_ema"].training
    for i, batch in enumerate(batches()[:3]):
        step()
        beta = 0.5 + 0.1 * i
        sgd(hand(batch["x"]).square().mean(), hand)
        for a, p in zip(average.parameters(), hand.parameters(), strict=True):
            a.data = beta * a.data + (1 - beta) * p.data
        for a, b in zip(average.buffers(), hand.buffers(), strict=True):
            mixed = buffers == "average" and b.is_floating_point()
            a.data = beta * a.data + (1 - beta) * b.data if mixed else b.data.clone()
    same(step.networks["G_ema"], average)
    assert step.states["k"] == 3.0 and all(not p.requires_grad for p in step.networks["G_ema"].parameters())


def test_only_the_updates_that_may_write_buffers_do() -> None:
    text = """
D/Network.buffers_in = ['D']
D/Update.minimize = 'mean(square(D(x)))'
G/Update.minimize = 'mean(square(D(G(x))))'
Schedule.updates = ['D', 'G']
"""
    G, D = net(0), net(1, norm=True)
    hand = copy.deepcopy(D)
    step = program(text, {"G": G, "D": D})
    step()
    hand(batches()[0]["x"])
    assert torch.equal(D.norm.running_mean, hand.norm.running_mean)
    assert torch.equal(D.norm.running_var, hand.norm.running_var)
    assert D.norm.num_batches_tracked == 1
    free = program(text.replace("D/Network.buffers_in = ['D']", ""), {"G": net(0), "D": net(1, norm=True)})
    free()
    assert free.networks["D"].norm.num_batches_tracked == 2


def test_gradient_flows_through_the_steps_of_an_unrolled_network_to_its_own_start() -> None:
    """The inner steps start from D's weights; an update that trains D through Dk differentiates the steps (MAML)."""
    text = """
Dk/Network.unroll_of = 'D'
Dk/Network.unroll_minimize = 'mean(square(D(x)))'
Dk/Network.unroll_steps = 2
Dk/Network.unroll_lr = 0.3
D/Update.minimize = 'mean(square(Dk(x) - 1.0))'
Schedule.updates = ['D']
"""
    D = net(0)
    hand = copy.deepcopy(D)
    step = program(text, {"D": D})
    assert forwards(step.graph) == {"D": 2, "Dk": 1}
    step()
    x = batches()[0]["x"]
    weights = dict(hand.named_parameters())
    for _ in range(2):
        inner = torch.func.functional_call(hand, weights, (x,)).square().mean()
        found = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
        weights = {k: w - 0.3 * g for (k, w), g in zip(weights.items(), found, strict=True)}
    sgd((torch.func.functional_call(hand, weights, (x,)) - 1).square().mean(), hand)
    same(D, hand)


def test_an_unrolled_network_can_be_looked_at_without_gradients() -> None:
    text = """
Dk/Network.unroll_of = 'D'
Dk/Network.unroll_minimize = 'mean(square(D(x)))'
Dk/Network.unroll_steps = 1
Dk/Network.unroll_lr = 0.3
D/Update.minimize = 'mean(square(Dk(x)))'
Schedule.updates = ['D']
"""
    D = net(0)
    hand = copy.deepcopy(D)
    step = program(text, {"D": D})
    x = batches()[0]["x"]
    sgd(hand(x).square().mean(), hand, lr=0.3)
    evaluator = Evaluator(step, {"value": Text("Dk(x)", Location("<test>", 1))})
    with evaluation(step):
        value = evaluator({"x": x})["value"]
    assert torch.allclose(value, hand(x), atol=1e-13) and not value.requires_grad


# -- gradients inside losses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["['P', 'E']", "['E', 'P']", "['E']", "[('P', 'E')]"])
def test_a_gradient_goes_all_the_way_whatever_was_made_before(order: str) -> None:
    """`h` is there when P has used it, and was made of another `x` than the one that E differentiates by."""
    E, P = net(0), net(1)
    hand, other = copy.deepcopy(E), copy.deepcopy(P)
    text = f"""
h = 'E(x)'
P/Update.minimize = 'mean(square(P(h)))'
E/Update.minimize = 'mean(square(grad(h * x, x)))'
Schedule.updates = {order}
"""
    program(text, {"E": E, "P": P})()
    x = batches()[0]["x"].requires_grad_()

    def penalty() -> Tensor:
        return torch.autograd.grad((hand(x) * x).sum(), x, create_graph=True)[0].square().mean()

    h = hand(x).detach()
    sgd(penalty(), hand)
    same(E, hand)
    if "P" in order:
        sgd(other(h).square().mean(), other)
        same(P, other)


def test_members_of_a_group_differentiate_one_frozen_value() -> None:
    D, G, V = net(0), net(1), net(2)
    hands = copy.deepcopy(D), copy.deepcopy(G)
    text = """
V/Network.trainable = False
h = 'V(x)'
D/Update.minimize = 'mean(square(D(x) - grad(h, x)))'
G/Update.minimize = 'mean(square(G(x) - grad(square(h), x)))'
Schedule.updates = [('D', 'G')]
"""
    program(text, {"D": D, "G": G, "V": V})()
    x = batches()[0]["x"].requires_grad_()
    for made, hand, y in ((D, hands[0], V(x)), (G, hands[1], V(x).square())):
        slope = torch.autograd.grad(y.sum(), x)[0]
        sgd((hand(x) - slope).square().mean(), hand)
        same(made, hand)


def test_a_fresh_alias_does_not_redraw_what_it_stands_for() -> None:
    text = """
a = 'randn(4, 3)'
c = 'a'
P/Update.minimize = 'mean(square(P(a)))'
Q/Update.minimize = 'mean(square(Q(c)))'
Q/Update.fresh = ['c']
Schedule.updates = ['P', 'Q']
"""
    P, Q = net(0), net(0)
    program(text, {"P": P, "Q": Q})()
    same(P, Q)


# -- parts of a batch -----------------------------------------------------------------------------------------

PARTS = """
z = 'randn(batch_size, 3)'
fake = 'G(z)'
D_fake = 'mean(square(D(fake)))'
D_real = 'mean(square(D(x) + 0.1 * randn_like(x) - 1.0))'
D/Update.minimize = 'D_fake + D_real'
G/Update.minimize = 'mean(square(D(fake) - 1.0))'
k/State.next = '0.5 * k + mean(fake)'
k/State.after = 'D'
Schedule.updates = ['D', 'G']
"""


@pytest.mark.parametrize("split", ["D", "G"])
def test_one_update_in_parts_makes_no_difference_to_the_other(split: str) -> None:
    """What D makes in parts has no graph that G could use; G makes it again."""
    found = []
    for more in ("", f"{split}/Update.microbatches = 2"):
        nets = {"G": net(0), "D": net(1)}
        step = program(PARTS + more, nets)
        for _ in range(3):
            step()
        found.append(nets)
    same(found[0]["G"], found[1]["G"])
    same(found[0]["D"], found[1]["D"])


@pytest.mark.parametrize("order", ["['D', 'G']", "['G', 'D']", "[('D', 'G')]"])
@pytest.mark.parametrize("size", [4, 5])
def test_microbatches_make_no_difference_but_memory(order: str, size: int) -> None:
    runs = []
    for parts in (1, 2, 4):
        nets = {"G": net(0), "D": net(1)}
        text = PARTS.replace("['D', 'G']", order) + f"Update.microbatches = {parts}"
        step = program(text, nets, data=batches(size=size))
        logs = [step() for _ in range(3)]
        runs.append((nets, logs, step.states["k"]))
    for nets, logs, k in runs[1:]:
        for name, module in nets.items():
            same(module, runs[0][0][name])
        assert (k - runs[0][2]).abs() < 1e-12
        for ours, theirs in zip(logs, runs[0][1], strict=True):
            assert ours.keys() == theirs.keys()
            assert all(abs(ours[key] - theirs[key]) < 1e-12 for key in theirs)


def test_a_permutation_of_the_batch_cannot_be_split() -> None:
    text = ONE.replace("G(x)", "G(x[perm(batch_size)])") + "Update.microbatches = 2"
    assert refused(text, G=net(0)).code == "microbatches"


# -- ops of one's own, entry points, lazily shaped networks ---------------------------------------------------


def test_a_stateful_op_runs_once_per_batch_and_keeps_its_state() -> None:
    text = """
t = 'tally(x)'
a/Update.minimize = 'mean(square(G(t)))'
b/Update.minimize = 'mean(square(G(t) + 1.0))'
a/Update.trains = ['G']
b/Update.trains = ['G']
Schedule.updates = ['a', 'b']
"""
    G = net(0)
    hand = copy.deepcopy(G)
    step = program(text, {"G": G})
    for i, batch in enumerate(batches()[:3]):
        step()
        sgd(hand(batch["x"] + i).square().mean(), hand)
        sgd((hand(batch["x"] + i) + 1).square().mean(), hand)
    same(G, hand)
    assert step.pools == {"t": 3}


@pytest.mark.parametrize(
    ("fresh", "counts"), [("", 1), ("b/Update.fresh = ['fake']", 2), ("b/Update.fresh = ['t']", 2)]
)
def test_a_stateful_op_follows_what_is_refreshed_and_nothing_else(fresh: str, counts: int) -> None:
    """`fake` is made again for b, because G has moved; the pool was asked for this batch already."""
    text = f"""
fake = 'G(x)'
t = 'tally(fake)'
a/Update.minimize = 'mean(square(fake)) + mean(square(D(t)))'
b/Update.minimize = 'mean(square(fake)) + mean(square(D(t)))'
a/Update.trains = ['G', 'D']
b/Update.trains = ['G', 'D']
Schedule.updates = ['a', 'b']
{fresh}
"""
    G, D = net(0), net(1)
    hand = copy.deepcopy(G), copy.deepcopy(D)
    step = program(text, {"G": G, "D": D})
    step()
    assert step.pools == {"t": counts}
    x, asked = batches()[0]["x"], 0
    t = hand[0](x).detach()
    for update in (0, 1):
        fake = hand[0](x)
        if update and counts == 2:
            asked += 1
            t = fake.detach() + asked
        sgd(fake.square().mean() + hand[1](t).square().mean(), *hand)
    same(G, hand[0])
    same(D, hand[1])


def test_an_op_that_draws_by_itself_draws_per_site_and_passes_gradient() -> None:
    text = "Schedule.updates = ['G']\nn = 'jitter(G(x), scale=0.5)'\nG/Update.minimize = 'mean(square(n))'\n"
    G = net(0)
    hand = copy.deepcopy(G)
    step = program(text, {"G": G})
    random = SeededRandom(1)
    for batch in batches()[:2]:
        step()
        noise = torch.randn(4, 3, generator=random.generator("n"), dtype=torch.float64)
        sgd((hand(batch["x"]) + 0.5 * noise).square().mean(), hand)
        random.new_batch()
    same(G, hand)


def test_entry_points_sub_modules_and_parameters_and_nothing_else() -> None:
    text = "Schedule.updates = ['G']\nG/Update.minimize = '{}'\n"
    G = net(0)
    hand = copy.deepcopy(G)
    program(text.format("mean(square(G.head(G.encode(x)))) + sum(square(G.head.weight))"), {"G": G})()
    sgd(hand.head(hand.encode(batches()[0]["x"])).square().mean() + hand.head.weight.square().sum(), hand)
    same(G, hand)
    for wrong in ("G.zero_grad(x)", "G.requires_grad_(x)", "G.enc(x)", "G.head.nothing", "G.body.to(x)", "G._apply(x)"):
        error = refused(text.format(f"mean(square(G(x))) + mean({wrong})"), G=net(0))
        assert error.code == "unknown-part" and wrong.split("(")[0] in error.message


@register
class InLists(nn.Module):
    """N×3 -> N×3, its parts in containers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
        self.heads = nn.ModuleList([nn.Sequential(nn.Linear(3, 3))])

    def forward(self, x: Tensor) -> Tensor:
        return self.heads[0](self.layers(x))


def test_parts_with_numbers_are_called_and_read_and_trained() -> None:
    torch.manual_seed(0)
    G = InLists().double()
    hand = copy.deepcopy(G)
    text = """
G/Update.minimize = 'mean(square(G.layers[2](G.layers[0](x)))) + sum(square(G.heads[0][0].weight)) + sum(G(x)[0])'
G/Update.trains = ['G.layers.2', 'G.heads']
Schedule.updates = ['G']
"""
    step = program(text, {"G": G})
    assert "= G.layers[0](x)" in str(step.graph)
    step()
    x = batches()[0]["x"]
    loss = hand.layers[2](hand.layers[0](x)).square().mean() + hand.heads[0][0].weight.square().sum() + hand(x)[0].sum()
    sgd(loss, hand.layers[2], hand.heads)
    same(G, hand)
    for wrong in ("sum(G.layers[7].weight)", "sum(G.layers[7](x))", "sum(G.layers[-1](x))", "sum(G.layers[0].wait)"):
        with pytest.raises(ganflow.GanflowError) as error:
            program(text.replace("sum(G(x)[0])", wrong), {"G": InLists().double()})
        assert error.value.code in ("unknown-part", "syntax")


def test_nested_parts_of_an_unrolled_network() -> None:
    text = """
Dk/Network.unroll_of = 'D'
Dk/Network.unroll_minimize = 'mean(square(D(x)))'
Dk/Network.unroll_steps = 1
Dk/Network.unroll_lr = 0.3
D/Update.minimize = 'mean(square(Dk.heads[0][0](Dk.layers(x)) - 1.0))'
Schedule.updates = ['D']
"""
    torch.manual_seed(0)
    D = InLists().double()
    hand = copy.deepcopy(D)
    program(text, {"D": D})()
    x, weights = batches()[0]["x"], dict(hand.named_parameters())
    inner = hand(x).square().mean()
    found = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
    moved = {k: w - 0.3 * g for (k, w), g in zip(weights.items(), found, strict=True)}
    sgd((torch.func.functional_call(hand, moved, (x,)) - 1).square().mean(), hand)
    same(D, hand)


@register
class Lazy(nn.Module):
    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.LazyLinear(width), nn.LazyBatchNorm1d(), nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x)))


def test_a_lazily_shaped_network_is_built_before_its_optimizer_and_starts_the_same_every_time() -> None:
    text = "Schedule.updates = ['G', 'F']\nf = 'F(G(x))'\nG/Update.minimize = 'mean(square(G(x)))'\n"
    text += "F/Update.minimize = 'mean(square(f)) + mean(randn(2))'\n"
    starts = []
    for seed, data in enumerate((batches(), batches(size=2))):
        G = net(0, norm=True)
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        step = program(text, {"G": G, "F": Lazy().double()}, data=data)
        assert torch.equal(torch.get_rng_state(), state) and G.norm.num_batches_tracked == 0
        F = step.networks["F"]
        assert F.first.weight.shape == (5, 3) and F.norm.num_batches_tracked == 0 and F.training
        starts.append(copy.deepcopy(F))
        step()
        assert F.norm.num_batches_tracked == 1 and step.counters.step == 1
        assert not torch.equal(F.first.weight, starts[-1].first.weight)
    same(*starts)


@pytest.mark.parametrize("kind", ["normal", "xavier", "orthogonal"])
def test_a_lazily_shaped_network_starts_as_its_init_says(kind: str) -> None:
    text = f"""
F/Network.module = @Lazy()
F/Network.init = '{kind}'
G/Network.module = @InLists()
Network.optimizer = @SGD
SGD.lr = 0.0
G/Update.minimize = 'mean(square(F(G(x))))'
G/Update.trains = ['G', 'F']
Schedule.updates = ['G']
"""
    start = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        data = [{k: v.float() for k, v in b.items()} for b in batches()]
        F = ganflow.TrainStep(ganflow.loads(text), data, seed=3).networks["F"]
        assert F.first.weight.shape == (5, 3) and not F.first.bias.any() and not F.last.bias.any()
        start.append(F)
    same(*start, 0.0)
    if kind == "orthogonal":
        gram = F.first.weight.T @ F.first.weight / 0.02**2
        assert torch.allclose(gram, torch.eye(3), atol=1e-5)


# -- conditions -----------------------------------------------------------------------------------------------


def test_a_skipped_update_has_no_code_and_leaves_no_log() -> None:
    text = """
D/Update.minimize = 'mean(square(D(G(x))))'
G/Update.minimize = 'mean(square(D(G(x)) - 1.0))'
G/Update.every = 3
G/Update.when = 'step > 0'
Schedule.updates = ['D', 'G']
"""
    step = program(text, {"G": net(0), "D": net(1)})
    logs = [step() for _ in range(5)]
    assert ["loss/G" in found for found in logs] == [False, False, False, True, False]
    assert "when counters.step" not in step.source.text and "if " not in step.source.text.replace("if log_", "")
    assert "when step % 3 == 0 and step > 0" in str(step.graph)
    assert "def active" in step.graph.source and step.graph.source.count("def step") == 2


def test_a_condition_on_a_tensor_is_said_to_wait_for_the_device() -> None:
    text = ONE + "G/Update.when = 'mean(x) > 0.0'\n"
    G = net(0)
    hand = copy.deepcopy(G)
    step = program(text, {"G": G})
    ran = ["loss/G" in step() for _ in range(6)]
    assert ran == [bool(b["x"].mean() > 0) for b in batches()] and len(set(ran)) == 2
    for batch in batches():
        if batch["x"].mean() > 0:
            sgd(hand(batch["x"]).square().mean(), hand)
    same(G, hand)
    assert "waits for the device" in str(step.graph)


def test_draws_do_not_depend_on_updates_that_were_skipped() -> None:
    text = """
z = 'randn(4, 3)'
a/Update.minimize = 'mean(square(A(z)))'
a/Update.trains = ['A']
a/Update.fresh = ['draws']
a/Update.when = '{}'
b/Update.minimize = 'mean(square(B(z)))'
b/Update.trains = ['B']
b/Update.fresh = ['draws']
Schedule.updates = ['a', 'b']
"""
    found = []
    for when in ("step >= 0", "step < 0", "mean(x) > 100.0"):
        B = net(1)
        step = program(text.format(when), {"A": net(0), "B": B})
        step()
        step()
        found.append(B)
    same(found[0], found[1], 0.0)
    same(found[0], found[2], 0.0)


def test_a_new_batch_has_its_own_size_and_the_first_one_counts() -> None:
    text = """
G/Update.minimize = 'mean(square(G(x) + randn(batch_size, 3)))'
G/Update.repeat = 2
Schedule.updates = ['G']
"""
    data = [b for pair in zip(batches(3, 2), batches(3, 4), strict=True) for b in pair]
    step = program(text, {"G": net(0)}, data=data)
    for _ in range(4):
        step()
    assert (step.counters.images, step.counters.step) == (8, 4)
    assert (step.counters.epoch, step.counters.epoch_step) == (1, 1)


def test_one_binding_serves_both_sides_of_an_adversarial_loss() -> None:
    text = """
D/Update.minimize = 'adv_d(D(x), D(G(x)))'
G/Update.minimize = 'adv_g(D(G(x)))'
adv.kind = 'hinge'
Schedule.updates = ['D', 'G']
"""
    G, D = net(0), net(1)
    hand = copy.deepcopy(G), copy.deepcopy(D)
    logs = program(text, {"G": G, "D": D})()
    x = batches()[0]["x"]
    real, fake = hand[1](x), hand[1](hand[0](x))
    assert logs["loss/D"].item() == pytest.approx(((1 - real).relu().mean() + (1 + fake).relu().mean()).item())
    assert logs["loss/G"].item() == pytest.approx(-D(hand[0](x)).mean().item())
    assert math.isfinite(logs["loss/G"])


@pytest.mark.parametrize(
    ("bindings", "code"),
    [
        ("G/Update.fresh = ['zz']", "unknown-name"),
        ("G/Update.repeat = 0", "type"),
        ("G/Update.microbatches = 1.5", "type"),
        ("E/Network.ema_of = 'G'", "ema"),
        ("E/Network.ema_of = 'H'\nE/Network.ema_beta = 0.5", "unknown-name"),
        ("E/Network.ema_of = 'E'\nE/Network.ema_beta = 0.5", "ema"),
        ("E/Network.ema_of = 'G'\nF/Network.ema_of = 'E'\nNetwork.ema_beta = 0.5", "ema"),
        ("K/Network.unroll_of = 'G'\nE/Network.ema_of = 'K'\nE/Network.ema_beta = 0.5", "ema"),
        ("E/Network.ema_of = 'G'\nE/Network.ema_beta = 0.5\nE/Network.ema_buffers = 'no'", "type"),
        ("E/Network.ema_of = 'G'\nE/Network.ema_beta = 0.5\nG/Update.trains = ['G', 'E']", "derived"),
        ("G/Network.buffers_in = ['H']", "unknown-name"),
        ("G/Network.clamp = 0.1", "type"),
        ("k/State.next = 'k + 1'\nk/State.after = 'H'", "unknown-name"),
        ("y = 'x if mean(x) > 0 else G(x)'\nG/Update.minimize = 'mean(G(y))'", "host-test"),
        ("t = 'lambda a: a'\nG/Update.fresh = ['t']", "fresh"),
    ],
)
def test_what_contradicts_itself_is_refused(bindings: str, code: str) -> None:
    assert refused(ONE + bindings, G=net(0)).code == code


def test_the_parameters_that_there_are_stand_in_a_hint_as_one_writes_them() -> None:
    text = ONE.replace("mean(square(G(x)))", "mean(square(G(x))) + sum(G.layers[0].wait)")
    declared = ganflow.loads("G/Network.module = @InLists()\nNetwork.optimizer = @SGD\nSGD.lr = 0.1\n" + text)
    [found] = [f for f in inspect(declared).findings if f.level == "error"]
    assert found.code == "unknown-part" and "did you mean `layers[0].weight`" in found.hint
