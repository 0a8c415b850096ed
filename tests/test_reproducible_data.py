"""A dataset that draws gives the same bits whoever reads it, and when an epoch is gone on with in the middle."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset

from ganflow.data.hdf5 import HDF5Dataset
from ganflow.data.loader import Batches, loader, some
from ganflow.data.seeding import generators_in, is_deterministic
from ganflow.errors import GanflowError

ROOT = Path(__file__).resolve().parent.parent


class Jitter:
    """A transform that keeps a generator, as NumPy teaches."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def __call__(self) -> float:
        return float(self.rng.random())


class Drawing(Dataset):
    """Every source of randomness that a dataset may use."""

    def __init__(self, count: int = 22) -> None:
        self.count, self.transforms = count, [Jitter()]
        own = random.Random(5)
        self.shift = lambda: own.random()
        self.torch, self.old = torch.Generator(), np.random.RandomState(3)
        self.noise = partial(torch.rand, 2, generator=self.torch)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict[str, Any]:
        numbers = [random.random(), np.random.rand(), self.transforms[0](), self.shift(), self.old.rand()]
        return {"i": i, "x": torch.cat([torch.rand(3), torch.tensor(numbers), self.noise()])}


class Whole(Drawing):
    """Reads batches, and augments them without asking for the generator."""

    def batch(self, indices: list[int]) -> dict[str, Any]:
        return {"i": torch.tensor(indices), "x": torch.rand(len(indices)) + np.random.rand()}

    def augment(self, batch: dict[str, Any], generator: torch.Generator) -> dict[str, Any]:
        return batch | {"y": torch.rand(2) + random.random() + self.transforms[0]()}


def batches_of(data: Any, workers: int, *, seed: int = 3, split: str = "train") -> Batches:
    return loader(data, split, batch_size=4, shuffle=True, seed=seed, drop_last=True, workers=workers)


def bits(batches: Any) -> list[dict[str, bytes]]:
    return [{name: value.numpy().tobytes() for name, value in batch.items()} for batch in batches]


@pytest.mark.parametrize("kind", [Drawing, Whole, lambda: Subset(Drawing(30), list(range(3, 25)))])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_bits_do_not_depend_on_workers_nor_on_what_was_drawn_before(kind: Any, workers: int) -> None:
    wanted = bits(batches_of(kind(), 0).epoch(0)) + bits(batches_of(kind(), 0).epoch(1))
    random.seed(9), np.random.seed(9), torch.manual_seed(9)
    batches = batches_of(kind(), workers)
    assert bits(batches) + bits(batches) == wanted
    assert len({batch["x"] for batch in wanted}) == 10  # every batch draws, and draws something of its own
    assert bits(batches_of(kind(), workers, seed=4).epoch(0)) != wanted[:5]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", [Drawing, Whole])
def test_an_epoch_goes_on_in_the_middle(workers: int, kind: Any) -> None:
    straight = batches_of(kind(), 0)
    wanted = bits(straight) + bits(straight) + bits(straight)
    cut = batches_of(kind(), workers)
    list(cut)
    source = iter(cut)
    next(source), next(source)
    assert cut.position == (1, 2)
    again = batches_of(kind(), workers)
    again.resume(*cut.position)
    assert again.position == (1, 2)
    assert bits(again) + bits(again) == wanted[7:]
    assert again.position == (2, 5)


def test_an_epoch_that_was_read_to_its_end_is_over() -> None:
    again = batches_of(Drawing(), 0)
    again.resume(0, 5)
    assert bits(again) == [] and bits(again) == bits(batches_of(Drawing(), 0).epoch(1))


def test_generators_of_the_run_and_of_the_dataset_are_as_before() -> None:
    data = Whole()
    before = states(data)
    list(batches_of(data, 0)), some(data, "train", 4)
    assert states(data) == before


def states(data: Drawing) -> list[Any]:
    numpy = np.random.get_state()
    theirs = (
        data.transforms[0].rng.bit_generator.state,
        data.old.get_state()[1].tobytes(),
        data.torch.get_state().tolist(),
    )  # type: ignore[index]
    return [torch.get_rng_state().tolist(), random.getstate(), numpy[1].tobytes(), numpy[2], theirs]  # type: ignore[union-attr,index]


def test_what_is_shown_is_always_the_same() -> None:
    assert bits([some(Drawing(), "train", 4)]) == bits([some(Drawing(), "train", 4)])


def test_a_sum_does_not_depend_on_the_number_of_threads() -> None:
    """A worker has one thread; torch shares a long sum out among as many as there are."""

    class Sums(Drawing):
        def __getitem__(self, i: int) -> dict[str, Any]:
            return {"threads": torch.get_num_threads(), "x": torch.rand(300_000).sum()}

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found = list(batches_of(Sums(8), 0))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert all((batch["threads"] == 1).all() for batch in found)
    assert bits(found) == bits(batches_of(Sums(8), 1))


class Says(Drawing):
    deterministic = True


class SaysNoMore(Says):
    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"x": torch.rand(1)}


