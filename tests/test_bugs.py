"""Sixty published bugs of hand-written training loops: each impossible here, reported by a check, or measured.

A test is called after the exhibit's number in the collection. Its docstring says which thread it is and why it cannot
happen; what it asserts is the plan, the generated source, the numbers beside autograd, or the code of a check. What
only a run can show is in ``PROBE``, for the gradient probe. What belongs to features that do not exist yet is in
``WAITING``.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bug_tools import GAN, LR, Run, called, close, codes, d_loss, findings, flat, g_loss, graph, load, made, phase
from ganflow.errors import GanflowError
from ganflow.graph import Reuse
from ganflow.inspection import inspect

EXHIBITS = (
    1, 2, 4, 6, 7, 9, 11, 12, 14, 16, 17, 19, 21, 22, 24, 26, 27, 29, 31, 32, 34, 36, 37, 39, 41, 42, 44, 46, 47, 49,
    51, 52, 54, 56, 57, 59, 61, 62, 64, 66, 67, 69, 71, 72, 74, 76, 77, 79, 81, 82, 84, 86, 87, 89, 91, 92, 94, 96,
    97, 99,
)  # fmt: skip
WAITING = {
    39: "mixed precision", 46: "DDP", 47: "DDP", 49: "DDP", 51: "DDP", 89: "checkpoints", 91: "checkpoints",
    92: "checkpoints", 94: "checkpoints", 96: "checkpoints", 97: "checkpoints",
}  # fmt: skip
EXCEPTED = {67: "a misplaced parenthesis in a formula; the built-in `gan.mode = 'wgan'` has none to misplace"}


# -- LEAK: a gradient reaches a network that must not get it ------------------------------------------------


def test_1_gradient_left_by_the_generators_backward() -> None:
    """pytorch-lightning #591: gradients are taken with respect to what an update trains, so nothing is left behind."""
    run = Run("Schedule.updates = ['G', 'D']").iterate(3)
    assert close(run.change("D"), run.expected("D", d_loss))
    assert "zero_grad" not in run.step.source.text


def test_2_generator_loss_reaches_the_discriminator() -> None:
    """OmniTokenizer #15: the same with gradients averaged over microbatches; D is frozen in G's update."""
    run = Run("Update.microbatches = 2").iterate(2)
    assert close(run.change("D"), run.expected("D", d_loss))
    assert made(graph(), "G", "D(fake)").freezes == ("D",)


def test_4_both_backwards_then_both_steps() -> None:
    """edge-connect #188: as a group that is legal, and D still steps on its own loss only."""
    run = Run("Schedule.updates = [('D', 'G')]").iterate(2)
    assert close(run.change("D"), run.expected("D", d_loss))
    assert close(run.change("G"), run.expected("G", g_loss))


def test_6_gradients_never_cleared() -> None:
    """smartnoise-sdk #280: the fifth step is the fifth gradient, not the sum of five."""
    run = Run("Schedule.updates = ['D']", "D/Update.minimize = 'D_real'", "D_fake = 0", "G_GAN = 0").iterate(5)
    assert close(run.change("D"), run.expected("D", lambda nets, b: called(nets["D"](b["real"]), True)))


def test_7_step_without_discriminator_zero_grad() -> None:
    """code-soup #69: after a step nobody holds a gradient that another could add to."""
    run = Run().iterate(4)
    assert [p.grad for m in run.nets.values() for p in m.parameters() if p.grad is not None] == []
    assert close(run.change("D"), run.expected("D", d_loss))


def test_9_one_encoder_for_generator_and_discriminator() -> None:
    """MAE_GAN #5: two updates that train one network towards opposite ends are reported."""
    assert "opposed" in codes("D/Update.trains = ['D', 'G']")


