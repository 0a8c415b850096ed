"""Networks have the papers' architectures, take the images they say they take, and start as the papers do."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ganflow.errors import GanflowError
from ganflow.nn import (
    MLP,
    PatchDiscriminator,
    ResnetGenerator,
    UNetGenerator,
    init_weights,
    norm_layer,
    receptive_field,
)

NORMS = ("batch", "instance", "none")


@pytest.fixture(autouse=True)
def same_weights_every_time() -> None:
    torch.manual_seed(0)


def on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return make()


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(shape, generator=seeded(1), dtype=dtype) * 2 - 1


# --- architecture -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (lambda: UNetGenerator(), 54_413_955),
        (lambda: UNetGenerator(size=128), 41_828_995),
        (lambda: UNetGenerator(skip=False), 39_075_459),
        (lambda: ResnetGenerator(blocks=9), 11_378_179),
        (lambda: ResnetGenerator(blocks=6), 7_837_699),
        (lambda: PatchDiscriminator(6), 2_768_705),
        (lambda: PatchDiscriminator(3, norm="instance"), 2_764_737),
        (lambda: PatchDiscriminator(6, layers=0), 9_025),
        (lambda: MLP(2, 1), 17_025),
        (lambda: MLP(2, 1, norm="batch"), 17_281),
    ],
)
def test_parameter_counts(make: Callable[[], nn.Module], parameters: int) -> None:
    assert count(on_meta(make)) == parameters


def unet_by_hand(g: UNetGenerator, x: torch.Tensor, *, inplace: bool) -> torch.Tensor:
    """The paper's diagram: each skip leaves before the activation; ``inplace`` activates it after all."""
    convs = [block[0] for block in g.downs]
    norms = [next((m for m in block if isinstance(m, nn.BatchNorm2d)), None) for block in g.downs]
    skips, last = [], len(convs) - 1
    for i, (conv, norm) in enumerate(zip(convs, norms, strict=True)):
        x = conv(x if i == 0 else F.leaky_relu(x, 0.2, inplace=inplace))
        x = norm(x) if norm is not None else x
        if i < last:
            skips.append(x)
    for i, block in enumerate(g.ups):
        x = block[0](F.relu(x, inplace=inplace))
        if i == last:
            return torch.tanh(x)
        x = torch.cat([skips.pop(), block[1](x)], 1)
    raise AssertionError


def gradients(y: torch.Tensor, module: nn.Module) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(y.square().sum(), tuple(module.parameters()))


def test_unet_is_the_papers_diagram_to_the_last_bit() -> None:
    """What the skips carry, before or after the LeakyReLU, makes no difference to values or gradients."""
    g = UNetGenerator(3, 2, base=4, size=32, dropout=0.0)
    x = images(2, 3, 32, 32)
    ours, paper = g(x), unet_by_hand(g, x, inplace=False)
    assert torch.equal(ours, paper)
    assert all(map(torch.equal, gradients(ours, g), gradients(paper, g)))