def test_a_dataset_may_say_that_it_draws_nothing(tmp_path: Path) -> None:
    denies = Says()
    denies.deterministic = False
    assert is_deterministic(Says()) and not is_deterministic(denies)
    assert not is_deterministic(Drawing()) and not is_deterministic(SaysNoMore()) and not is_deterministic([1, 2])
    read = HDF5Dataset.__new__(HDF5Dataset)
    assert is_deterministic(read)
    torch.manual_seed(1)
    first = bits(batches_of(Says(), 0))
    assert first != bits(batches_of(Says(), 0))  # then nothing is seeded, which is what it saves


def test_generators_are_found_where_datasets_keep_them() -> None:
    data = Drawing()
    kinds = [type(g).__name__ for g in generators_in(Subset(data, [0]))]
    assert sorted(kinds) == ["Generator", "Generator", "Random", "RandomState"]
    data.transforms = [data]  # type: ignore[list-item]
    data.system = random.SystemRandom()  # type: ignore[attr-defined]
    data.module = np  # type: ignore[attr-defined]
    assert len(generators_in(data)) == 3


# what goes wrong


class Broken(Drawing):
    def __init__(self, how: Callable[[], object]) -> None:
        super().__init__()
        self.how = how

    def __getitem__(self, i: int) -> dict[str, Any]:
        if i == 6:
            self.how()
        return {"x": torch.zeros(1)}


def raises() -> None:
    raise ValueError("no such picture: 6.png")


def leaves() -> None:
    sys.exit("enough")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("how", "said"), [(raises, "ValueError: no such picture: 6.png"), (leaves, "SystemExit: enough")]
)
def test_an_error_in_a_dataset_is_one_message(workers: int, how: Any, said: str) -> None:
    with pytest.raises(GanflowError) as error:
        list(loader(Broken(how), batch_size=4, workers=workers))
    assert error.value.message == f"sample 6 of the dataset cannot be read: {said}"
    assert error.value.code == ("exit" if how is leaves else "bad-sample")
    assert "raised at" in error.value.hint and __file__ in error.value.hint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "said", "hint"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "was killed by SIGKILL", "more memory than there is"),
        (lambda: os.kill(os.getpid(), signal.SIGBUS), "was killed by SIGBUS", "shared memory is full"),
        (lambda: os._exit(7), "ended itself with status 7", "Trainer.workers = 0"),
    ],
)
def test_the_death_of_a_worker_is_one_message(
    how: Any, said: str, hint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(GanflowError) as error:
        list(loader(Broken(how), batch_size=4, workers=2))
    assert (error.value.code, error.value.status) == ("worker-died", 1)
    assert said in error.value.message and hint in error.value.hint
    assert "Traceback" not in capfd.readouterr().err


def test_a_worker_that_dies_does_not_interrupt_what_the_main_process_does() -> None:
    """Torch would raise wherever it happens to be."""
    before = signal.getsignal(signal.SIGCHLD)
    source = iter(loader(Broken(lambda: (time.sleep(0.3), os._exit(7))), batch_size=4, workers=1))
    next(source)
    assert signal.getsignal(signal.SIGCHLD) == before
    time.sleep(1)  # the worker is dead by now, and nothing is said here
    with pytest.raises(GanflowError, match="ended itself with status 7"):
        list(source)


PROGRAM = """
    import os, signal, sys, time, torch
    from ganflow.data.loader import loader

    class Slow:
        def __len__(self): return 12
        def __getitem__(self, i):
            time.sleep({pause})
            return {{"x": torch.full((2,), i)}}

    came = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: came.append(number))
    print("pid", flush=True)
    seen = []
    source = iter(loader(Slow(), batch_size=1, workers=2))
    for batch in source:
        seen.append(int(batch["x"][0, 0]))
        if len(seen) == {last}:
            break
    print(seen, sorted(set(came)), flush=True)
"""


def program(pause: float, last: int) -> subprocess.Popen[str]:
    code = textwrap.dedent(PROGRAM.format(pause=pause, last=last))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
def test_what_a_whole_process_group_is_sent_leaves_workers_reading() -> None:
    """As Ctrl-C does, and as a cluster does, from before the first worker is there to the end."""
    process = program(0.1, 12)
    assert process.stdout is not None and process.stdout.readline() == "pid\n"
    while process.poll() is None:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                break
        time.sleep(0.02)
    out, err = process.communicate()
    assert out == f"{list(range(12))} [2, 15]\n" and err == ""


@pytest.mark.slow
def test_a_run_that_ends_in_mid_epoch_leaves_no_worker_and_does_not_wait_for_one() -> None:
    begun = time.monotonic()
    process = program(0.01, 3)
    out, err = process.communicate(timeout=60)
    assert out.splitlines()[1] == "[0, 1, 2] []" and err == ""
    assert time.monotonic() - begun < 30
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.fixture(autouse=True)
def _sources_as_before() -> Iterator[None]:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()
    yield
    torch.set_rng_state(before[0]), random.setstate(before[1]), np.random.set_state(before[2])