def test_11_the_wrong_network_is_frozen() -> None:
    """NTL #3: nobody names what is frozen; the plan freezes exactly what gradient passes through."""
    aug = ("D2/Network.module = @MLP()", "D2/MLP.in_features = 3", "D2/MLP.out_features = 1",
           "G_GAN = 'gan(D2(fake), True)'", "D2/Update.minimize = 'gan(D2(real), True)'",
           "Schedule.updates = ['D', 'D2', 'G']")  # fmt: skip
    plan = graph(*aug)
    assert made(plan, "G", "D2(fake)").freezes == ("D2",)
    assert phase(plan, "G").moves == ("G",)


def test_12_accumulation_with_feature_matching() -> None:
    """Trainer PR #76: over microbatches too, G's feature matching leaves nothing in D."""
    matching = ("G/Update.minimize = 'G_GAN + mse(D(fake), D(real))'", "Update.microbatches = 4")
    run = Run(*matching).iterate(3)
    assert close(run.change("D"), run.expected("D", d_loss))


# -- STARVE: the network that needs a gradient does not get it ----------------------------------------------


def test_14_discriminator_output_detached_in_the_generator_loss() -> None:
    """CSA-CDGAN #5: refused, with the path and the cut."""
    found = next(f for f in findings("G_GAN = 'gan(detach(D(fake)), False)'") if f.code == "starved-network")
    assert found.level == "error" and "✂ detach(D(fake))" in found.hint and "drop the detach" in found.hint


def test_19_generator_gradient_from_the_discriminator() -> None:
    """mlpack PR #1933: G's gradient is that of its loss through D, as autograd has it."""
    run = Run("Schedule.updates = ['G', 'D']").iterate()
    assert close(run.change("G"), run.expected("G", g_loss))


def test_21_detached_prediction_reused_after_reordering() -> None:
    """SRGAN PR #148: in either order G evaluates its own prediction, and its edge is not cut."""
    for order in ("['D', 'G']", "['G', 'D']", "[('D', 'G')]"):
        plan = graph(
            "pred = 'D(fake)'",
            "D_fake = 'gan(pred, False)'",
            "G_GAN = 'gan(pred, True)'",
            f"Schedule.updates = {order}",
        )
        own = [e for e in phase(plan, "G").evaluations if e.node == "pred"]
        shared = order == "[('D', 'G')]"
        assert own and (own[0].mode == ("train" if shared else "through")) and not own[0].cut


def test_22_detached_fake_in_the_generator_loss() -> None:
    """SinGAN PR #117: refused; the hint names the detach as the wrong cure."""
    found = next(f for f in findings("G_GAN = 'gan(D(detach(fake)), True)'") if f.code == "starved-term")
    assert found.level == "error" and "stops it from training anything" in found.hint


def test_24_features_of_the_discriminators_phase() -> None:
    """TFGAN #7: a name shared with D's phase is evaluated anew where gradient must pass; cut by hand it is refused."""
    match = "G/Update.minimize = 'G_GAN + mse(pred, pred_real)'"
    names = ("pred = 'D(fake)'", "pred_real = 'D(real)'", "D_fake = 'gan(pred, False)'", "G_GAN = 'gan(pred, True)'")
    own = next(e for e in phase(graph(*names, match), "G").evaluations if e.node == "pred")
    assert own.mode == "through" and not own.cut
    assert "starved-term" in codes(*names, match.replace("mse(pred,", "mse(detach(pred),"))


# -- OPT: wrong, missing or duplicate step ------------------------------------------------------------------


def test_26_stepped_with_the_other_optimizer() -> None:
    """SRGAN-PyTorch #85: an update steps the optimizers of what it trains; there is nothing to mix up."""
    run = Run().iterate()
    assert {u.name: u.steps for u in run.step.graph.updates} == {"D": ("D",), "G": ("G",)}
    held = {n: {id(p) for g in o.param_groups for p in g["params"]} for n, o in run.step.optimizers.items()}
    assert held == {n: {id(p) for p in m.parameters()} for n, m in run.nets.items()}


