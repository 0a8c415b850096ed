"""The front door under fire: whatever a file, an override, a run directory or a JSON says, the answer is one message.

The mutants are the same in every run: number 17 is ``mutate(Corpus.read(), 17)``. A failure names its number.
"""

from __future__ import annotations

import gc
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import ganflow
import zoo_images  # noqa: F401 - what gin knows must not depend on which tests ran before
from front_door import LIMIT, Visit, limited, visit, watched
from ganflow import cli
from ganflow.errors import GanflowError
from ganflow.inspection import inspect
from ganflow.json_view import from_json, to_json
from mutants import FOLDERS, Corpus, Mutant, mutate
from zoo_networks import known

COMMANDS = ("plan", "check", "source")
ALL = 20_000


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with all programs of the corpus, so that includes are found."""
    for folder in reversed(FOLDERS):
        for path in folder.glob("*.gin"):
            shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    with known():
        # What Python and torch load once is nobody's fault.
        for program in ("pix2pix.gin", "wgan_gp.gin", "grad-batch-norm.gin"):
            inspect(ganflow.load(program))
        gc.collect()
        gc.freeze()  # nor is what earlier tests left for the collector to walk through
        yield tmp_path
        gc.unfreeze()


def attempt(mutant: Mutant, folder: Path) -> Visit:
    for name, data in mutant.files.items():
        (folder / name).write_bytes(data)
    return visit(COMMANDS[mutant.number % len(COMMANDS)], "mutant.gin")


def attempts(numbers: Iterable[int], folder: Path) -> tuple[Counter[str], list[str], float]:
    """(how often each code, what went wrong, the longest time in seconds)."""
    corpus, codes, wrong, longest = Corpus.read(), Counter[str](), list[str](), 0.0
    for number in numbers:
        mutant = mutate(corpus, number)
        found = attempt(mutant, folder)
        codes[found.code or ("findings" if found.status else "accepted")] += 1
        longest = max(longest, found.seconds)
        if found.wrong:
            wrong.append(f"{number} ({mutant.origin}, {', '.join(mutant.how)}): {'; '.join(found.wrong)}")
    return codes, wrong, longest


def test_mutated_files(here: Path) -> None:
    codes, wrong, _ = attempts(range(0, ALL, 80), here)
    assert not wrong, "\n".join(wrong)
    assert codes["accepted"] > 20 and codes["gin-syntax"] > 20 and len(codes) > 10  # they get past the door, too


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_every_mutated_file(part: int, here: Path) -> None:
    codes, wrong, longest = attempts(range(part * ALL // 10, (part + 1) * ALL // 10), here)
    print(f"{codes.total()} files, the slowest {longest:.2f} s: {dict(codes.most_common())}")
    assert not wrong, "\n".join(wrong)


def test_a_mutant_is_the_same_every_time() -> None:
    corpus = Corpus.read()
    assert [mutate(corpus, n) for n in range(50)] == [mutate(corpus, n) for n in range(50)]
    assert len({m.files["mutant.gin"] for m in (mutate(corpus, n) for n in range(200))}) > 150


def test_a_traceback_a_hang_and_a_written_file_are_noticed(here: Path) -> None:
    def crash() -> None:
        raise KeyError("x")

    def hang() -> None:
        while True:
            pass

    assert "KeyError" in watched(crash).wrong[0]
    assert watched(hang).wrong == ("too slow",)
    assert "for writing" in watched(lambda: Path("new.txt").write_text("x")).wrong[0]


@pytest.mark.parametrize("body", ["x", "x + x", "(y := x * 2)"])
def test_templates_that_double_are_answered_in_time(body: str, here: Path) -> None:
    lines = ["include 'pix2pix.gin'", f"f0 = 'lambda x: {body}'"]
    lines += [f"f{k} = 'lambda x: f{k - 1}(f{k - 1}(x))'" for k in range(1, 31)]
    Path("doubling.gin").write_text("\n".join([*lines, "G/Update.minimize = 'f30(mean(fake_B))'"]))
    found = visit("check", "doubling.gin")
    assert not found.wrong and found.code == "too-large" and "doubling.gin:" in found.err


def test_a_line_of_blanks_is_answered_in_time(here: Path) -> None:
    Path("blanks.gin").write_text(f"include 'pix2pix.gin'\n\n{' ' * 60_000}$\n{' ' * 60_000}\\\n")
    found = visit("check", "blanks.gin")
    assert not found.wrong and found.code == "too-large" and "blanks.gin:3" in found.err


# -- the other front doors ----------------------------------------------------------------------------------


def overrides(corpus: Corpus) -> Iterator[str]:
    """Lines of mutated files, whole and cut."""
    rng = random.Random(0)
    for number in range(400):
        text = mutate(corpus, number).files["mutant.gin"].decode("utf-8", errors="replace")
        line = rng.choice(text.split("\n"))[:100_000]
        yield line if rng.random() < 0.7 else line[: rng.randrange(len(line) + 1)]


def test_overrides(here: Path) -> None:
    wrong = []
    for line in overrides(Corpus.read()):
        found = visit("source", "pix2pix.gin", set_=[line])
        if found.wrong:
            wrong.append(f"--set {line[:200]!r}: {'; '.join(found.wrong)}")
    assert not wrong, "\n".join(wrong)


def mutated(text: str, rng: random.Random) -> str:
    """JSON with a part replaced, dropped, doubled or cut off."""
    a, b = sorted((rng.randrange(len(text)), rng.randrange(len(text))))
    words = ("null", "1e999", "-1", '""', "[]", "{}", '"x"', "true", '{"type": "Node"}', '"__class__"', "]", "}", ",")
    match rng.randrange(5):
        case 0:
            return text[:a] + text[min(b, a + 40) :]
        case 1:
            return text[:a]
        case 2:
            return text[:a] + rng.choice(words) + text[a + rng.randrange(5) :]
        case 3:
            lines = text.split("\n")
            k = rng.randrange(len(lines))
            key, colon, _ = lines[k].partition(": ")
            lines[k] = f"{key}{colon}{rng.choice(words)}," if colon else lines[rng.randrange(len(lines))]
            return "\n".join(lines)
        case _:
            words_ = [w for w in text.split('"') if 0 < len(w) < 20]
            return text.replace(f'"{rng.choice(words_)}"', f'"{rng.choice(words_)}"', rng.choice((1, -1)))


def test_json_of_a_step_graph(here: Path) -> None:
    text = to_json(ganflow.schedule(ganflow.load("wgan_gp.gin")))
    assert str(from_json(text))
    refused = 0
    for number in range(120):
        rng = random.Random(number)
        damaged = mutated(text, rng)
        try:
            with limited(LIMIT):
                graph = from_json(damaged)
                assert str(graph) and graph.source
        except GanflowError as error:
            refused += error.code == "not-a-graph"
    assert refused > 40


@pytest.mark.parametrize("text", ["[" * 100_000, "null", "{}", '{"version": 1}', '{"version": 1, "graph": []}', "\x00"])
def test_json_that_is_nothing_like_a_step_graph(text: str) -> None:
    with pytest.raises(GanflowError) as found:
        from_json(text)
    assert found.value.code == "not-a-graph"


@pytest.mark.parametrize("name", ["config.gin", "environment.json", "weights.pt", "plan.txt"])
def test_sample_of_a_damaged_run(name: str, here: Path) -> None:
    run = here / "run"
    run.mkdir()
    for file, text in {"config.gin": Path("pix2pix.gin").read_text(encoding="utf-8"), "plan.txt": "", "step.py": "",
                       "environment.json": "{}", "weights.pt": ""}.items():  # fmt: skip
        (run / file).write_text(text, encoding="utf-8")
    for number in range(12):
        data = random.Random(number).randbytes(200) if number else b""
        (run / name).write_bytes(data if number % 3 else b"\x80\x04" + data)
        found = watched(lambda: cli.sample(run, None, None, None, "test", None, "cpu"))
        assert found.status == 2 and not found.wrong, (number, found)
