"""Draws that follow from seed, site, batch, redraw and rank alone; the image pool against CycleGAN's rule."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from ganflow import draws
from ganflow.draws import SAMPLERS, SeededRandom, pool, site_seed
from ganflow.errors import GanflowError

MAP = torch.zeros(2, 3, 4, 5, dtype=torch.float64)
CALLS: dict[str, tuple[Any, ...]] = {
    "randn": (3, 4),
    "uniform": (3, 4),
    "randint": (50, 10),
    "perm": (50,),
    "randn_like": (MAP,),
    "rand_like": (MAP,),
    "perm_like": (MAP,),
}


def test_every_draw_of_the_language_is_there_and_tested() -> None:
    language = ["perm", "perm_like", "rand_like", "randint", "randn", "randn_like", "uniform"]
    assert sorted(SAMPLERS) == sorted(CALLS) == language
    kinds = {op.name: op.kind for op in draws.OPS}
    assert kinds == {**dict.fromkeys(language, "random"), "pool": "stateful"}


def test_a_samplers_signature_is_the_ops() -> None:
    hidden = {"generator", "device", "dtype"}
    shown = {
        name: [str(p) for p in inspect.signature(f).parameters.values() if p.name not in hidden]
        for name, f in SAMPLERS.items()
    }
    assert shown["randn"] == ["*shape: 'int'"]
    assert shown["randint"] == ["n: 'int'", "high: 'int'"]
    assert shown["randn_like"] == ["x: 'Tensor'"]
    for f in SAMPLERS.values():
        parameters = inspect.signature(f).parameters
        assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in hidden)


# --- what a draw depends on -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", CALLS)
def test_the_same_place_draws_the_same(kind: str) -> None:
    first = SeededRandom(7).draw("z", kind, *CALLS[kind])
    source = SeededRandom(7)
    source.draw("before", "randn", 17)
    again, twice = (source.draw("z", kind, *CALLS[kind]) for _ in range(2))
    assert torch.equal(first, again) and torch.equal(first, twice)
    assert again.data_ptr() != twice.data_ptr()


def changed(change: str) -> SeededRandom:
    source = SeededRandom(8 if change == "seed" else 7, rank=int(change == "rank"))
    if change == "batch":
        source.new_batch()
    if change == "redraw":
        source.redraw("z")
    return source


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("change", ["seed", "rank", "batch", "redraw", "site"])
def test_any_other_place_draws_otherwise(kind: str, change: str) -> None:
    here = SeededRandom(7).draw("z", kind, *CALLS[kind])
    there = changed(change).draw("y" if change == "site" else "z", kind, *CALLS[kind])
    assert not torch.equal(here, there)


def test_a_redraw_is_its_sites_alone_and_ends_with_the_batch() -> None:
    plain, redrawn = SeededRandom(0), SeededRandom(0)
    redrawn.redraw("z")
    redrawn.redraw("z")
    assert torch.equal(plain.draw("y", "randn", 9), redrawn.draw("y", "randn", 9))
    once = SeededRandom(0)
    once.redraw("z")
    values = [source.draw("z", "randn", 9) for source in (plain, once, redrawn)]
    assert len({tuple(v.tolist()) for v in values}) == 3
    plain.new_batch()
    redrawn.new_batch()
    assert torch.equal(plain.draw("z", "randn", 9), redrawn.draw("z", "randn", 9))


def test_torchs_own_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    source = SeededRandom(0)
    for kind, arguments in CALLS.items():
        source.draw("z", kind, *arguments)
    pool(torch.zeros(9, 1), 2, generator=source.generator("p"))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert torch.equal(source.draw("z", "randn", 4), SeededRandom(0).draw("z", "randn", 4))


def test_draws_are_the_same_on_every_machine() -> None:
    # by coreutils: printf '0,0,0,0,z' | b2sum -l 64; a changed number breaks every resumed run
    assert site_seed(0, "z") == int.from_bytes(bytes.fromhex("5eafb7d6509d0d9e"), "little") >> 1
    nce = site_seed(1, "G.minimize/nce#2", batch=7, redraw=1, rank=3)  # '1,3,7,1,G.minimize/nce#2'
    assert nce == int.from_bytes(bytes.fromhex("5cecfc14e17c7df8"), "little") >> 1


keys = st.tuples(
    st.integers(0, 99),
    st.text("a#/,1.", max_size=4),
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 99),
)


@given(keys, keys)
def test_no_two_places_share_a_seed(one: Any, other: Any) -> None:
    seeds = [site_seed(k[0], k[1], batch=k[2], redraw=k[3], rank=k[4]) for k in (one, other)]
    assert (seeds[0] == seeds[1]) == (one == other)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_resume_draws_on() -> None:
    source = SeededRandom(3)
    for _ in range(4):
        source.new_batch()
    source.redraw("z")
    state = source.state_dict()
    resumed = SeededRandom(99)
    resumed.load_state_dict(state)
    source.redraw("z")  # the state is a copy
    resumed.redraw("z")
    for _ in range(2):
        assert torch.equal(source.draw("z", "randn", 5), resumed.draw("z", "randn", 5))
        source.new_batch()
        resumed.new_batch()
    assert state == {"seed": 3, "batch": 4, "redraws": {"z": 1}}


def test_unknown_draw() -> None:
    with pytest.raises(GanflowError) as caught:
        SeededRandom(0).draw("z", "rand", 3)
    assert "'rand' at z" in str(caught.value) and "allowed: randn, uniform" in str(caught.value)


# --- what is drawn --------------------------------------------------------------------------------

N = 40_000  # means below are within five standard errors


def test_randn_is_normal() -> None:
    x = SeededRandom(0).draw("z", "randn", N)
    assert abs(x.mean()) < 5 / N**0.5 and abs(x.var() - 1) < 5 * (2 / N) ** 0.5
    assert abs(x.pow(4).mean() - 3) < 5 * (96 / N) ** 0.5


def test_uniform_fills_zero_to_one() -> None:
    x = SeededRandom(0).draw("z", "uniform", N)
    assert 0 <= x.min() < 1e-3 and 1 - 1e-3 < x.max() < 1
    counts = torch.histc(x, 10, 0, 1)
    assert ((counts - N / 10).square() / (N / 10)).sum() < 30  # chi-squared, 9 degrees: p < 0.0005


def test_draws_of_many_batches_are_independent() -> None:
    source = SeededRandom(0)
    rows = []
    for _ in range(500):
        rows.append(torch.cat([source.draw(site, "randn", 16) for site in ("a", "b")]))
        source.new_batch()
    x = torch.stack(rows)
    assert abs(x.mean()) < 5 / x.numel() ** 0.5
    between = torch.corrcoef(x.T) - torch.eye(32)  # columns, and the two sites
    assert between.abs().max() < 5 / 500**0.5
    assert (x[1:] * x[:-1]).mean().abs() < 5 / x.numel() ** 0.5  # one batch and the next


def test_whole_numbers() -> None:
    source = SeededRandom(0)
    labels = source.draw("y", "randint", N, 10)
    assert labels.dtype == torch.int64 and labels.shape == (N,)
    counts = torch.bincount(labels, minlength=10)
    assert len(counts) == 10 and (counts - N / 10).abs().max() < 5 * (N * 0.09) ** 0.5
    order = source.draw("p", "perm", 100)
    assert order.dtype == torch.int64 and order.sort().values.tolist() == list(range(100))


def test_likes_follow_their_tensor() -> None:
    source = SeededRandom(0)
    for kind in ("randn_like", "rand_like"):
        x = source.draw("z", kind, MAP)
        assert (x.shape, x.dtype) == (MAP.shape, MAP.dtype)
        assert torch.equal(x, source.draw("z", kind, x=MAP))
    assert source.draw("z", "randn_like", MAP.half()).dtype == torch.float16
    assert source.draw("z", "rand_like", MAP).min() >= 0
    with pytest.raises(GanflowError, match="x is a tensor"):
        source.draw("z", "randn_like", 3.0)


def test_perm_like_permutes_positions() -> None:
    source = SeededRandom(0)
    assert source.draw("ids", "perm_like", MAP).sort().values.tolist() == list(range(20))
    maps = [MAP, torch.zeros(1, 1, 2, 2), MAP]
    first, second, third = source.draw("ids", "perm_like", maps)
    assert [len(p) for p in (first, second, third)] == [20, 4, 20]
    assert sorted(third.tolist()) == list(range(20)) and not torch.equal(first, third)
    with pytest.raises(GanflowError, match="N×C×H×W"):
        source.draw("ids", "perm_like", torch.zeros(3, 4))


def test_dtype_of_floats() -> None:
    assert SeededRandom(0).draw("z", "randn", 2).dtype == torch.float32
    assert SeededRandom(0, dtype=torch.float64).draw("z", "uniform", 2).dtype == torch.float64
    torch.set_default_dtype(torch.float64)
    try:
        assert SeededRandom(0).draw("z", "randn", 2).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


# --- the pool -------------------------------------------------------------------------------------


class ImagePool:
    """The published rule, an image at a time, with its chances given instead of drawn."""

    def __init__(self, size: int) -> None:
        self.size, self.images = size, []

    def query(self, images: Tensor, luck: Iterator[tuple[float, float]]) -> Tensor:
        answer = []
        for image in images.clone():
            if len(self.images) < self.size:
                self.images.append(image)
                answer.append(image)
            elif (chance := next(luck))[0] > 0.5:
                place = chance[1]
                index = int(place * self.size)
                answer.append(self.images[index])
                self.images[index] = image
            else:
                answer.append(image)
        return torch.stack(answer)


def feed(size: int, batches: list[Tensor], source: SeededRandom) -> list[tuple[Tensor, dict[int, Tensor]]]:
    state, seen = None, []
    for x in batches:
        value, state = pool(x, size, state=state, generator=source.generator("pool_B"))
        seen.append((value, state))
        source.new_batch()
    return seen


def counted(batch: int, steps: int) -> list[Tensor]:
    """Batches of 2×3 images, each image filled with a number of its own."""
    numbers = torch.arange(batch * steps, dtype=torch.float32).reshape(steps, batch, 1, 1)
    return list(numbers.expand(steps, batch, 2, 3))


@pytest.mark.parametrize("batch,size", [(1, 5), (4, 5), (8, 3), (3, 1)])
def test_pool_is_cyclegans(batch: int, size: int) -> None:
    source, published, batches = SeededRandom(1), ImagePool(size), counted(batch, 60)
    for step, (value, state) in enumerate(feed(size, batches, source)):
        generator = Generator().manual_seed(site_seed(1, "pool_B", batch=step))
        luck = iter(torch.rand(batch, 2, generator=generator, dtype=torch.float64).tolist())
        assert torch.equal(value, published.query(batches[step], luck))
        assert len(state) == len(published.images)
        assert all(torch.equal(state[slot], image) for slot, image in enumerate(published.images))


def test_half_of_a_full_pools_answers_are_old_and_every_slot_is_used() -> None:
    batches = counted(1, 4000)
    seen = feed(10, batches, SeededRandom(0))[10:]
    old = [not torch.equal(value, x) for (value, _), x in zip(seen, batches[10:], strict=True)]
    assert abs(sum(old) / len(old) - 0.5) < 5 * 0.5 / len(old) ** 0.5
    changes = [
        slot
        for (_, before), (_, after) in zip(seen, seen[1:], strict=False)
        for slot in range(10)
        if before[slot] is not after[slot]
    ]
    counts = torch.bincount(torch.tensor(changes), minlength=10)
    assert (counts - len(changes) / 10).abs().max() < 5 * (len(changes) * 0.09) ** 0.5


def test_pool_of_size_zero_returns_its_input() -> None:
    x = torch.ones(2, 3, requires_grad=True) * 2
    value, state = pool(x, 0, generator=Generator())
    assert torch.equal(value, x) and not value.requires_grad and state == {}


def test_a_pool_with_room_decides_nothing() -> None:
    generator = Generator().manual_seed(0)
    before = generator.get_state()
    _, state = pool(torch.zeros(3, 2), 5, generator=generator)
    pool(torch.zeros(2, 2), 5, state=state, generator=generator)
    assert torch.equal(generator.get_state(), before)


def test_a_pool_may_shrink() -> None:
    _, state = pool(torch.full((5, 2), -1.0), 5, generator=Generator())
    published, x = ImagePool(2), torch.arange(64.0).reshape(32, 2)
    published.images = list(state.values())
    luck = torch.rand(32, 2, generator=Generator().manual_seed(0), dtype=torch.float64).tolist()
    value, state = pool(x, 2, state=state, generator=Generator().manual_seed(0))
    assert torch.equal(value, published.query(x, iter(luck)))
    assert all(torch.equal(state[slot], image) for slot, image in enumerate(published.images))


def test_pool_is_detached_and_never_changes_what_it_was_given() -> None:
    x = torch.ones(4, 3, requires_grad=True) * 2
    value, state = pool(x, 3, generator=Generator().manual_seed(0))
    assert not value.requires_grad and not any(image.requires_grad for image in state.values())
    before = {slot: image.clone() for slot, image in state.items()}
    _, later = pool(x * 5, 3, state=state, generator=Generator().manual_seed(0))
    assert list(state) == [0, 1, 2] and all(torch.equal(state[slot], before[slot]) for slot in state)
    assert any(later[slot] is not state[slot] for slot in state)
    with torch.no_grad():
        x.zero_()  # what is stored is a copy
    assert all(torch.equal(state[slot], before[slot]) for slot in state)
    with pytest.raises(GanflowError, match="size is -1"):
        pool(x, -1, generator=Generator())


def test_pool_goes_through_a_checkpoint(tmp_path: Any) -> None:
    batches = counted(4, 9)
    whole = feed(5, batches, SeededRandom(2))
    source = SeededRandom(2)
    state = feed(5, batches[:4], source)[-1][1]
    torch.save({"pool_B": state, "random": source.state_dict()}, tmp_path / "run.pt")
    saved = torch.load(tmp_path / "run.pt", weights_only=True)
    resumed = SeededRandom(2)
    resumed.load_state_dict(saved["random"])
    state = saved["pool_B"]
    for x, (expected, _) in zip(batches[4:], whole[4:], strict=True):
        value, state = pool(x, 5, state=state, generator=resumed.generator("pool_B"))
        assert torch.equal(value, expected)
        resumed.new_batch()


def test_pool_stores_single_images_not_their_batches() -> None:
    _, state = pool(torch.zeros(64, 3), 2, generator=Generator())
    assert all(image.untyped_storage().nbytes() == 3 * 4 for image in state.values())


def test_generators_of_a_site_start_where_its_draws_do() -> None:
    source = SeededRandom(4)
    sampled: Callable[..., Tensor] = SAMPLERS["randn"]
    by_hand = sampled(6, generator=source.generator("z"), device=torch.device("cpu"), dtype=None)
    assert torch.equal(by_hand, source.draw("z", "randn", 6))