def test_27_second_optimizers_instead_of_schedulers() -> None:
    """SRGAN-PyTorch #53: a schedule is an argument of the optimizer that it serves."""
    run = Run("D/SGD.lr = '0.1 if step < 1 else 0.05'").iterate(2)
    assert run.step.hyperparameters() == {"lr/D": 0.05, "lr/G": 0.1}
    assert close(run.change("D"), 0.5 * run.expected("D", d_loss))


MORE = ("M/Network.module = @MLP()", "M/MLP.in_features = 3", "M/MLP.out_features = 1")


def test_29_discriminator_that_is_never_optimised() -> None:
    """open-universe #5: a trainable network in a loss without an owner is an error; named twice, it steps once."""
    assert "no-owner" in codes(*MORE, "D/Update.minimize = 'D_fake + D_real + gan(M(real), True)'")
    run = Run("D/Update.trains = ['D', 'D']").iterate()
    assert close(run.change("D"), run.expected("D", d_loss))


def test_31_global_discriminator_without_optimizer() -> None:
    """joliGEN PR #110: as an error whether or not it has an optimizer."""
    loss = "D/Update.minimize = 'D_fake + D_real + gan(M(fake), False) + gan(M(real), True)'"
    assert {"no-owner"} <= codes(*MORE, loss) and "no-owner" in codes(*MORE, "M/Network.optimizer = None", loss)


def test_32_no_discriminator_step() -> None:
    """deepfillv2 #6: every scheduled update steps; one that is not scheduled is reported."""
    run = Run().iterate()
    assert run.change("D").abs().max() > 0 and all(u.steps for u in run.step.graph.updates)
    assert "unused" in codes("Schedule.updates = ['G']", "D/Network.trainable = False")


def test_34_one_optimizer_object_for_both() -> None:
    """Keras-GAN #128: an optimizer is made for its network; momentum is never shared."""
    run = Run("SGD.momentum = 0.9").iterate(2)
    D, G = run.step.optimizers["D"], run.step.optimizers["G"]
    assert D is not G and not {id(p) for p in D.state} & {id(p) for p in G.state}


def test_36_decoder_never_trained() -> None:
    """MMVAE #39: the decoder is in the loss and trainable, and the update trains the encoder only."""
    loss = ("V/Update.minimize = 'mse(M(real), 0) + mse(D(real), 0)'", "V/Update.trains = ['D']")
    assert "no-owner" in codes(*MORE, *loss, "Schedule.updates = ['V']", "G/Network.trainable = False")


def test_37_critic_stepped_twice() -> None:
    """Helios PR #130: two terms of one loss are one backward and one step."""
    run, steps = Run(), Counter[str]()
    for name, optimizer in run.step.optimizers.items():
        optimizer.register_step_post_hook(lambda *_, name=name: steps.update([name]))
    run.iterate(3)
    assert steps == {"D": 3, "G": 3} and len(run.step.graph.updates[0].terms) == 2


# -- ORDER: stale or fresh mixed up -------------------------------------------------------------------------


def test_41_generator_loss_made_before_the_discriminators_step() -> None:
    """pytorch #39141: what D has moved under is evaluated again, at the D that stepped."""
    pred = ("pred = 'D(fake)'", "D_fake = 'gan(pred, False)'", "G_GAN = 'gan(pred, True)'")
    run = Run(*pred).iterate(2)
    assert made(run.step.graph, "G", "D(fake)").mode == "through"
    assert close(run.change("G"), run.expected("G", g_loss, D="moved"))


def test_42_latent_reused_across_the_encoders_step() -> None:
    """FactorVAE #15: D trains on the values made before the step, without their graph, and the plan says so."""
    plan = graph("Schedule.updates = ['G', 'D']")
    assert Reuse("fake", "G", graph=False, stale=("G",)) in phase(plan, "D").actions
    assert "before step G" in str(plan)
    run = Run("Schedule.updates = ['G', 'D']").iterate(2)
    assert close(run.change("D"), run.expected("D", d_loss))