def saved_bytes(call: Callable[[], torch.Tensor], module: nn.Module) -> int:
    """Bytes that autograd keeps of a call until its backward, without parameters."""
    held = {p.untyped_storage().data_ptr() for p in module.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in held:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call()
    return sum(storage.nbytes() for storage in kept.values())


def test_unet_keeps_no_more_than_a_careful_hand_written_one() -> None:
    g = UNetGenerator(base=4, size=32, dropout=0.0)
    x = images(2, 3, 32, 32)
    ours = saved_bytes(lambda: g(x), g)
    assert ours == saved_bytes(lambda: unet_by_hand(g, x, inplace=True), g)
    assert ours < saved_bytes(lambda: unet_by_hand(g, x, inplace=False), g)


def test_resnet_is_johnsons_with_reflection_padding() -> None:
    g = ResnetGenerator(3, 2, base=4, blocks=2)
    x = images(2, 3, 16, 24)

    def step(x: torch.Tensor, index: int) -> torch.Tensor:
        return F.relu(F.instance_norm(convs[index](x)))

    convs = [m for m in g.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert [tuple(c.weight.shape) for c in convs] == [
        *((4, 3, 7, 7), (8, 4, 3, 3), (16, 8, 3, 3)),
        *[(16, 16, 3, 3)] * 4,
        *((16, 8, 3, 3), (8, 4, 3, 3), (2, 4, 7, 7)),
    ]
    y = step(F.pad(x, (3, 3, 3, 3), mode="reflect"), 0)
    y = step(step(y, 1), 2)
    assert y.shape == (2, 16, 4, 6)
    for index in (3, 5):
        inner = F.pad(step(F.pad(y, (1, 1, 1, 1), mode="reflect"), index), (1, 1, 1, 1), mode="reflect")
        y = y + F.instance_norm(convs[index + 1](inner))
    y = torch.tanh(convs[9](F.pad(step(step(y, 7), 8), (3, 3, 3, 3), mode="reflect")))
    assert torch.equal(g(x), y)


@pytest.mark.parametrize("layers", range(5))
def test_receptive_field_is_what_a_gradient_reaches(layers: int) -> None:
    d = PatchDiscriminator(1, base=1, layers=layers, norm="none").double()
    for p in d.parameters():
        nn.init.constant_(p, 0.5)  # all positive: no path cancels another
    side = receptive_field(layers)
    x = torch.ones(1, 1, 3 * side + 4, 3 * side + 4, dtype=torch.float64, requires_grad=True)
    y = d(x)
    middle = y.shape[-1] // 2
    (reached,) = torch.autograd.grad(y[0, 0, middle, middle], x)
    assert [len(set(axis.tolist())) for axis in reached[0, 0].nonzero(as_tuple=True)] == [side, side]


def test_receptive_fields_of_the_paper() -> None:
    assert [receptive_field(layers) for layers in (0, 1, 3, 5)] == [1, 16, 70, 286]


def test_patch_gan_has_no_norm_on_its_first_layer_and_gives_logits() -> None:
    d = PatchDiscriminator(6, base=4)
    names = [type(m).__name__ for m in d.layers]
    step = ["Conv2d", "BatchNorm2d", "LeakyReLU"]
    assert names == ["Conv2d", "LeakyReLU", *step * 3, "Conv2d"]
    for p in d.layers[-1].parameters():
        nn.init.constant_(p, 3.0)
    assert d(images(1, 6, 32, 32)).abs().max() > 1


# --- shapes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, 16, 32, 64, 128, 256])
def test_unet_goes_down_to_one_pixel(size: int) -> None:
    g = UNetGenerator(1, 2, base=2, size=size)
    depths: list[torch.Size] = []
    g.downs[-1].register_forward_hook(lambda module, args, output: depths.append(output.shape[2:]))
    y = g(images(1, 1, size, size))
    assert y.shape == (1, 2, size, size)
    assert depths == [(1, 1)]
    assert y.abs().max() <= 1


@pytest.mark.parametrize(
    ("size", "downs", "given", "bottom"),
    [
        ((16, 32), None, (16, 32), (1, 2)),
        ((48, 32), None, (48, 32), (3, 2)),
        ([24, 40], None, (24, 40), (3, 5)),
        (16, None, (48, 32), (3, 2)),
        (48, 4, (48, 48), (3, 3)),
        (16, 1, (6, 10), (3, 5)),
        (16, 2, (4, 4), (1, 1)),
    ],
)
@pytest.mark.parametrize("skip", [True, False])
def test_unet_takes_sizes_that_divide(
    size: object, downs: int | None, given: tuple[int, int], bottom: tuple[int, int], skip: bool
) -> None:
    g = UNetGenerator(base=2, size=size, downs=downs, skip=skip)
    x = images(2, 3, *given)
    assert g(x).shape == (2, 3, *given)
    for down in g.downs:
        x = down(x)
    assert x.shape[2:] == bottom


@pytest.mark.parametrize("given", [(8, 8), (16, 8), (20, 36)])
def test_resnet_keeps_the_size(given: tuple[int, int]) -> None:
    assert ResnetGenerator(3, 1, base=2, blocks=1)(images(1, 3, *given)).shape == (1, 1, *given)


@pytest.mark.parametrize(("downs", "side"), [(0, 4), (1, 4), (2, 8), (3, 16)])
def test_resnet_halves_as_often_as_told(downs: int, side: int) -> None:
    g = ResnetGenerator(base=2, blocks=1, downs=downs)
    x = images(1, 3, side, side)
    assert g(x).shape == x.shape
    (bottom,) = g.encode(x, [4 + 3 * downs])
    assert bottom.shape == (1, 2 * 2**downs, side // 2**downs, side // 2**downs)


@pytest.mark.parametrize(
    ("layers", "given", "logits"),
    [
        (3, (256, 256), (30, 30)),
        (3, (24, 33), (1, 2)),
        (1, (6, 8), (1, 2)),
        (0, (5, 1), (5, 1)),
        (5, (96, 96), (1, 1)),
    ],
)
def test_patch_gan_shapes(layers: int, given: tuple[int, int], logits: tuple[int, int]) -> None:
    d = PatchDiscriminator(2, base=2, layers=layers)
    assert d(images(2, 2, *given)).shape == (2, 1, *logits)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("make", "channels", "side"),
    [
        (lambda norm: UNetGenerator(base=2, size=8, norm=norm), 3, 8),
        (lambda norm: UNetGenerator(base=2, size=16, norm=norm, skip=False), 3, 16),
        (lambda norm: ResnetGenerator(base=2, blocks=1, norm=norm, dropout=0.5), 3, 8),
        (lambda norm: PatchDiscriminator(base=2, norm=norm), 6, 24),
        (lambda norm: PatchDiscriminator(base=2, norm=norm, layers=0), 6, 24),
    ],
)
def test_every_norm_trains_with_a_single_smallest_image(
    make: Callable[[str], nn.Module], channels: int, side: int, norm: str
) -> None:
    net = make(norm)
    x = images(1, channels, side, side).requires_grad_()
    gradient = torch.autograd.grad(net(x).square().sum(), [x, *net.parameters()])
    assert all(g.isfinite().all() for g in gradient)
    kinds = {type(m) for m in net.modules()} & {nn.BatchNorm2d, nn.InstanceNorm2d}
    assert kinds == {"batch": {nn.BatchNorm2d}, "instance": {nn.InstanceNorm2d}, "none": set()}[norm]
    before_a_norm = [m.bias is None for m in net.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert any(before_a_norm) == (norm == "batch")


def test_norm_layers() -> None:
    batch, instance = norm_layer("batch", 5), norm_layer("instance", 5)
    assert isinstance(batch, nn.BatchNorm2d) and batch.num_features == 5
    assert isinstance(instance, nn.InstanceNorm2d) and not list(instance.parameters())
    assert norm_layer("none", 5) is None


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh"])
def test_mlp(activation: str, norm: str) -> None:
    net = MLP(3, 2, hidden=[5, 7], activation=activation, norm=norm)
    assert net(images(4, 3)).shape == (4, 2)
    assert [m.out_features for m in net.modules() if isinstance(m, nn.Linear)] == [5, 7, 2]
    kinds = [type(m).__name__ for m in net.layers]
    step = ["Linear", *(["BatchNorm1d"] if norm == "batch" else [])]
    step.append({"relu": "ReLU", "leaky_relu": "LeakyReLU", "tanh": "Tanh"}[activation])
    assert kinds == [*step, *step, "Linear"]


def test_mlp_without_hidden_layers_is_linear() -> None:
    net = MLP(3, 2, hidden=())
    x = images(4, 3)
    assert torch.equal(net(x), F.linear(x, net.layers[0].weight, net.layers[0].bias))


# --- dropout ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "blocks"), [(256, [0, 1, 2]), (128, [0, 1, 2]), (64, [0, 1]), (32, [0])])
def test_unet_has_the_papers_dropout(size: int, blocks: list[int]) -> None:
    g = on_meta(lambda: UNetGenerator(size=size))
    having = [i for i, up in enumerate(g.ups) if any(isinstance(m, nn.Dropout) for m in up)]
    assert having == blocks
    assert {m.p for m in g.modules() if isinstance(m, nn.Dropout)} == {0.5}


@pytest.mark.parametrize(
    "make",
    [
        lambda p: UNetGenerator(base=16, size=8, dropout=p),
        lambda p: ResnetGenerator(base=4, blocks=1, dropout=p),
    ],
)
def test_dropout_is_noise_in_training_only(make: Callable[[float], nn.Module]) -> None:
    x = images(1, 3, 8, 8)
    noisy, quiet = make(0.5), make(0.0)
    assert not torch.equal(noisy(x), noisy(x))
    assert torch.equal(quiet(x), quiet(x))
    noisy.eval()
    assert torch.equal(noisy(x), noisy(x))


# --- activations that overwrite their input -----------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
def test_a_graph_can_be_kept_while_others_are_updated(norm: str) -> None:
    """The order of pix2pix: D learns from G's image and steps, then G's own graph is used, here twice."""
    g, d = UNetGenerator(base=2, size=16, norm=norm), PatchDiscriminator(base=2, layers=1, norm=norm)
    x = images(2, 3, 16, 16)
    fake = g(x)
    optimizer = torch.optim.SGD(d.parameters(), lr=0.1)
    d(torch.cat([x, fake.detach()], 1)).square().sum().backward()
    optimizer.step()
    loss = d(torch.cat([x, fake], 1)).square().sum()
    first = torch.autograd.grad(loss, tuple(g.parameters()), retain_graph=True)
    second = torch.autograd.grad(loss, tuple(g.parameters()))
    assert all(map(torch.equal, first, second))
    assert sum(float(grad.abs().sum()) for grad in first) > 0


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("make", "channels"),
    [
        (lambda norm: UNetGenerator(base=2, size=16, norm=norm), 3),
        (lambda norm: ResnetGenerator(base=2, blocks=1, norm=norm), 3),
        (lambda norm: PatchDiscriminator(3, base=2, layers=1, norm=norm), 3),
        (lambda norm: PatchDiscriminator(3, base=2, layers=0, norm=norm), 3),
    ],
)
def test_what_a_network_or_a_block_is_given_stays_as_it_is(
    make: Callable[[str], nn.Module], channels: int, norm: str
) -> None:
    net = make(norm)
    parts = [*getattr(net, "downs", ()), *getattr(net, "ups", ())]
    parts += [m for m in net.modules() if type(m).__name__ == "ResidualBlock"]
    changed: list[str] = []
    for part in [net, *parts]:
        versions: list[int] = []
        part.register_forward_pre_hook(lambda m, args, seen=versions: seen.append(args[0]._version))
        part.register_forward_hook(
            lambda m, args, out, seen=versions: (
                changed.append(type(m).__name__) if args[0]._version != seen[-1] else None
            )
        )
    net(images(1, channels, 16, 16))
    assert not changed


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("make", "channels"),
    [
        (lambda norm: UNetGenerator(base=2, size=16, norm=norm), 3),
        (lambda norm: UNetGenerator(base=2, size=16, norm=norm, skip=False), 3),
        (lambda norm: ResnetGenerator(base=2, blocks=1, norm=norm), 3),
        (lambda norm: PatchDiscriminator(3, base=2, layers=2, norm=norm), 3),
    ],
)
def test_nothing_writes_into_a_view(make: Callable[[str], nn.Module], channels: int, norm: str) -> None:
    """Autograd pays for that with a copy of the gradient, about the time of the whole instance norm."""
    kinds: set[str] = set()
    waiting, seen = [make(norm)(images(1, channels, 16, 16)).grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            kinds.add(node.name().rpartition("::")[2])
            waiting += [above for above, _ in node.next_functions]
    assert "ConvolutionBackward0" in kinds and "CopySlices" not in kinds


def test_gradient_penalties_differentiate_the_discriminator_twice() -> None:
    d = PatchDiscriminator(1, base=2, layers=1, norm="instance").double()
    x = images(1, 1, 6, 6, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradgradcheck(d, (x,))


# --- features -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
def test_encode_gives_what_forward_passes_through(norm: str) -> None:
    g = ResnetGenerator(base=2, blocks=2, norm=norm)
    x = images(2, 3, 16, 16)
    seen: list[torch.Tensor] = []
    hooks = [m.register_forward_hook(lambda m, a, out: seen.append(out.detach().clone())) for m in g.layers]
    y = g(x)
    for hook in hooks:
        hook.remove()
    features = g.encode(x, list(range(len(g.layers))))
    assert torch.equal(features[-1], y)
    different = [i for i, (a, b) in enumerate(zip(features, seen, strict=True)) if not torch.equal(a, b)]
    assert not different


def test_encode_follows_the_order_asked_for_and_stops_at_the_last() -> None:
    g = ResnetGenerator(base=2, blocks=2)
    x = images(1, 3, 8, 8)
    ran: list[int] = []
    for index, layer in enumerate(g.layers):
        layer.register_forward_hook(lambda m, a, out, index=index: ran.append(index))
    late, early, again = g.encode(x, (10, 4, 10))
    assert late.shape == (1, 8, 2, 2) and early.shape == (1, 4, 4, 4)
    assert torch.equal(late, again)
    assert max(ran) == 10


def test_gradient_flows_through_features_to_the_weights_below_only() -> None:
    g = ResnetGenerator(base=2, blocks=1)
    (feature,) = g.encode(images(1, 3, 8, 8), [4])
    feature.square().sum().backward()
    below = [p for layer in g.layers[:5] for p in layer.parameters()]
    above = [p for layer in g.layers[5:] for p in layer.parameters()]
    assert all(p.grad is not None for p in below) and all(p.grad is None for p in above)


@pytest.mark.parametrize("layers", [(), (-1,), (99,), (1.5,), (True,), 4, None])
def test_encode_refuses_what_is_no_layer(layers: object) -> None:
    with pytest.raises(GanflowError, match=r"list of indices from 0 to 19"):
        ResnetGenerator(base=2, blocks=1).encode(images(1, 3, 8, 8), layers)


# --- initialisation -----------------------------------------------------------------------------------------


class Parts(nn.Module):
    """One of each: layers big enough that a mean and a deviation say something."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(32, 64, 4), nn.ConvTranspose2d(64, 32, 4)
        self.linear = nn.Linear(256, 128)
        self.norm = nn.BatchNorm2d(20_000)
        self.scale = nn.Parameter(torch.full((3,), 7.0))


def near(tensor: torch.Tensor, mean: float, deviation: float) -> bool:
    tensor = tensor.detach()
    error = 5 / tensor.numel() ** 0.5  # five standard errors
    spread = abs(float(tensor.std()) / deviation - 1)
    return abs(float(tensor.mean()) - mean) < error * deviation and spread < error


DEVIATIONS = {  # of conv, up, linear
    "normal": lambda gain: (gain, gain, gain),
    "xavier": lambda gain: tuple(gain * (2 / fans) ** 0.5 for fans in (96 * 16, 96 * 16, 256 + 128)),
    "kaiming": lambda gain: tuple((2 / fan_in) ** 0.5 for fan_in in (32 * 16, 32 * 16, 256)),
    "orthogonal": lambda gain: tuple(gain / longer**0.5 for longer in (32 * 16, 32 * 16, 256)),
}


@pytest.mark.parametrize("gain", [0.02, 0.5])
@pytest.mark.parametrize("kind", DEVIATIONS)
def test_statistics_of_each_kind(kind: str, gain: float) -> None:
    net = Parts()
    init_weights(net, kind, gain, generator=seeded())
    deviations = DEVIATIONS[kind](gain)
    for layer, deviation in zip((net.conv, net.up, net.linear), deviations, strict=True):
        assert near(layer.weight, 0.0, deviation)
        assert not layer.bias.any()
    assert near(net.norm.weight, 1.0, gain) and not net.norm.bias.any()
    assert torch.equal(net.scale, torch.full((3,), 7.0))
    assert all(p.requires_grad and p.is_leaf for p in net.parameters())


def test_orthogonal_rows_are_orthogonal() -> None:
    layer = nn.Linear(8, 4)
    init_weights(layer, "orthogonal", 2.0)
    torch.testing.assert_close(layer.weight @ layer.weight.T, 4 * torch.eye(4))


def test_the_default_is_the_papers() -> None:
    assert {c.default_init for c in (UNetGenerator, ResnetGenerator, PatchDiscriminator)} == {"normal"}
    one, other = nn.Linear(9, 9), nn.Linear(9, 9)
    init_weights(one, generator=seeded())
    init_weights(other, "normal", 0.02, generator=seeded())
    assert torch.equal(one.weight, other.weight)


@pytest.mark.parametrize("kind", ["normal", "xavier", "kaiming", "orthogonal"])
def test_a_generator_makes_it_repeatable_and_leaves_the_global_one_alone(kind: str) -> None:
    nets = [UNetGenerator(base=2, size=8) for _ in range(3)]
    before = torch.get_rng_state()
    for net, seed in zip(nets, (0, 0, 1), strict=True):
        init_weights(net, kind, generator=seeded(seed))
    assert torch.equal(before, torch.get_rng_state())
    same, again, other = (torch.cat([p.flatten() for p in net.parameters()]) for net in nets)
    assert torch.equal(same, again) and not torch.equal(same, other)


def test_kind_none_changes_nothing() -> None:
    net = UNetGenerator(base=2, size=8)
    before = [p.clone() for p in net.parameters()]
    init_weights(net, "none")
    assert all(map(torch.equal, before, net.parameters()))


@pytest.mark.parametrize("kind", ["normal", "xavier", "kaiming", "orthogonal", "none"])
def test_init_leaves_the_meta_device_alone(kind: str) -> None:
    net = on_meta(lambda: UNetGenerator(base=2, size=8))
    generator = seeded()
    init_weights(net, kind, generator=generator)
    assert all(p.is_meta for p in net.parameters())
    assert torch.equal(generator.get_state(), seeded().get_state())  # nothing was drawn to be thrown away


@pytest.mark.parametrize("wrap", [nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm])
def test_spectrally_normalised_layers_get_the_draw(wrap: Callable[[nn.Module], nn.Module]) -> None:
    plain, wrapped = nn.Conv2d(3, 8, 3), wrap(nn.Conv2d(3, 8, 3))
    for layer in (plain, wrapped):
        init_weights(layer, generator=seeded())
    original = dict(wrapped.named_parameters())
    name = next(n for n in original if "orig" in n)
    assert torch.equal(original[name], plain.weight) and not original["bias"].any()


def test_init_keeps_the_dtype() -> None:
    layer = nn.Linear(64, 64).double()
    init_weights(layer, generator=seeded())
    assert layer.weight.dtype == torch.float64 and near(layer.weight, 0.0, 0.02)
    assert not torch.equal(layer.weight, layer.weight.float().double())


# --- the meta device ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "given", "made"),
    [
        (UNetGenerator, (8, 3, 256, 256), (8, 3, 256, 256)),
        (ResnetGenerator, (1, 3, 256, 128), (1, 3, 256, 128)),
        (PatchDiscriminator, (8, 6, 256, 256), (8, 1, 30, 30)),
        (lambda: MLP(2, 1), (5, 2), (5, 1)),
    ],
)
def test_shapes_are_known_without_allocating_anything(
    make: Callable[[], nn.Module], given: tuple[int, ...], made: tuple[int, ...]
) -> None:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        net = on_meta(make)
        seconds.append(time.perf_counter() - start)
    assert all(tensor.is_meta for tensor in net.state_dict().values())
    assert net(torch.empty(given, device="meta")).shape == made
    assert min(seconds) < 0.2


def test_a_wrong_size_is_found_on_the_meta_device() -> None:
    net = on_meta(UNetGenerator)
    with pytest.raises(GanflowError, match="100×256 pixels.*multiples of 256"):
        net(torch.empty(8, 3, 100, 256, device="meta"))


# --- what cannot be used ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UNetGenerator(norm="foo"), r"UNetGenerator\.norm = 'foo': allowed are 'batch', 'instance'"),
        (lambda: UNetGenerator(norm="bach"), "did you mean `batch`"),
        (lambda: UNetGenerator(norm=None), "UNetGenerator.norm = None"),
        (lambda: UNetGenerator(size=48), r"size = 48 is not a power of two\n.*size = 32.*downs = 4"),
        (lambda: UNetGenerator(size=4), "size = 4 is not a whole number of 8 or more"),
        (lambda: UNetGenerator(size=(36, 64)), r"size = \(36, 64\) is not two multiples of 8\n.*\(32, 64\)"),
        (lambda: UNetGenerator(size=(64, 64, 64)), "size = .* is not a whole number"),
        (lambda: UNetGenerator(size="256"), "size = '256'"),
        (lambda: UNetGenerator(size=64, downs=7), r"downs = 7 halves images of 64×64 .*\n.*at most 6"),
        (lambda: UNetGenerator(downs=0), "downs = 0 is not a whole number of 1 or more"),
        (lambda: UNetGenerator(base=0), "base = 0 is not a whole number of 1 or more"),
        (lambda: UNetGenerator(base=64.0), r"base = 64\.0"),
        (lambda: UNetGenerator(base=True), "base = True"),
        (lambda: UNetGenerator(0), "in_channels = 0"),
        (lambda: UNetGenerator(3, -1), "out_channels = -1"),
        (
            lambda: UNetGenerator(dropout=2.0),
            r"dropout = 2\.0 is not a rate from 0 up to, but not including, 1",
        ),
        (lambda: UNetGenerator(dropout=1), "dropout = 1"),
        (lambda: UNetGenerator(dropout=float("nan")), "dropout = nan"),
        (lambda: UNetGenerator(skip="False"), "skip = 'False' is neither True nor False"),
        (lambda: ResnetGenerator(blocks=0), r"ResnetGenerator\.blocks = 0"),
        (lambda: ResnetGenerator(downs=-1), "downs = -1 is not a whole number of 0 or more"),
        (lambda: ResnetGenerator(dropout=-0.1), r"dropout = -0\.1"),
        (lambda: ResnetGenerator(norm="foo"), r"ResnetGenerator\.norm"),
        (lambda: PatchDiscriminator(layers=-1), r"PatchDiscriminator\.layers = -1"),
        (lambda: PatchDiscriminator(base=None), r"PatchDiscriminator\.base = None"),
        (lambda: PatchDiscriminator(norm="layer"), r"PatchDiscriminator\.norm"),
        (lambda: receptive_field(-1), "layers.* = -1"),
        (lambda: norm_layer("foo", 3), "norm = 'foo'"),
        (lambda: MLP(0, 1), r"MLP\.in_features = 0"),
        (lambda: MLP(2, 0), r"MLP\.out_features = 0"),
        (lambda: MLP(2, 1, hidden=(128, 0)), r"MLP\.hidden = 0"),
        (lambda: MLP(2, 1, hidden=128), r"MLP\.hidden = 128 is not a list"),
        (lambda: MLP(2, 1, activation="gelu"), r"MLP\.activation = 'gelu': allowed are 'relu'"),
        (lambda: MLP(2, 1, norm="instance"), r"MLP\.norm = 'instance': allowed are 'batch', 'none'"),
        (lambda: init_weights(nn.Linear(1, 1), "glorot"), "init = 'glorot': allowed are 'normal', 'xavier'"),
        (lambda: init_weights(nn.Linear(1, 1), gain=-1.0), r"gain = -1\.0"),
        (lambda: init_weights(nn.Linear(1, 1), gain="0.02"), r"gain = '0\.02'"),
    ],
)
def test_wrong_arguments_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(GanflowError, match=message) as caught, torch.device("meta"):
        make()
    assert caught.value.status == 2 and caught.value.code == "network-argument"


@pytest.mark.parametrize(
    ("make", "given", "message"),
    [
        (
            lambda: UNetGenerator(base=2, size=64),
            (1, 3, 48, 64),
            r"UNetGenerator was given images of 48×64 pixels: height and width have to be multiples of 64\n"
            r".*to 64×64.*UNetGenerator\.downs",
        ),
        (lambda: UNetGenerator(base=2, size=8), (1, 3, 0, 8), "0×8 pixels"),
        (lambda: UNetGenerator(base=2, size=8), (1, 6, 8, 8), r"6 channels: .* 3\n.*in_channels = 6"),
        (lambda: UNetGenerator(base=2, size=8), (3, 8, 8), "given 3×8×8: it takes images N×3×H×W"),
        (lambda: ResnetGenerator(base=2), (1, 3, 18, 16), "18×16 .* multiples of 4, at least 8\n.*16×16"),
        (lambda: ResnetGenerator(base=2), (1, 3, 4, 8), "4×8 .* multiples of 4, at least 8\n.*8×8"),
        (lambda: ResnetGenerator(base=2), (1, 1, 8, 8), "1 channels"),
        (
            lambda: PatchDiscriminator(base=2),
            (1, 6, 23, 64),
            r"23×64 .*at least 24\n.*PatchDiscriminator\.layers",
        ),
        (lambda: PatchDiscriminator(base=2), (1, 3, 64, 64), "3 channels: it was built for 6"),
        (lambda: MLP(3, 1), (4, 2), "given 4×2: it was built for vectors N×3"),
    ],
)
def test_wrong_images_are_refused(make: Callable[[], nn.Module], given: tuple[int, ...], message: str) -> None:
    with pytest.raises(GanflowError, match=message) as caught:
        make()(torch.zeros(given))
    assert caught.value.status == 2


def test_encode_refuses_wrong_images_too() -> None:
    with pytest.raises(GanflowError, match="10×8 pixels"):
        ResnetGenerator(base=2, blocks=1).encode(torch.zeros(1, 3, 10, 8), (0,))
