"""What the hand-written loops of the zoo share: a source of draws, losses, freezing, EMA, the result.

    draw = Draws(seed=0)
    draw("z", "randn", 16, 100)          # the site's first draw; asked again, its second
    Draws(seed=0, changed="z")           # the same but at one site: what every comparison must notice

Nothing here knows ganflow.
"""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from zoo_networks import aug

Batch = Mapping[str, Tensor]

# --- randomness -----------------------------------------------------------------------------------


class Draws:
    """The n-th draw of a site follows from (seed, site, n) alone, so both sides may draw in different orders.

    ``draw(site, kind, *args)`` answers one draw, ``generator(site)`` gives a generator for one (an op that draws by
    itself); both count in ``counts``. ``draw(site, "pool", n)`` are n pairs of uniforms, as :func:`query` wants.
    """

    def __init__(self, seed: int = 0, *, changed: str = "", dtype: torch.dtype = torch.float64) -> None:
        self.seed, self.changed, self.dtype = seed, changed, dtype
        self.counts: Counter[str] = Counter()

    def generator(self, site: str, device: str | torch.device = "cpu") -> Generator:
        seed = self.seed + (site == self.changed)
        key = f"{seed},{self.counts[site]},{site}".encode()
        self.counts[site] += 1
        digest = hashlib.blake2b(key, digest_size=6).digest()
        return Generator(device).manual_seed(int.from_bytes(digest, "little"))

    def draw(self, site: str, kind: str, *args: Any, **kwargs: Any) -> Any:
        g = self.generator(site)
        match kind:
            case "randn":
                return torch.randn(*args, generator=g, dtype=self.dtype)
            case "uniform":
                return torch.rand(*args, generator=g, dtype=self.dtype)
            case "randint":
                n, high = args
                return torch.randint(high, (n,), generator=g)
            case "perm":
                return torch.randperm(*args, generator=g)
            case "randn_like":
                return torch.randn(args[0].shape, generator=g, dtype=args[0].dtype)
            case "rand_like":
                return torch.rand(args[0].shape, generator=g, dtype=args[0].dtype)
            case "perm_like":
                maps = args[0] if isinstance(args[0], (list, tuple)) else [args[0]]
                found = [torch.randperm(x.shape[2] * x.shape[3], generator=g) for x in maps]
                return found if isinstance(args[0], (list, tuple)) else found[0]
            case "pool":
                return torch.rand(args[0], 2, generator=g, dtype=torch.float64)
            case "aug":
                return aug(*args, generator=g, **kwargs)
        raise ValueError(kind)

    __call__ = draw


# --- losses ---------------------------------------------------------------------------------------


def bce(probability: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy(probability, torch.full_like(probability, target))


def bcel(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def mse(x: Tensor, target: float | Tensor) -> Tensor:
    return F.mse_loss(x, target if isinstance(target, Tensor) else torch.full_like(x, target))


def l1(x: Tensor, target: Tensor) -> Tensor:
    return F.l1_loss(x, target)


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """Of N(mu, exp(logvar)) from N(0, 1), summed."""
    return -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum()


# --- the loop's furniture -------------------------------------------------------------------------


def cycle(batches: Sequence[Batch]) -> Iterator[Batch]:
    """Batches without end: epoch after epoch in the same order."""
    while True:
        yield from batches


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """In this block the networks pass gradients on to their inputs, and their own weights get none."""
    parameters = [p for network in networks for p in network.parameters() if p.requires_grad]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)


def pretrained(network: nn.Module) -> nn.Module:
    """A feature extractor: never trained, never in training mode."""
    return network.eval().requires_grad_(False)


def averaged(network: nn.Module) -> nn.Module:
    """The start of an exponential moving average: a copy in evaluation mode."""
    return copy.deepcopy(network).eval().requires_grad_(False)


@torch.no_grad()
def average(ema: nn.Module, network: nn.Module, beta: float) -> None:
    """ema <- beta * ema + (1 - beta) * weights; buffers are copied."""
    for p_ema, p in zip(ema.parameters(), network.parameters(), strict=True):
        p_ema.copy_(p.lerp(p_ema, beta))
    for b_ema, b in zip(ema.buffers(), network.buffers(), strict=True):
        b_ema.copy_(b)


def query(stored: list[Tensor], images: Tensor, size: int, luck: Tensor) -> Tensor:
    """CycleGAN's image pool (Shrivastava et al. 2017), image by image: while it is not full, store and return;
    then with even odds return the image, or put it in the place of a stored one and return that.

    ``luck``: a coin and a place, both uniform, for each image that found the pool full.
    """
    if size == 0:
        return images.detach()
    found, pairs = [], iter(luck.tolist())
    for image in images.detach():
        if len(stored) < size:
            stored.append(image.clone())
            found.append(image)
            continue
        coin, place = next(pairs)
        if coin > 0.5:
            slot = int(place * size)
            found.append(stored[slot])
            stored[slot] = image.clone()
        else:
            found.append(image)
    return torch.stack(found)


@dataclass(frozen=True)
class Now:
    """The counters of one iteration, for an argument that is a function of them (a learning rate)."""

    step: int
    epoch: int
    epoch_step: int
    images: int
    batch_size: int


def at(value: Any, now: Now) -> Any:
    """A number as it is, a schedule at this iteration."""
    return value(now) if callable(value) else value


# --- results --------------------------------------------------------------------------------------


def result(networks: Mapping[str, nn.Module], states: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """``networks``: name -> parameters and buffers; ``states``: name -> number; ``forwards``: name -> calls."""
    return {
        "networks": {n: {k: v.detach().clone() for k, v in m.state_dict().items()} for n, m in networks.items()},
        "states": {n: torch.as_tensor(v, dtype=torch.float64).detach().clone() for n, v in (states or {}).items()},
        "forwards": {n: dict(getattr(m, "calls", {})) for n, m in networks.items()},
    }


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """The largest difference of any number in networks and states; infinite where one has what the other lacks."""
    ours, theirs = _flat(a), _flat(b)
    if ours.keys() != theirs.keys():
        return float("inf")
    largest = 0.0
    for key, value in ours.items():
        if value.shape != theirs[key].shape:
            return float("inf")
        gap = (value.double() - theirs[key].double()).abs()
        if value.numel():
            largest = max(largest, float("inf") if gap.isnan().any() else float(gap.max()))
    return largest


def _flat(found: Mapping[str, Any]) -> dict[str, Tensor]:
    networks = {f"{n}.{k}": v for n, state in found["networks"].items() for k, v in state.items()}
    return networks | {f"state {n}": v for n, v in found["states"].items()}