def test_44_substeps_on_the_same_fake() -> None:
    """SinGAN #140: a repeat that refreshes nothing is reported; without that line every run has a new batch."""
    assert "stale-repeat" in codes("G/Update.repeat = 3", "G/Update.repeat_fresh = []")
    assert codes("G/Update.repeat = 3") == set()


# -- EMA ----------------------------------------------------------------------------------------------------

EMA = ("G_ema/Network.ema_of = 'G'", "G_ema/Network.ema_beta = 0.5", "G/MLP.norm = 'batch'", "D/MLP.norm = 'none'")


def averaged(*lines: str) -> Run:
    run = Run(*EMA, *lines).iterate(3)
    run.nets = {**run.nets, "G_ema": run.step.networks["G_ema"]}
    return run


def test_54_average_shares_storage_with_the_network() -> None:
    """mmgeneration PR #59: the average has weights of its own, and follows the formula from the first iteration."""
    run = Run(*EMA)
    ema = run.step.networks["G_ema"]
    old = flat(ema)
    run.iterate()
    assert close(flat(ema), 0.5 * old + 0.5 * flat(run.nets["G"]))
    assert not {p.data_ptr() for p in ema.parameters()} & {p.data_ptr() for p in run.nets["G"].parameters()}


def test_56_buffers_are_not_averaged() -> None:
    """style-based-gan-pytorch #112: buffers go with the weights; copied, they are those of the network."""
    run = averaged()
    theirs = dict(run.nets["G"].named_buffers())
    assert theirs and all(torch.equal(b, theirs[n]) for n, b in run.nets["G_ema"].named_buffers())


def test_57_buffers_of_the_wrong_module() -> None:
    """ema-pytorch #8: averaged, they lie between the old average and the network's, by the formula."""
    run = Run(*EMA, "G_ema/Network.ema_buffers = 'average'").iterate(2)
    old = {n: b.clone() for n, b in run.step.networks["G_ema"].named_buffers() if b.is_floating_point()}
    run.iterate()
    theirs = dict(run.nets["G"].named_buffers())
    for name, buffer in run.step.networks["G_ema"].named_buffers():
        if name in old:
            assert close(buffer, 0.5 * old[name] + 0.5 * theirs[name])


# -- LOSS: lost, mis-wired, mis-weighted --------------------------------------------------------------------


def test_59_relativistic_loss_overwritten_on_the_next_line() -> None:
    """PyTorch-GAN #52: the same name bound twice is reported, and so is a loss that nothing reads."""
    twice = GAN + "g_loss = 'adv_g(D(fake), D(real), kind=\"relativistic\")'\ng_loss = 'gan(D(fake), True)'\n"
    assert "redefined" in codes("G/Update.minimize = 'g_loss'", text=twice)
    assert "unused" in codes("g_rel = 'adv_g(D(fake), D(real), kind=\"relativistic\")'")


def test_61_accumulators_shadowed_in_a_loop_over_scales() -> None:
    """coqui TTS #3153: `gan` takes the list of scales itself; each scale is in the loss, and no loop is written."""
    scales = [torch.full((2, 1), v, requires_grad=True) for v in (0.5, 1.0, 2.0)]
    from ganflow.losses import gan

    loss = gan(scales, True)
    loss.backward()
    assert all(s.grad is not None and s.grad.abs().sum() > 0 for s in scales)
    assert torch.allclose(loss, sum(called(s, True) for s in scales))
    assert "for " not in graph().source.replace("for the", "")


def test_62_identity_loss_of_the_wrong_generator() -> None:
    """CycleGAN-Tensorflow-2 #19: the dataset declares domains, so the comparison across them is reported."""
    text = (Path(__file__).parent / "golden" / "checks" / "cyclegan.gin").read_text()
    assert codes(text=text) == set()
    assert "domains" in codes("idt = 'l1(G_A(real_A), real_A) + l1(G_B(real_B), real_B)'", text=text)


