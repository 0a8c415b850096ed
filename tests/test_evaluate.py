"""Values without gradients: evaluation leaves the training that goes on after it exactly as it was."""

from __future__ import annotations

import torch

import ganflow
from ganflow.errors import Location
from ganflow.evaluate import Evaluator, evaluation
from ganflow.experiment import Text, gin_text

GIN = """
G/Network.module = @UNetGenerator()
G/Network.eval_mode = '%s'
D/Network.module = @PatchDiscriminator()
Network.optimizer = @Adam
UNetGenerator.size = 16
UNetGenerator.base = 4
PatchDiscriminator.base = 4
PatchDiscriminator.layers = 1
fake_B = 'G(real_A)'
D_fake = 'gan(D(cat(real_A, fake_B)), False)'   # a comment
D_real = 'gan(D(cat(real_A, real_B)), True)'
D/Update.minimize = '''
    0.5 * (D_fake  # what G made
           + D_real)'''
G/Update.minimize = 'gan(D(cat(real_A, fake_B)), True) + 100 * l1(fake_B, real_B)'
Schedule.updates = ['D', 'G']
"""


def text(source: str) -> Text:
    return Text(source, Location("<test>", 1))


def batches(count: int) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [{n: torch.randn(4, 3, 16, 16, generator=generator) for n in ("real_A", "real_B")} for _ in range(count)]


def trained(*, evaluate: bool) -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    step = ganflow.TrainStep(ganflow.loads(GIN % "train"), batches(3))
    evaluator = Evaluator(step, {"fake": text("fake_B"), "error": text("l1(fake_B, real_B)")})
    for _ in range(3):
        step()
        if evaluate:
            with evaluation(step):
                evaluator(batches(1)[0])
    return {f"{n}.{k}": v for n, m in step.networks.items() for k, v in m.state_dict().items()}


def test_evaluation_changes_nothing_in_training() -> None:
    """Dropout draws and batch-norm buffers at test time (pix2pix keeps both) are not training's."""
    without, with_ = trained(evaluate=False), trained(evaluate=True)
    assert without.keys() == with_.keys()
    assert all(torch.equal(without[k], with_[k]) for k in without)


def test_evaluation_is_reproducible_has_no_graph_and_uses_the_declared_mode() -> None:
    for mode in ("train", "eval"):
        step = ganflow.TrainStep(ganflow.loads(GIN % mode), batches(1))
        step()
        evaluator = Evaluator(step, {"fake": text("fake_B")})
        with evaluation(step):
            assert step.networks["G"].training == (mode == "train") and not step.networks["D"].training
            first = evaluator(batches(1)[0])["fake"]
        with evaluation(step):
            again = evaluator(batches(1)[0])["fake"]
        assert torch.equal(first, again) and not first.requires_grad
        assert step.networks["G"].training and step.networks["D"].training
        step.networks["G"].train(mode == "train")
        with torch.no_grad():
            torch.manual_seed(0)
            assert torch.equal(step.networks["G"](batches(1)[0]["real_A"]), first)


def test_the_flattened_gin_text_declares_the_same_experiment() -> None:
    experiment = ganflow.loads(GIN % "train", overrides=["UNetGenerator.base = 8"])
    flat = gin_text(experiment)
    assert "# what G made" in flat, "comments inside an expression stay"
    again = ganflow.loads(flat)
    assert str(ganflow.schedule(again)) == str(ganflow.schedule(experiment))
    assert "UNetGenerator.base = 8" in flat and flat.count("UNetGenerator.base") == 1 and gin_text(again) == flat
