"""Random ops of the language, the source they draw from, and the image pool.

    random = SeededRandom(seed=0)
    z = random.draw("z", "randn", 16, 100)     # the same 16×100 until new_batch() or redraw("z")

A draw belongs to a *site*, a place in the text. Its values follow from (run seed, site, batch counter,
redraws of that site, rank) and from nothing else: not from what was drawn before it, skipped, reused or
resumed, and never from torch's global generator, which dropout has to itself. CPU and CUDA generators differ,
so a draw is reproducible per kind of device.

A sampler's parameters ``generator``, ``device`` and ``dtype`` are keyword-only and not the user's: without
them its signature is the op's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Generator, Tensor

from ganflow.errors import GanflowError, did_you_mean
from ganflow.ops import OpInfo

# --- samplers -------------------------------------------------------------------------------------


def randn(*shape: int, generator: Generator, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    """``randn(batch_size, nz)``: standard normal."""
    return torch.randn(*shape, generator=generator, device=device, dtype=dtype)


def uniform(*shape: int, generator: Generator, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    """``uniform(batch_size, 1)``: uniform in [0, 1)."""
    return torch.rand(*shape, generator=generator, device=device, dtype=dtype)


def randint(n: int, high: int, *, generator: Generator, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    """``randint(batch_size, 10)``: ``n`` int64s from 0 to ``high - 1``."""
    return torch.randint(high, (n,), generator=generator, device=device)


def perm(n: int, *, generator: Generator, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    """``perm(batch_size)``: a permutation of 0 to ``n - 1``, int64."""
    return torch.randperm(n, generator=generator, device=device)


def randn_like(x: Tensor, *, generator: Generator, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    """``randn_like(mu)``: standard normal with ``x``'s shape, dtype and device."""
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def rand_like(x: Tensor, *, generator: Generator, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    """``rand_like(fake)``: uniform in [0, 1) with ``x``'s shape, dtype and device."""
    return torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def perm_like(
    x: Tensor | Sequence[Tensor],
    *,
    generator: Generator,
    device: torch.device,
    dtype: torch.dtype | None,
) -> Tensor | list[Tensor]:
    """``perm_like(features)``: a permutation of the H·W positions of a map N×C×H×W, int64.

    A list of maps gives a list of permutations, drawn one after the other.
    """
    if not isinstance(x, Tensor):
        return [perm_like(part, generator=generator, device=device, dtype=dtype) for part in x]  # type: ignore[misc]
    if x.ndim != 4:
        raise GanflowError(f"perm_like: x has {x.ndim} dims", hint="a feature map N×C×H×W, or a list of them")
    return torch.randperm(x.shape[2] * x.shape[3], generator=generator, device=x.device)


SAMPLERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {f.__name__: f for f in (randn, uniform, randint, perm, randn_like, rand_like, perm_like)}
)

# --- the source -----------------------------------------------------------------------------------


def site_seed(seed: int, site: str, *, batch: int = 0, redraw: int = 0, rank: int = 0) -> int:
    """``site_seed(0, "pool_B", batch=7)``: 63 bits that are the same on every machine and Python version.

    Torch's CPU generator takes the lower 32: of a million draws about a hundred pairs start alike, far apart.
    """
    # the site comes last, so that no two keys read the same
    key = f"{seed},{rank},{batch},{redraw},{site}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") >> 1