def test_64_ones_as_the_target_of_the_fakes() -> None:
    """vqvae-vqgan #3: D's and G's term want the same of one prediction."""
    assert "same-target" in codes("D_fake = 'gan(D(fake), True)'")


def test_66_wrong_target_for_the_latents() -> None:
    """Adversarial_Autoencoder #1: the same with `bcel`, and with the same sign on D's mean."""
    assert "same-target" in codes("D_fake = 'bcel(D(fake), 1)'", "G_GAN = 'bcel(D(fake), 1)'")
    assert "same-target" in codes("D_fake = 'mean(softplus(D(fake)))'", "G_GAN = 'mean(softplus(D(fake)))'")


def test_69_lazy_penalty_without_its_interval() -> None:
    """labml #161: `every` without `gain` is reported."""
    lazy = ("D/r1/Update.minimize = 'mean(square(grad(D(real), real)))'", "D/r1/Update.every = 32",
            "Schedule.updates = ['D', 'D/r1', 'G']")  # fmt: skip
    assert "lazy-gain" in codes(*lazy) and codes(*lazy, "D/r1/Update.gain = 32.0") == set()


# -- GP: gradient penalty -----------------------------------------------------------------------------------

GP = ("eps = 'uniform(batch_size, 1)'", "x_hat = 'eps * real + (1 - eps) * fake'",
      "gp = 'mean((norm(grad(D(x_hat), x_hat), dim=1) - 1) ** 2)'")  # fmt: skip
WITH_GP = "D/Update.minimize = 'D_fake + D_real + 10 * gp'"


def test_71_wgan_without_its_penalty() -> None:
    """pytorch-CycleGAN #1201: the objective without penalty or clamp is reported; with either it is not."""
    assert "wgan-unbounded" in codes("gan.mode = 'wgan'")
    assert codes("gan.mode = 'wgan'", *GP, WITH_GP) == set()
    assert codes("gan.mode = 'wgan'", "D/Network.clamp = (-0.01, 0.01)") == set()


def test_72_penalty_never_added() -> None:
    """GANs-for-1D-Signal #7: nothing reads it."""
    found = [f for f in findings(*GP) if f.code == "unused"]
    assert [f.message for f in found] == ["nothing reads `eps`", "nothing reads `x_hat`", "nothing reads `gp`"]


def test_74_penalty_without_a_backward() -> None:
    """mlpack #3063: `grad` is differentiable itself, so the penalty moves D."""
    plan = graph(*GP, WITH_GP)
    assert next(e for e in phase(plan, "D").evaluations if plan.nodes[e.node].kind == "grad").create_graph

    def loss(nets: dict[str, nn.Module], batch: dict[str, Tensor]) -> Tensor:
        x = batch["real"].clone().requires_grad_()
        slope = torch.autograd.grad(nets["D"](x).sum(), x, create_graph=True)[0]
        return ((slope.norm(dim=1) - 1) ** 2).mean()

    text = ("D/Update.minimize = 'gp'", "gp = 'mean((norm(grad(D(real), real), dim=1) - 1) ** 2)'")
    run = Run(*text, "Schedule.updates = ['D']", "G/Network.trainable = False").iterate()
    # the last bias has no part in a slope
    assert (run.change("D")[:-1] - _without_last(run, loss)).abs().max() < 1e-12 and run.change("D")[:-1].any()


def _without_last(run: Run, loss: object) -> Tensor:
    parameters = list(run.before["D"].parameters())[:-1]
    grads = torch.autograd.grad(loss(run.before, run.batch), parameters)  # type: ignore[operator]
    return -LR * torch.cat([g.flatten() for g in grads])


def test_76_interpolation_drawn_per_pixel() -> None:
    """PyTorch-GAN #5: a weight for each element is reported; one per sample is not."""
    assert "interpolation" in codes(*GP, WITH_GP, "eps = 'rand_like(real)'")
    assert "interpolation" not in codes(*GP, WITH_GP)


