"""The generated step against the hand-written loop: same weights, batches and draws, same numbers."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

import ganflow
from ganflow.nn import PatchDiscriminator, UNetGenerator, init_weights
from handwritten.live_bytes import PeakBytes, convolution_backward_masks
from handwritten.pix2pix import Pix2Pix

PIX2PIX = Path(__file__).parent.parent / "experiments" / "pix2pix.gin"
SMALL = ["UNetGenerator.size = 32", "UNetGenerator.base = 4", "PatchDiscriminator.base = 4",
         "PatchDiscriminator.layers = 2", "Adam.lr = 1e-2", "earth.size = 32"]  # fmt: skip


def networks(dtype: torch.dtype) -> dict[str, torch.nn.Module]:
    G = UNetGenerator(size=32, base=4)
    D = PatchDiscriminator(base=5, layers=2)
    for k, module in enumerate((G, D)):
        init_weights(module, generator=torch.Generator().manual_seed(k))
    return {"G": G.to(dtype), "D": D.to(dtype)}


def batches(dtype: torch.dtype, count: int = 5) -> list[dict[str, torch.Tensor]]:
    g = torch.Generator().manual_seed(7)
    return [
        {f: torch.randn(2, 3, 32, 32, generator=g, dtype=dtype) for f in ("real_A", "real_B")} for _ in range(count)
    ]


def pair(dtype: torch.dtype) -> tuple[ganflow.TrainStep, Pix2Pix, dict[str, torch.nn.Module]]:
    ours, theirs = networks(dtype), networks(dtype)
    step = ganflow.TrainStep(ganflow.load(PIX2PIX, overrides=SMALL), batches(dtype), networks=ours)
    hand = Pix2Pix(theirs["G"], theirs["D"], lr=1e-2, fused=True)
    return step, hand, theirs


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 0.0)])
def test_pix2pix_equals_the_hand_written_loop(dtype: torch.dtype, tolerance: float) -> None:
    step, hand, theirs = pair(dtype)
    torch.manual_seed(3)
    logs = [step() for _ in range(5)]
    torch.manual_seed(3)
    expected = [hand.step(b["real_A"], b["real_B"]) for b in batches(dtype)]
    for ours, other in zip(logs, expected, strict=True):
        for key, value in other.items():
            assert (ours[key] - value).abs() <= tolerance
    for name, module in theirs.items():
        mine = step.networks[name].state_dict()
        for key, value in module.state_dict().items():
            assert (mine[key] - value).abs().max() <= tolerance, (name, key)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("detach(fake_B)", "fake_B"),
        ("100.0 * G_L1", "10.0 * G_L1"),
        ("0.5 * (D_fake + D_real)", "(D_fake + D_real)"),
        ("clear_gradients(optimizers['D'])", "pass"),
        ("gan(pred_fake, True)", "gan(pred_fake, False)"),
    ],
)
def test_a_mutated_step_is_noticed(old: str, new: str) -> None:
    """The comparison above can fail: each of these changes the numbers or the work."""
    from ganflow.codegen import Source
    from ganflow.step import compile_step, namespace

    step, hand, theirs = pair(torch.float64)
    text = step.source.text.replace(old, new)
    assert text != step.source.text
    step._run = compile_step(step.graph, Source(text, step.source.lines, step.source.variables), namespace(step))
    seen: list[bool] = []
    step.networks["D"].register_forward_pre_hook(lambda _, args: seen.append(args[0].requires_grad))
    torch.manual_seed(3)
    for _ in range(5):
        step()
    torch.manual_seed(3)
    for b in batches(torch.float64):
        hand.step(b["real_A"], b["real_B"])
    moved = max(
        (step.networks[n].state_dict()[k].double() - v.double()).abs().max().item()
        for n, m in theirs.items()
        for k, v in m.state_dict().items()
    )
    assert moved > 1e-12 or seen != [False, False, True] * 5


def test_only_the_generator_update_differentiates_through_d() -> None:
    step, _, _ = pair(torch.float32)
    seen: list[bool] = []
    step.networks["D"].register_forward_pre_hook(lambda _, args: seen.append(args[0].requires_grad))
    step()
    assert seen == [False, False, True]


def test_g_never_gets_a_gradient_from_d_and_d_spends_none_for_g() -> None:
    step, _, _ = pair(torch.float32)
    weights = {tuple(m.weight.shape) for m in step.networks["D"].modules() if isinstance(m, torch.nn.Conv2d)}
    with convolution_backward_masks() as calls:
        step()
    of_d = [c for c in calls if c.weight in weights]
    layers = len([m for m in step.networks["D"].modules() if isinstance(m, torch.nn.Conv2d)])
    assert sum(c.weight_grad for c in of_d) == 2 * layers  # fake and real in update D, none in update G
    assert all(p.grad is None for n in step.networks.values() for p in n.parameters())


def test_peak_memory_is_that_of_the_hand_written_loop() -> None:
    step, hand, _ = pair(torch.float32)
    data = batches(torch.float32)
    step()
    hand.step(data[0]["real_A"], data[0]["real_B"])
    with PeakBytes() as ours:
        step(), step()
    with PeakBytes() as expected:
        for b in data[1:3]:
            hand.step(b["real_A"], b["real_B"])
    assert ours.peak <= 1.02 * expected.peak


def test_a_failing_step_names_the_definition_and_the_shapes() -> None:
    step, _, _ = pair(torch.float32)
    step.batches = [{"real_A": torch.zeros(2, 3, 32, 32), "real_B": torch.zeros(2, 3, 16, 16)}]
    with pytest.raises(ganflow.GanflowError) as error:
        step()
    assert "pred_real" in str(error.value) and "real_B (2, 3, 16, 16)" in str(error.value)
    assert error.value.location.line > 1


def test_initialisation_of_g_does_not_depend_on_d() -> None:
    with_d = ganflow.TrainStep(ganflow.load(PIX2PIX, overrides=SMALL))
    without = ganflow.TrainStep(ganflow.load(PIX2PIX, overrides=[*SMALL, "lambda_GAN = 0.0"]))
    assert "D" not in without.networks
    a, b = with_d.networks["G"].state_dict(), without.networks["G"].state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_two_experiments_interleave() -> None:
    data = batches(torch.float32)
    make = [lambda s=s: ganflow.TrainStep(ganflow.load(PIX2PIX, overrides=[*SMALL, f"Adam.lr = {s}"]), data)
            for s in (1e-2, 1e-4)]  # fmt: skip
    first, second = make[0](), make[1]()
    torch.manual_seed(0)
    both = [(first()["loss/G"], second()["loss/G"]) for _ in range(2)]
    assert first.optimizers["G"].param_groups[0]["lr"] == 1e-2
    assert second.optimizers["G"].param_groups[0]["lr"] == 1e-4
    assert both[1][0] != both[1][1]
    assert copy.copy(first.counters).step == 2
