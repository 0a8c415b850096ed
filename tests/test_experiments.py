"""The experiments that come with ganflow: without findings, with their paper, running as shipped but smaller."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import ganflow
from commands import ganflow as command
from ganflow.inspection import inspect

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"
SHIPPED = sorted(EXPERIMENTS.glob("*.gin"), key=lambda p: p.name)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_experiments_have_no_findings_and_name_their_paper(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = command(capsys, "check", path, "--strict")
    assert (found.status, found.out) == (0, "0 errors, 0 warnings, 0 notes\n")
    first = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert "arXiv:" in " ".join(first) and path.read_text().startswith("#")


def test_pix2pix_runs_as_shipped_but_smaller(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["UNetGenerator.base = 2", "PatchDiscriminator.base = 2", "Trainer.steps = 3", "earth.scale = 5"]
    overrides = [word for line in small for word in ("--set", line)]
    found = command(capsys, "run", EXPERIMENTS / "pix2pix.gin", "--runs", tmp_path, *overrides)
    assert found.status == 0, found.err
    assert (tmp_path / "pix2pix" / "samples" / "000003.png").is_file()
    assert "l1 " in found.out and "psnr " in found.out and "ssim " in found.out


def test_pix2pix_has_the_papers_weights_and_an_ablation_is_one_line() -> None:
    experiment = ganflow.load(EXPERIMENTS / "pix2pix.gin")
    assert (experiment.definitions["lambda_GAN"].value, experiment.definitions["lambda_A"].value) == (1.0, 100.0)
    ablated = ganflow.schedule(ganflow.load(EXPERIMENTS / "pix2pix.gin", ["lambda_GAN = 0"]))
    assert ablated.networks == ("G",) and [u.name for u in ablated.updates] == ["G"]


def test_pix2pix_256_is_the_papers() -> None:
    experiment = ganflow.load(EXPERIMENTS / "pix2pix_256.gin")
    inspection = inspect(experiment)
    assert dict(inspection.cost.parameters) == {"G": 54_413_955, "D": 2_768_705}
    assert inspection.cost.values["D", "fake_B"].shape == "1×3×256×256"
    assert inspection.cost.values["D", "pred_fake"].shape == "1×1×30×30"
    given = experiment.trainer
    assert (given["batch_size"], given["epochs"], given["steps"]) == (1, 200, None)


def test_pix2pix_256_decays_as_the_paper_says() -> None:
    """Constant for 100 epochs, then linearly to 0 over 100."""
    pair = {name: torch.zeros(1, 3, 256, 256) for name in ("real_A", "real_B")}
    step = ganflow.TrainStep(
        ganflow.load(EXPERIMENTS / "pix2pix_256.gin"),
        [pair],
        networks={"G": torch.nn.Conv2d(3, 3, 1), "D": torch.nn.Conv2d(6, 1, 64, stride=64)},
        batches_per_epoch=1,
    )
    seen = []
    for _ in range(200):
        step()
        seen.append(step.hyperparameters()["lr/G"])
    assert seen[:100] == [2e-4] * 100
    falling = torch.tensor(seen[99:], dtype=torch.float64)
    assert torch.allclose(falling.diff(), torch.full((100,), -2e-4 / 101, dtype=torch.float64), rtol=1e-9)
    assert seen[-1] == pytest.approx(2e-4 / 101)