def test_77_accumulated_regulariser_reads_one_part_again() -> None:
    """stylegan2 PR #9: over microbatches each sample counts once, in the penalty as in the rest."""
    lines = ("D/Update.minimize = 'D_real + mean(sum(square(grad(D(real), real)), 1))'", "D_fake = 0")
    whole, parts = Run(*lines).iterate(), Run(*lines, "D/Update.microbatches = 2").iterate()
    assert close(parts.change("D"), whole.change("D"))


# -- SCHED --------------------------------------------------------------------------------------------------


def test_79_schedule_value_computed_and_another_used() -> None:
    """DCGAN-LSGAN-WGAN-GP-DRAGAN #10: nothing reads `c_iter`."""
    text = GAN + "n_critic = 5\nc_iter = 100\nD/Update.repeat = %n_critic\n"
    assert [f.message for f in findings(text=text) if f.code == "unused"] == ["nothing reads `c_iter`"]


def test_81_training_on_no_samples() -> None:
    """GraphGAN #13: the step fetches its batches itself, and refuses to go on when there are none."""
    run = Run(batches=1)
    run.step.batches = iter(run.batches)
    run.step()
    with pytest.raises(GanflowError, match="cannot be iterated again") as error:
        run.step()
    assert error.value.code == "no-batches"


def test_82_discriminators_own_step_counter_on_resume() -> None:
    """TensorFlowTTS #409: an update has no counter of its own; when it runs is a function of the one `step`."""
    run = Run("D/Update.when = 'step >= 2'")
    run.step.counters.step = 100  # as after a resume
    run.iterate()
    assert run.change("D").abs().max() > 0
    assert {n.target for n in run.step.graph.nodes.values() if n.kind == "counter"} == {"step"}


def test_84_scheduler_of_an_update_that_has_not_started() -> None:
    """Trainer PR #20: a learning rate is evaluated right before the step that it serves, and only there."""
    run = Run("D/Update.when = 'step >= 2'", "D/SGD.lr = '0.1 / (1 + step)'").iterate(2)
    assert not run.change("D").any() and run.step.hyperparameters()["lr/D"] == 0.1
    run.iterate()
    assert run.step.hyperparameters()["lr/D"] == pytest.approx(0.1 / 3)


# -- MODE ---------------------------------------------------------------------------------------------------


def test_86_unfreezing_what_the_user_froze() -> None:
    """pytorch-lightning #5292: freezing is undone to what it was, so a layer frozen by hand stays frozen."""
    run = Run()
    first = next(run.nets["D"].parameters())
    first.requires_grad_(False)
    again = Run(nets=run.nets)
    old, flags = first.clone(), [p.requires_grad for n in run.nets.values() for p in n.parameters()]
    again.iterate(2)
    assert torch.equal(first, old) and again.change("D").any()
    assert [p.requires_grad for n in again.nets.values() for p in n.parameters()] == flags


def test_87_freezing_without_compiling() -> None:
    """Keras-MNIST-GAN #2: G's update moves G alone; there is no flag that takes effect at another time."""
    run = Run("Schedule.updates = ['G']", "D/Network.trainable = False").iterate(2)
    assert not run.change("D").any() and run.change("G").any()


# -- LOG ----------------------------------------------------------------------------------------------------


def test_99_a_stale_variable_is_printed() -> None:
    """triwave33 PR #1: what is logged as the loss of an update is the value that was differentiated."""
    run = Run("Schedule.updates = ['G', 'D']").iterate(3)
    assert torch.allclose(run.logs["loss/G"], g_loss(run.before, run.batch))
    assert torch.allclose(run.logs["loss/D"], d_loss(run.before, run.batch))


# -- what the gradient probe measures -----------------------------------------------------------------------