class SeededRandom:
    """``SeededRandom(seed=0).draw("z", "randn", 16, 100)``: draws that follow from where and when.

    Args:
        seed: the run's seed.
        rank: the process's number in a distributed run; ranks draw different values.
        device: of what ``randn uniform randint perm`` return; the ``_like`` ops follow their argument.
        dtype: of ``randn`` and ``uniform``; ``None`` is torch's default float type.

    A source belongs to one step and one thread: it seeds its one generator per device again and again.
    """

    def __init__(
        self,
        seed: int,
        rank: int = 0,
        device: torch.device | str = "cpu",
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.seed, self.rank = seed, rank
        self.device, self.dtype = torch.device(device), dtype
        self.batch = 0
        self._redraws: dict[str, int] = {}
        self._generators: dict[torch.device, Generator] = {}

    def draw(self, site: str, kind: str, *args: Any, **kwargs: Any) -> Any:
        """``draw("eps", "uniform", 16, 1)``: what ``uniform(16, 1)`` is at this site, in this batch.

        Asked twice it answers twice the same, in tensors of their own. ``perm_like`` of a list gives a list.

        Raises:
            GanflowError: a kind that is not in :data:`SAMPLERS`.
        """
        sampler = SAMPLERS.get(kind)
        if sampler is None:
            near = did_you_mean(str(kind), SAMPLERS)
            hint = f"allowed: {', '.join(SAMPLERS)}{'; ' + near if near else ''}"
            raise GanflowError(f"unknown draw {kind!r} at {site}", hint=hint, code="unknown-draw")
        device = _device_of(args, kwargs) if kind.endswith("_like") else self.device
        generator = self.generator(site, device)
        return sampler(*args, generator=generator, device=device, dtype=self.dtype, **kwargs)

    def generator(self, site: str, device: torch.device | str = "cpu") -> Generator:
        """A generator at the start of this site's stream for this batch, for ops that draw by themselves.

        It is the source's own: use it before the next draw. On the CPU it decides without a sync.
        """
        where = torch.device(device) if isinstance(device, str) else device
        found = self._generators.get(where)
        if found is None:
            found = self._generators[where] = Generator(where)
        redraw = self._redraws.get(site, 0)
        found.manual_seed(site_seed(self.seed, site, batch=self.batch, redraw=redraw, rank=self.rank))
        return found

    def new_batch(self) -> None:
        """Every site draws anew from here on."""
        self.batch += 1
        self._redraws.clear()

    def redraw(self, site: str, number: int | None = None) -> None:
        """This site draws anew for the rest of the batch; no other site changes.

        Args:
            number: which redraw this is; by default one more than the last. A schedule numbers them by place, so
                that what is drawn does not depend on updates that were skipped.
        """
        self._redraws[site] = self._redraws.get(site, 0) + 1 if number is None else number

    def state_dict(self) -> dict[str, Any]:
        """Seed and counters, all that a resumed run needs; rank, device and dtype are the process's."""
        return {"seed": self.seed, "batch": self.batch, "redraws": dict(self._redraws)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken, with its seed: a resumed run is the same run."""
        self.seed, self.batch = int(state["seed"]), int(state["batch"])
        self._redraws = {str(site): int(count) for site, count in state["redraws"].items()}


def _device_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.device:
    """The device of the tensor that a ``_like`` op imitates, or of the first of a list of them."""
    x = args[0] if args else kwargs.get("x")
    while isinstance(x, (list, tuple)) and x:
        x = x[0]
    if not isinstance(x, Tensor):
        raise GanflowError(f"a draw like {type(x).__name__}", hint="x is a tensor", code="bad-like")
    return x.device


# --- the image pool -------------------------------------------------------------------------------


def pool(
    x: Tensor, size: int, *, state: Mapping[int, Tensor] | None = None, generator: Generator
) -> tuple[Tensor, dict[int, Tensor]]:
    """``pool(fake_B, 50)``: a history of generated samples for a discriminator to train on.

    Shrivastava et al. 2017, arXiv:1612.07828; the rule is CycleGAN's (Zhu et al. 2017, arXiv:1703.10593),
    sample by sample: while the pool has room, a sample is stored and returned; later, with even odds, it is
    returned and not stored, or takes the place of a stored one, which is returned.

    Args:
        x: samples N×..., on any device.
        size: how many samples the pool holds; 0 returns ``x``.
        state: slot -> stored sample, as this function returned it; ``None`` is an empty pool.
        generator: on the CPU, because a choice of the host must not wait for a device.

    Returns:
        Samples like ``x``, detached, and the next state. The old state and its tensors stay as they were.
    """
    if size < 0:
        raise GanflowError(f"pool: size is {size}", hint="a whole number; 0 switches the pool off", code="bad-size")
    stored = dict(state or {})
    samples = x.detach()
    if size == 0:
        return samples, stored
    picks = list(samples.unbind(0))
    swapped = False
    room = min(max(size - len(stored), 0), len(picks))
    for i in range(room):
        stored[len(stored)] = picks[i].clone()  # a view would keep its whole batch alive
    # a pool with room decides nothing, so that shapes can be inferred where tensors have no values
    luck = torch.rand(len(picks) - room, 2, generator=generator, dtype=torch.float64).tolist()
    for i, (coin, place) in enumerate(luck, start=room):
        if coin > 0.5:
            slot, new = int(place * size), picks[i].clone()
            picks[i], stored[slot], swapped = stored[slot], new, True
    return (torch.stack(picks) if swapped else samples), stored


OPS: tuple[OpInfo, ...] = (
    *(OpInfo(name, sampler, kind="random") for name, sampler in SAMPLERS.items()),
    OpInfo("pool", pool, kind="stateful"),
)
