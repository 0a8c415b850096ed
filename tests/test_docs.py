"""The language reference says what is true: its examples run, and what it shows of plans and messages is real.

``GANFLOW_UPDATE_GOLDEN=1 pytest tests/test_docs.py`` writes real output into the pages: read the diff.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from gin import config as gin_config

import ganflow
from commands import ganflow as command
from docs_blocks import PAGES, Block, blocks, commands, matches, written
from ganflow.inspection import inspect
from ganflow.settings import settings_of
from ganflow.trainer import dataset, prepare
from ganflow.verify import verify

BLOCKS = [block for page in PAGES for block in blocks(page)]
FILES = [b for b in BLOCKS if b.file and b.file != "example.gin"]
GIN = [b for b in BLOCKS if b.language == "gin"]
TEXT = [b for b in BLOCKS if b.language == "text"]
UPDATE = bool(os.environ.get("GANFLOW_UPDATE_GOLDEN"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Every named file of the pages; what they register with gin is forgotten afterwards."""
    place = tmp_path_factory.mktemp("docs")
    for block in FILES:
        (place / block.file).write_text(block.text, encoding="utf-8")
    mine = [Path(b.file).stem for b in FILES if b.language == "python"]
    yield place
    for name in mine:
        for selector in [s for s, _ in gin_config._REGISTRY.items() if s.startswith(f"{name}.")]:
            gin_config._REGISTRY.pop(selector)
        sys.modules.pop(name, None)


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def shown_below(block: Block) -> str:
    """What the pages show of a gin block."""
    return "".join(
        b.text for b in TEXT if b.example is not None and (b.page, b.example.line) == (block.page, block.line)
    )


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert {b.language for b in BLOCKS} == {"gin", "python", "text"}
    assert len({b.file for b in FILES}) == len(FILES)
    for block in TEXT:
        assert all(shlex.split(c)[:1] == ["ganflow"] for c, _ in commands(block)), block
    for page in PAGES:
        fences = re.findall(r"^```", (Path(ganflow.__file__).parent.parent / "docs" / page).read_text(), re.M)
        assert len(fences) == 2 * len(blocks(page)), f"{page} has a fence that is no block"


@pytest.mark.parametrize("block", GIN, ids=str)
def test_an_example_is_fine_or_its_fault_is_shown(block: Block, here: Path) -> None:
    (here / block.file).write_text(block.text, encoding="utf-8")
    below = shown_below(block)
    shown = set(re.findall(r"(?:error|warning|note)\[[\w-]+\]", below))
    try:
        found = {f"{f.level}[{f.code}]" for f in inspect(ganflow.load(block.file)).findings}
    except ganflow.GanflowError as error:
        found = {f"error[{error.code}]"}
    in_part = "..." in below.splitlines() and found & shown
    assert found <= shown or in_part, f"{block} says nothing of {found - shown}"
    if any(f.startswith("error") for f in found):
        return
    experiment = ganflow.load(block.file)
    settings = settings_of(experiment)
    step, _ = prepare(experiment, dataset(experiment), settings, device=torch.device("cpu"))
    verify(step.graph)
    before = {n: [p.clone() for p in m.parameters()] for n, m in step.networks.items()}
    logs = [step() for _ in range(2)]
    assert all(torch.isfinite(torch.as_tensor(v)).all() for found in logs for v in found.values())
    after = {n: list(m.parameters()) for n, m in step.networks.items()}
    assert any(not torch.equal(a, b) for n in after for a, b in zip(after[n], before[n], strict=True))


@pytest.mark.parametrize("block", TEXT, ids=str)
def test_what_is_shown_is_what_is_printed(block: Block, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if block.example is not None:
        (here / block.example.file).write_text(block.example.text, encoding="utf-8")
    printed = []
    for line, _ in commands(block):
        found = command(capsys, *shlex.split(line)[1:])
        printed.append((found.out + found.err).replace(str(here), "HERE"))
    if UPDATE:
        written(block, printed)
        return
    for (line, shown), real in zip(commands(block), printed, strict=True):
        assert matches(shown, real), f"{block}: `{line}` prints\n{real}"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python" and not b.file], ids=str)
def test_python_runs(block: Block, here: Path) -> None:
    exec(compile(block.text, str(block), "exec"), {"__name__": "docs"})