class Spectrum(nn.Module):
    """A fixed feature of 3 numbers, whose magnitudes are cut where no graph shows it."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square().cumsum(1).data


class Recording(nn.Module):
    """A feature network whose hook hands on a detached copy."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.layer.register_forward_hook(lambda _module, _inputs, out: out.clone().detach())

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Heads(nn.Module):
    """A discriminator with a head that no output uses."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.auxiliary = nn.Linear(3, 1), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


FEATURES = (*MORE, "M/Network.trainable = False", "G/Update.minimize = 'G_GAN + mse(M(fake), M(real))'")
PROBE = {
    16: (Spectrum, "M", FEATURES, "HiFi-GAN #8: `magnitudes.data` in the mel spectrogram"),
    17: (Recording, "M", FEATURES, "open-genie #6: a hook that detaches"),
    52: (Heads, "D", (), "community-events PR #11: heads that no loss uses"),
}


@pytest.mark.parametrize("number", PROBE)
def test_what_only_a_run_shows(number: int) -> None:
    probe = pytest.importorskip("ganflow.probe", reason="the gradient probe is not there yet").probe
    module, name, lines, _ = PROBE[number]
    assert not _reported(probe(Run(*lines).step))
    assert _reported(probe(Run(*lines, nets={name: module().double()}).step))


def _reported(found: object) -> set[str]:
    return {f.code for f in getattr(found, "findings", found) if f.level != "note"}  # type: ignore[attr-defined]


def test_every_exhibit_is_here_once() -> None:
    tested = [int(m[1]) for name in globals() if (m := re.match(r"test_(\d+)_", name))]
    assert Counter([*tested, *PROBE, *WAITING, *EXCEPTED]) == Counter(EXHIBITS)
    assert len(EXHIBITS) == 60


# -- cures that make it worse -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cure",
    [
        pytest.param("gan(D(detach(fake)), True)", id="detach the fake"),
        pytest.param("detach(gan(D(fake), True))", id="detach the term"),
        pytest.param("gan(detach(D(fake)), True)", id="no_grad around D"),
    ],
)
def test_a_popular_wrong_cure_is_named_as_wrong(cure: str) -> None:
    found = [f for f in findings(f"G/Update.minimize = '{cure}'", "G_GAN = 0") if f.code.startswith("starved")]
    assert found and all("stops it from training anything" in f.hint for f in found)


def test_modulo_on_the_wrong_player() -> None:
    """The first answer in generative-inpainting-pytorch #11 inverts n_critic; that is reported for a critic."""
    wgan = ("gan.mode = 'wgan'", "D/Network.clamp = (-0.01, 0.01)")
    assert codes(*wgan, "G/Update.every = 5") == set()
    assert codes(*wgan, "D/Update.every = 5") == {"slow-critic"}


def test_the_right_cure_needs_nothing_written() -> None:
    assert codes() == set() and codes("G_GAN = 'gan(frozen(D)(fake), True)'") == set()


# -- must not be reported -----------------------------------------------------------------------------------

