"""The README says what is true: its plan, its experiment, its commands, its code."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gin import config as gin_config

import ganflow
from commands import ganflow as command
from ganflow.inspection import inspect

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def commands() -> list[list[str]]:
    """Every ``./tools/ganflow ...`` line, as its words."""
    lines = re.findall(r"^    (\./tools/ganflow .*)$", README, flags=re.M)
    return [shlex.split(line)[1:] for line in lines + re.findall(r"`(\./tools/ganflow [^`]*)`", README)]


def test_the_printed_plan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    assert command(capsys, "plan", "experiments/pix2pix.gin").out in blocks("")


def test_the_printed_difference(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    [words] = [words for words in commands() if words[0] == "diff"]
    assert command(capsys, *words).out in blocks("")


def test_the_printed_experiment() -> None:
    assert (ROOT / "experiments" / "pix2pix.gin").read_text(encoding="utf-8") in blocks("gin")


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links and all((ROOT / link).exists() for link in links)


def test_commands_are_understood(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command exists with its options; those that only read are run, overrides of the others are loaded."""
    monkeypatch.chdir(ROOT)
    listed = command(capsys, "--help").out
    assert {words[0] for words in commands()} >= {"run", "plan", "source", "sample", "tensorboard"}
    for name, *arguments in commands():
        assert f" {name} " in listed
        options = command(capsys, name, "--help").out
        assert all(a in options for a in arguments if a.startswith("--"))
        overrides = [value for option, value in zip(arguments, arguments[1:], strict=False) if option == "--set"]
        if arguments[0].endswith(".gin"):
            inspect(ganflow.load(arguments[0], overrides))


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What the page's modules are and register with gin ends with the test."""
    yield
    for name in ("mine", "mydata"):
        sys.modules.pop(name, None)
        for selector in [s for s, _ in gin_config._REGISTRY.items() if s.startswith(f"{name}.")]:
            gin_config._REGISTRY.pop(selector)


@pytest.mark.usefixtures("forgotten")
def test_the_example_of_ones_own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [mine] = [block for block in blocks("python") if block.startswith("# mine.py")]
    (tmp_path / "mine.py").write_text(mine)
    (tmp_path / "mine.gin").write_text(
        f"include '{ROOT}/experiments/pix2pix.gin'\nimport mine\n"
        "G/Network.module = @Sharpen()\nG_L1 = 'charbonnier(fake_B, real_B)'\nSharpen.width = 8\n"
    )
    found = inspect(ganflow.load(tmp_path / "mine.gin"), shapes=True)
    assert [f for f in found.findings if f.level == "error"] == []
    assert "charbonnier(fake_B, real_B)" in found.plan and "Sharpen" not in found.plan
    unused = [f.message for f in found.findings]
    assert all("UNetGenerator" in message for message in unused), "only the U-Net's bindings have lost their network"


@pytest.mark.usefixtures("forgotten")
def test_the_example_of_ones_own_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [mine] = [block for block in blocks("python") if block.startswith("# mydata.py")]
    (tmp_path / "mydata.py").write_text(mine)
    (tmp_path / "mine.gin").write_text(
        f"include '{ROOT}/experiments/pix2pix.gin'\nimport mydata\nTrainer.data = @Stripes()\nTrainer.steps = 2\n"
        "UNetGenerator.base = 2\nPatchDiscriminator.base = 2\nTrainer.show = []\n"
    )
    monkeypatch.chdir(tmp_path)
    found = command(capsys, "run", "mine.gin")
    assert found.status == 0, found.err
    assert "earth.size" in found.err, "what the other dataset was told is not used any more"
    assert (tmp_path / "runs" / "mine" / "samples" / "000002.png").is_file()