INNOCENT = {
    "a detach in D's loss": ("D_fake = 'gan(D(detach(fake)), False)'",),
    "no detach in D's loss": (),
    "D frozen in G's loss": ("G_GAN = 'gan(frozen(D)(fake), True)'",),
    "G anew in D's step": ("D/Update.fresh = ['fake']", "Schedule.updates = ['G', 'D']"),
    "halves of a relativistic loss trained apart": (
        "cf = 'D(fake)'", "cr = 'D(real)'", "G_GAN = 'gan(cf - mean(cr), True)'",
        "D_fake = 'gan(cf - mean(detach(cr)), False)'", "D_real = 'gan(cr - mean(detach(cf)), True)'",
    ),
    "an encoder that a term is not for": (
        "E/Network.module = @MLP()", "E/MLP.in_features = 3", "E/MLP.out_features = 2",
        "G/Update.minimize = 'G_GAN + l1(frozen(E)(fake), x) + l1(E(real), 0)'", "G/Update.trains = ['G', 'E']",
    ),
    "one loss, two owners, opposite signs": (
        "adv = 'gan(D(fake), False) + gan(D(real), True)'", "D/Update.minimize = 'adv'",
        "G/Update.minimize = '-gan(D(fake), False)'", "D_fake = 0", "D_real = 0", "G_GAN = 0",
    ),
    "gradient reversal": ("G/Update.minimize = '-D_fake'", "G_GAN = 0"),
    "batch statistics at evaluation": ("G/Network.eval_mode = 'train'",),
    "an image pool": ("D_fake = 'gan(D(pool(fake, 50)), False)'",),
    "hinge": (
        "D_fake = 'mean(relu(1 + D(fake)))'", "D_real = 'mean(relu(1 - D(real)))'", "G_GAN = '-mean(D(fake))'",
    ),
    "a term of weight 0": (
        "lambda_adv = 0.0", "G/Update.minimize = 'lambda_adv * G_GAN + l1(fake, real)'",
    ),
    "weights clipped after the step": ("gan.mode = 'wgan'", "D/Network.clamp = (-0.01, 0.01)"),
    "n_critic": ("G/Update.every = 5",),
    "smoothed labels": ("D_real = 'gan(D(real), 0.9)'", "D_fake = 'gan(D(fake), 0.1)'"),
    "least squares towards -1, 1 and 0": (
        "D_real = 'mse(D(real), 1)'", "D_fake = 'mse(D(fake), -1)'", "G_GAN = 'mse(D(fake), 0)'",
    ),
    "noise around real samples (DRAGAN)": (
        "x_hat = 'real + 0.5 * std(real) * rand_like(real)'",
        "D/Update.minimize = 'D_real + D_fake + 10 * mean((norm(grad(D(x_hat), x_hat), dim=1) - 1) ** 2)'",
    ),
    "an energy with a margin (EBGAN)": (
        "D/MLP.out_features = 3", "D_real = 'mse(D(real), real)'",
        "D_fake = 'relu(1 - mse(D(detach(fake)), detach(fake)))'", "G_GAN = 'mse(D(fake), fake)'",
    ),
    "both sides of a joint distribution (BiGAN)": (
        "E/Network.module = @MLP()", "E/MLP.in_features = 3", "E/MLP.out_features = 2", "D/MLP.in_features = 5",
        "D_real = 'gan(D(cat(real, E(real))), True)'", "D_fake = 'gan(D(cat(fake, x)), False)'",
        "G_GAN = 'gan(D(cat(fake, x)), True) + gan(D(cat(real, E(real))), False)'", "G/Update.trains = ['G', 'E']",
    ),
    "a helper that wants what G wants": (
        *MORE, "mi = 'mean(M(fake)) - log(mean(exp(M(real))))'", "M/Update.minimize = '-mi'",
        "G/Update.minimize = 'G_GAN - 0.1 * mi'", "Schedule.updates = ['D', 'M', 'G']",
    ),
    "a pre-training": (
        "pre/Update.minimize = 'l1(fake, real)'", "pre/Update.trains = ['G']", "pre/Update.when = 'step < 1000'",
        "G/Update.when = 'step >= 1000'", "D/Update.when = 'step >= 1000'", "Schedule.updates = ['pre', 'D', 'G']",
    ),
}  # fmt: skip


@pytest.mark.parametrize("claim", INNOCENT)
def test_what_is_right_is_at_most_noted(claim: str) -> None:
    found = inspect(load(*INNOCENT[claim])).findings
    assert [f for f in found if f.level == "error"] == []
    unread = {f"nothing reads `{n}`" for n in ("D_fake", "D_real", "G_GAN")}  # left over from the text below it
    assert [f for f in found if f.level == "warning" and f.message not in unread] == []


def test_a_weight_of_zero_is_a_note() -> None:
    found = findings(*INNOCENT["a term of weight 0"])
    assert [(f.level, f.code) for f in found] == [("note", "zero-weight")]
