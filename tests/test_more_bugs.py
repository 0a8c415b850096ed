"""Further published bugs, tried after the sixty of ``test_bugs.py``: impossible, reported, or measured.

A test is called after its thread: repository and number. ``UNDECIDABLE`` are those that are a legitimate experiment
under another intention, or that need knowledge of numbers that nobody declares; ``WAITING`` those of features that do
not exist yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bug_tools import GAN, LR, Run, called, close, codes, d_loss, findings, flat, g_loss, graph, load, made
from ganflow.draws import pool
from ganflow.errors import GanflowError
from ganflow.experiment import Diagnostic, Field
from ganflow.inspection import inspect
from ganflow.probe import probe
from zoo_networks import known, register

UNDECIDABLE = {
    "taming-transformers #57, diffusers #8226, vqvae PR #20": "beta on the other VQ term: legal, another weight",
    "IntelLabs coach PR #344, GNTPP #4": "a sum over the batch where a mean was meant: another learning rate",
    "keras-molecules #59": "a mean over the latent dims where a sum was meant; the built-in `kl` sums",
    "LiveSpeechPortraits #24": "D minimizes the feature matching loss: legal for a D that is to be smooth",
    "PyTorch-GAN #92": "one half of the relativistic average loss: the halves may be trained apart",
    "Soft-Actor-Critic-and-Extensions #2": "the actor follows one critic instead of the smaller: that is TD3",
    "RAE #25, pixelsplat #19, GaussianAvatars #100": "LPIPS of images in [0, 1]: ranges are not declared",
    "Super-SloMo #54": "VGG without its weights: a frozen random network is an experiment (RND)",
    "JORLDY #120": "a target network that is declared without `ema_of`: as above",
    "genforce #27": "noise that is a buffer: inside a module",
    "1d-tokenizer PR #120": "as taming-transformers #57",
    "DomainBed #101": "labels index the columns instead of picking one per row",
}
WAITING = {
    "pytorch-CycleGAN #139 under DataParallel": "DDP",
    "PTI #45": "DDP",
    "stylegan2_pytorch resume": "checkpoints",
}

MORE = ("M/Network.module = @MLP()", "M/MLP.in_features = 3", "M/MLP.out_features = 1")
UNREAD = {f"nothing reads `{n}`" for n in ("D_fake", "D_real", "G_GAN")}  # of the text below that a test replaces


@pytest.fixture(autouse=True)
def _networks() -> Iterator[None]:
    with known():
        yield


def found(code: str, *lines: str, text: str = GAN) -> str:
    """Message and hint of the finding with this code."""
    return next(f"{f.message}\n{f.hint}" for f in findings(*lines, text=text) if f.code == code)


def measured(*lines: str, **nets: nn.Module) -> dict[str, str]:
    """Code -> message and hint of what the probe reports of a run."""
    step = Run(*lines, nets={n: m.double() for n, m in nets.items()}).step
    return {f.code: f"{f.message}\n{f.hint}" for f in probe(step).findings if f.level != "note"}


def seen(*lines: str) -> tuple[Diagnostic, ...]:
    """Every finding where the data declares shapes, so that meta tensors show what they can."""
    fields = {"x": Field("x", (2,)), "real": Field("real", (3,))}
    return inspect(replace(load(*lines), fields=fields, trainer={"batch_size": 4})).findings


def shown(*lines: str) -> set[str]:
    return {f.code for f in seen(*lines) if f.level != "note"}


def images(*lines: str) -> set[str]:
    """Codes of a small CycleGAN on images, with domains and shapes."""
    text = (Path(__file__).parent / "golden" / "checks" / "cyclegan.gin").read_text()
    return codes(*lines, text=text)


# -- impossible ---------------------------------------------------------------------------------------------


def test_s3diff_25() -> None:
    """The generator's loss leaves a gradient in D: gradients are taken of what an update trains alone."""
    run = Run("Schedule.updates = ['G', 'D']", "G/Update.minimize = '100 * G_GAN + l1(fake, real)'").iterate(2)
    assert close(run.change("D"), run.expected("D", d_loss))


def test_pytorch_vqgan_3() -> None:
    """Both backwards through one retained graph: in a group each network steps on its own update's gradient."""
    run = Run("pred = 'D(fake)'", "D_fake = 'gan(pred, False)'", "G_GAN = 'gan(pred, True)'",
              "Schedule.updates = [('G', 'D')]").iterate(2)  # fmt: skip
    assert close(run.change("G"), run.expected("G", g_loss)) and close(run.change("D"), run.expected("D", d_loss))


def test_esrgan_pytorch_39() -> None:
    """g_optimizer stepped twice, d_optimizer never: who steps follows from who is trained."""
    assert [u.steps for u in graph().updates] == [("D",), ("G",)]


DDPG = """
A/Network.module = @MLP()
Q/Network.module = @MLP()
A/MLP.in_features = 2
A/MLP.out_features = 1
Q/MLP.in_features = 3
Q/MLP.out_features = 1
MLP.hidden = (4,)
MLP.activation = 'tanh'
Network.optimizer = @SGD
SGD.lr = 0.1
A_target/Network.ema_of   = 'A'
Q_target/Network.ema_of   = 'Q'
Network.ema_beta = 0.995
reward = 'real[:, :1]'
next_s = 'real[:, 1:]'
target = 'reward + 0.99 * Q_target(cat(next_s, A_target(next_s)))'
Q/Update.minimize = 'mse(Q(cat(x, reward)), target)'
A/Update.minimize = '-mean(Q(cat(x, A(x))))'
Schedule.updates  = ['Q', 'A']
"""


def test_ray_65125() -> None:
    """TQC: the actor's loss leaks into the critics. Here the critic moves by its own loss alone, the target by none."""
    assert codes(text=DDPG) == set()
    run = Run("Schedule.updates = ['A', 'Q']", text=DDPG).iterate()
    fixed = dict(run.before)

    def loss(nets: dict[str, nn.Module], batch: dict[str, Tensor]) -> Tensor:
        x, reward, after = batch["x"], batch["real"][:, :1], batch["real"][:, 1:]
        target = reward + 0.99 * fixed["Q"](torch.cat([after, fixed["A"](after)], 1)).detach()
        return (nets["Q"](torch.cat([x, reward], 1)) - target).square().mean()

    assert close(run.change("Q"), run.expected("Q", loss))


def test_skrl_425() -> None:
    """One gradient applied to both critics: two networks of one update each get their own."""
    run = Run(*MORE, "D/Update.minimize = 'D_real + mse(M(real), 0.5)'", "D/Update.trains = ['D', 'M']",
              "D_fake = 0").iterate()  # fmt: skip
    assert close(run.change("D"), run.expected("D", lambda nets, b: called(nets["D"](b["real"]), True)))
    assert close(run.change("M"), run.expected("M", lambda nets, b: (nets["M"](b["real"]) - 0.5).square().mean()))


def test_diffusers_1864() -> None:
    """The ramp overwrites the decay that it starts from: a beta is an expression, evaluated anew each time."""
    run = Run("E/Network.ema_of = 'G'", "E/Network.ema_beta = 'minimum(0.9999, (1 + step) / (10 + step))'")
    for step in range(4):
        old = flat(run.step.networks["E"])
        run.iterate()
        beta = (1 + step) / (10 + step)
        assert (flat(run.step.networks["E"]) - beta * old - (1 - beta) * flat(run.nets["G"])).abs().max() < 1e-12


def test_knowledge_distillation_pytorch_16() -> None:
    """Teacher outputs stored in another order than the batches: the teacher is called on this batch."""
    lines = (*MORE, "M/Network.trainable = False", "G/Update.minimize = 'G_GAN + mse(D(fake), M(real))'")
    assert made(graph(*lines), "G", "M(real)").mode == "no-grad"


def test_cyclegan_tensorflow_46() -> None:
    """A pool whose images are never replaced: here the first ones go."""
    state, first = None, torch.zeros(2, 1)
    generator = torch.Generator().manual_seed(0)
    for k in range(200):
        given, state = pool(first + k, 4, state=state, generator=generator)
    assert given.min() > 0 and state is not None


def test_pytorch_gan_71() -> None:
    """Graphs kept in the history buffer: what a pool gives and keeps has none."""
    x = torch.ones(2, 1, requires_grad=True)
    given, _ = pool(x * 2, 4, state=None, generator=torch.Generator())
    assert not given.requires_grad


def test_udacity_deep_learning_238() -> None:
    """Fake labels in the shape of the real logits: a target is a number, and takes the shape of its prediction."""
    short = torch.zeros(3, 1, requires_grad=True)
    from ganflow.losses import gan

    assert torch.isclose(gan(short, False), torch.tensor(math.log(2)))


def test_esrgan_tensorflow_4() -> None:
    """`real` overwritten before `fake` is compared with it: a name has one value, and this one is a cycle."""
    with pytest.raises(GanflowError) as error:
        findings("cr = 'D(real)'", "cf = 'D(fake)'", "cr = 'cr - mean(cf)'", "D_real = 'gan(cr, True)'",
                 text=GAN)  # fmt: skip
    assert error.value.code == "cycle"


def test_gan_transfer_limited_data_3() -> None:
    """The scheduler is stepped before the optimizer, so the first learning rate is skipped: not here."""
    run = Run("D/SGD.lr = '0.1 / 10 ** step'", "Schedule.updates = ['D']", "G/Network.trainable = False").iterate()
    assert close(run.change("D"), run.expected("D", d_loss)) and LR == 0.1


def test_model_zoo_147() -> None:
    """The KL term with a wrong formula: the built-in one is that of the distributions."""
    from ganflow.losses import kl

    mu, logvar = torch.randn(5, 3).double(), torch.randn(5, 3).double()
    one = torch.distributions.Normal(mu, (0.5 * logvar).exp())
    exact = torch.distributions.kl_divergence(one, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    assert torch.isclose(kl(mu, logvar), exact)


def test_vqgan_pytorch_25(tmp_path: Path) -> None:
    """Pretrained weights whose names do not fit are silently left out: loading is strict."""
    torch.save({"other.weight": torch.zeros(1)}, tmp_path / "lpips.pt")
    line = f"M/Network.load = '{tmp_path / 'lpips.pt'}'"
    with pytest.raises(GanflowError, match="cannot be used") as error:
        Run(*MORE, line, "M/Network.trainable = False", "G/Update.minimize = 'G_GAN + mse(M(fake), M(real))'")
    assert error.value.code == "bad-weights"


def test_dcgan_tensorflow_289() -> None:
    """Running statistics of G move in D's step: `buffers_in` says where they may."""
    lines = ("G/MLP.norm = 'batch'", "D/MLP.norm = 'none'", "Schedule.updates = ['D']", "G/Network.trainable = False",
             "G/Network.mode = 'train'")  # fmt: skip

    def moved(*more: str) -> bool:
        run = Run(*lines, *more)
        old = {n: b.clone() for n, b in run.nets["G"].named_buffers()}
        run.iterate()
        return any(not torch.equal(b, old[n]) for n, b in run.nets["G"].named_buffers())

    assert moved() and not moved("G/Network.buffers_in = []")


# -- reported: the objective --------------------------------------------------------------------------------

WGAN = ("D/Network.clamp = (-0.01, 0.01)", "D/Update.minimize = 'mean(D(fake)) - mean(D(real))'",
        "G/Update.minimize = '-mean(D(fake))'", "D_fake = 0", "D_real = 0", "G_GAN = 0")  # fmt: skip


def test_pytorch_wgan_53() -> None:
    """`g_loss.backward(one)`: the generator minimizes the critic's output."""
    assert "same-target" in codes(*WGAN, "G/Update.minimize = 'mean(D(fake))'")
    assert "same-target" not in codes(*WGAN)


def test_style_based_gan_pytorch_60() -> None:
    """The sign of the discriminator's loss is reversed."""
    assert "same-target" in codes(*WGAN, "D/Update.minimize = 'mean(D(real)) - mean(D(fake))'")


def test_gans_public_1() -> None:
    """Swapped labels in SRGAN: D and G want the same of a fake. Swapped everywhere they are as good as any."""
    assert "same-target" in codes("G_GAN = 'gan(D(fake), False)'")
    assert (
        codes("D_real = 'gan(D(real), False)'", "D_fake = 'gan(D(fake), True)'", "G_GAN = 'gan(D(fake), False)'")
        == set()
    )


RELATIVISTIC = ("cf = 'D(fake)'", "cr = 'D(real)'", "D_real = 'gan(cr - mean(cf), True)'",
                "D_fake = 'gan(cf - mean(cr), False)'")  # fmt: skip


def test_esrgan_pytorch_27() -> None:
    """The relativistic generator has the targets of the discriminator."""
    wrong = "G_GAN = 'gan(cr - mean(cf), True) + gan(cf - mean(cr), False)'"
    right = "G_GAN = 'gan(cr - mean(cf), False) + gan(cf - mean(cr), True)'"
    assert "same-target" in codes(*RELATIVISTIC, wrong) and codes(*RELATIVISTIC, right) == set()


def test_ashpy_23() -> None:
    """The generator behind the discriminator's hinge, by name and by formula."""
    assert "adv_g(D(fake), kind='hinge')" in found("hinge-generator", "gan.mode = 'hinge'")
    hinge = ("D_fake = 'mean(relu(1 + D(fake)))'", "D_real = 'mean(relu(1 - D(real)))'")
    assert codes(*hinge, "G_GAN = '-mean(relu(D(fake)))'") == {"hinge-generator"}
    assert codes(*hinge, "G_GAN = '-mean(D(fake))'") == set()
    assert codes("gan.mode = 'hinge'", "G_GAN = 'adv_g(D(fake), kind=\"hinge\")'") == set()
    halves = "G_GAN = 'gan(cf - mean(cr), True) + gan(cr - mean(cf), False)'"
    assert codes("gan.mode = 'hinge'", *RELATIVISTIC, halves) == set()


def test_attention_guided_cyclegan_7() -> None:
    """`disA(realB)` in disB's loss: D_B never sees anything real."""
    text = "D/Update.minimize = '0.5 * (gan(D_A(real_B), True) + gan(D_A(pool_B), False) + 2 * gan(D_A(real_A), True) + gan(D_B(pool_A), False))'"  # noqa: E501
    assert images() == set() and "same-target" in images(text)
    assert "needs real samples" in found("same-target", "D/Update.minimize = 'D_fake'", "D_real = 0")


def test_dal_1() -> None:
    """The gradient reversal is missing: the features help the domain classifier."""
    domain = ("D_real = 'bcel(D(G(real[:, :2])), 1)'", "D_fake = 'bcel(D(fake), 0)'", "G_GAN = 'l1(fake, real)'")
    assert codes(*domain, "G/Update.minimize = 'G_GAN + D_fake + D_real'") == {"same-target"}
    assert codes(*domain, "G/Update.minimize = 'G_GAN - D_fake - D_real'") == set()


def test_pytorch_dann_13() -> None:
    """`loss = class_loss - theta * domain_loss` over everything: the domain classifier is trained to be wrong."""
    lines = ("G/Update.minimize = 'l1(fake, real) - 0.1 * D_fake'", "G/Update.trains = ['G', 'D']",
             "Schedule.updates = ['G']", "G_GAN = 0", "D_real = 0")  # fmt: skip
    assert "drop the minus" in found("maximized", *lines)
    assert "maximized" not in codes(*lines, "G/Update.trains = ['G']", "D/Network.trainable = False")


def test_annotated_deep_learning_66() -> None:
    """The teacher's logits are compared with the teacher's."""
    assert "same-argument" in codes(
        *MORE, "M/Network.trainable = False", "t = 'M(real)'", "G/Update.minimize = 'G_GAN + mse(t, t)'"
    )
    assert "same-argument" in codes("G/Update.minimize = 'G_GAN + l1(fake, detach(fake))'")


def test_elegantrl_25() -> None:
    """`torch.min(q1, q1)`."""
    assert "takes `q1` twice" in found("same-argument", "q1 = 'D(fake)'", "G_GAN = '-mean(minimum(q1, q1))'")
    assert codes("G_GAN = '-mean(minimum(D(fake), D(fake)))'") == set()  # with dropout these are two values


CONDITIONAL = """
G/Network.module = @BigGANGenerator()
D/Network.module = @ProjectionDiscriminator()
G/BigGANGenerator.inputs = 2
Network.optimizer = @SGD
SGD.lr = 0.1
y    = 'randint(batch_size, 10)'
c    = 'randint(batch_size, 10)'
fake = 'G(x, y)'
D/Update.minimize = 'gan(D(fake, y), False) + gan(D(real, c), True)'
G/Update.minimize = 'gan(D(fake, y), True)'
Schedule.updates  = ['D', 'G']
"""


def test_pytorch_sngan_projection_23() -> None:
    """The fakes are judged beside labels that they were not made with."""
    assert codes(text=CONDITIONAL) == set()
    wrong = "D/Update.minimize = 'gan(D(fake, c), False) + gan(D(real, c), True)'"
    assert "made with `y`, beside `c`" in found("other-label", wrong, text=CONDITIONAL)
    both = ("fake = 'G(x, (y + c) % 10)'", wrong)  # the wanted label is made of both
    assert codes(*both, text=CONDITIONAL) == set()


def test_gcgan_2() -> None:
    """The cycle goes through the generator that it came from."""
    assert "domains" in images("cycle = 'l1(G_A(fake_B), real_A) + l1(G_A(fake_A), real_B)'")


# -- reported: gradients that are cut, values that nobody reads ---------------------------------------------


def test_streamvc_3() -> None:
    """`(fake - real).detach()` in the feature loss."""
    lines = (*MORE, "M/Network.trainable = False", "G/Update.minimize = 'G_GAN + mean(abs(detach(M(fake) - M(real))))'")
    assert "drop the detach" in found("starved-term", *lines)


def test_jax_vqvae_gpt_2() -> None:
    """The codebook's loss after the straight-through estimator: the codebook learns nothing."""
    lines = (*MORE, "M/MLP.out_features = 3", "q = 'M(real)'", "G/Update.trains = ['G', 'M']")
    after = "G/Update.minimize = 'G_GAN + mse(fake + detach(q - fake), detach(fake))'"
    assert "detach(q - fake)" in found("starved-network", *lines, after)
    assert codes(*lines, "G/Update.minimize = 'G_GAN + mse(q, detach(fake)) + 0.25 * mse(fake, detach(q))'") == set()


def test_r3gan_20() -> None:
    """The proposed cure, a detach around the penalty: it is a constant."""
    penalty = "detach(mean(sum(square(grad(D(real), real)), 1)))"
    assert "starved-term" in codes(f"D/Update.minimize = 'D_fake + D_real + {penalty}'")


def test_keras_gan_61() -> None:
    """argmax between generator and discriminator."""
    assert "has no gradient" in found("starved-term", "G_GAN = 'gan(D(one_hot(argmax(fake, 1), 3)), True)'")


def test_tts_419() -> None:
    """The feature matching loss is computed, and a condition that is always false leaves it out."""
    lines = (*MORE, "M/Network.trainable = False", "fm = 'l1(M(fake), M(real))'")
    assert [f.message for f in findings(*lines) if f.code == "unused"] == [
        "nothing reads `fm`",
        "nothing uses network M",
    ]


def test_ganimation_26() -> None:
    """A weight that no loss reads."""
    unread = [f.message for f in findings("lambda_idt = 0.5", "G/Update.minimize = 'G_GAN + l1(fake, real)'")]
    assert unread == ["nothing reads `lambda_idt`"]


def test_srgan_95() -> None:
    """VGG is trained with the generator: a trainable network in a loss has an owner, or is declared frozen."""
    assert "M/Network.trainable = False" in found(
        "no-owner", *MORE, "G/Update.minimize = 'G_GAN + mse(M(fake), M(real))'"
    )


def test_anomaly_xray_gans_2() -> None:
    """The penalty calls a discriminator of two arguments with one."""
    two = GAN.replace("D/Network.module = @MLP()", "D/Network.module = @Pair()").replace("D/MLP.", "#D/MLP.")
    text = two.replace("D(fake)", "D(fake, x)").replace("D(real)", "D(real, x)")
    gp = "D/Update.minimize = 'D_fake + D_real + mean((norm(grad(D(real), real), dim=1) - 1) ** 2)'"
    assert codes(text=text) == set() and "arguments" in codes(gp, text=text)


# -- reported: schedules, averages, states ------------------------------------------------------------------


def test_pytorch_lightning_gans_7() -> None:
    """`optimizer_idx % n_critic`: a period that counts nothing."""
    assert "step % 5 == 0" in found("never-changes", "n_critic = 5", "G/Update.when = '0 % n_critic == 0'")
    assert codes("n_critic = 5", "G/Update.when = 'step % n_critic == 0'") == set()


def test_rsgunet_6() -> None:
    """The label swap is a variable that nobody changes."""
    lines = ("swap/State.init = 0.0", "D_real = 'gan(D(real), 1 - swap)'")
    assert "stays 0.0" in found("never-changes", *lines)
    assert codes(*lines, "swap/State.next = '1.0 - swap'") == set()


def lasting(*lines: str) -> dict[str, str]:
    """Code -> message of what is said of a run of 3500 iterations."""
    return {f.code: f.message for f in findings(*lines, "Trainer.steps = 3500") if f.level != "note"}


def test_srgan_pytorch_1() -> None:
    """The scheduler is stepped per iteration, with numbers that are epochs."""
    decay = ("SGD.lr = @linear_decay()", "linear_decay.unit = 'step'")
    assert "0 in the second half" in lasting(*decay)["learning-rate"]
    assert not lasting(*decay, "linear_decay.constant = 1750", "linear_decay.decay = 1750")
    assert not lasting("SGD.lr = @linear_decay()")  # by epochs: how many there are is not known before the data


def test_villa_1495() -> None:
    """A cosine over epochs that counts iterations; and a schedule that falls on below 0."""
    cosine = "D/SGD.lr = '0.1 * 0.5 * (1 + cos(3.14159265358979 * minimum(1.0, step / {})))'"
    assert "learning-rate" in lasting(cosine.format(100)) and not lasting(cosine.format(3500))
    assert "uphill" in lasting("D/SGD.lr = '0.1 - 0.1 * step / 1000'")["learning-rate"]


def test_linear_decay_stays_at_zero() -> None:
    from ganflow.components import linear_decay
    from ganflow.step import Counters

    rate = linear_decay(start=1.0, constant=2, decay=3, unit="step")
    assert [rate(Counters(step=k)) for k in range(8)] == [1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0]


def test_rl_algorithms_47() -> None:
    """The soft update of TD3 the wrong way round: tau where the share that is kept is asked for."""
    target = ("E/Network.ema_of = 'G'",)
    assert "E/Network.ema_beta = 0.995" in found("ema", *target, "E/Network.ema_beta = 0.005")
    assert codes(*target, "E/Network.ema_beta = 0.995") == codes(*target, "E/Network.ema_beta = 0.5") == set()
    assert codes(*target, "E/Network.ema_beta = '0.0 if step % 100 == 0 else 1.0'") == set()  # DQN's hard copy


def test_ema_that_never_follows() -> None:
    assert "never follows" in found("ema", "E/Network.ema_of = 'G'", "E/Network.ema_beta = 1.0")
    with pytest.raises(GanflowError, match="from 0 to 1"):
        findings("E/Network.ema_of = 'G'", "E/Network.ema_beta = 99.9")


# -- reported: shapes and activations, on meta tensors or by the probe --------------------------------------


def test_wgan_gp_27() -> None:
    """caogang's penalty, also PyTorch-GAN #20 and pytorch-wgan #40: the norm of an image's gradient over channels."""
    gp = "G/Update.minimize = 'G_adv + 10 * cycle + 5 * idt + mean((norm({}) - 1) ** 2)'"
    assert "penalty-norm" in images(gp.format("grad(D_A(fake_B), fake_B), dim=1"))
    assert "penalty-norm" not in images(gp.format("flat(grad(D_A(fake_B), fake_B)), dim=1"))
    assert "penalty-norm" not in images(gp.format("grad(D_A(fake_B), fake_B), dim=(1, 2, 3)"))
    lipschitz = gp.replace("norm({})", "sqrt(sum(square(grad(D_A(fake_B), fake_B)), {}) + 1e-8)")
    assert "penalty-norm" in images(lipschitz.format("dim=1"))
    assert "penalty-norm" not in images(lipschitz.format("dim=(1, 2, 3)"))


def test_ciphergan_4() -> None:
    """One norm for the whole batch."""
    gp = "D/Update.minimize = 'D_fake + D_real + 10 * (norm(grad(D(real), real){}) - 1) ** 2'"
    assert "one number for the whole batch" in found("penalty-norm", gp.format(""))
    assert "penalty-norm" in codes(gp.format(", dim=0"))
    assert "penalty-norm" not in codes(gp.replace("10 * (", "10 * mean((").format(", dim=1").replace("** 2", "** 2)"))


def test_stylegan3_171() -> None:
    """N×1 with N is N×N, silently; in Q-learning it is the most common bug of all."""
    wrong = "D/Update.minimize = 'mean(softplus(-D(real)) + sum(square(grad(D(real), real)), 1))'"
    assert "every sample beside every other" in measured(wrong, "D_fake = 0", "D_real = 0")["broadcast"]
    right = "D/Update.minimize = 'mean(softplus(-D(real)) + flat(sum(square(grad(D(real), real)), 1)))'"
    assert "broadcast" not in measured(right, "D_fake = 0", "D_real = 0")
    q = ("y = 'real[:, 0]'", "D/Update.minimize = 'mean((D(real) - 0.99 * y) ** 2)'", "D_fake = 0", "D_real = 0")
    assert "flat(y)" in measured(*q)["broadcast"] or "flat(0.99 * y)" in measured(*q)["broadcast"]
    assert "broadcast" in shown(*q) and "broadcast" not in shown(*q, "y = 'real[:, :1]'")


class Ended(nn.Module):
    """A linear layer and what comes after it."""

    def __init__(self, outputs: int = 1, last: nn.Module | None = None) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(3, outputs), last or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layer(x))


def test_paddle_22085() -> None:
    """DCGAN: a sigmoid at the end of D, and another in the loss."""
    message = measured(D=Ended(last=nn.Sigmoid()))["activation"]
    assert "`gan` applies a sigmoid itself" in message and "use bce" in message
    assert not measured(D=Ended()) and "activation" in measured("D_fake = 'bcel(sigmoid(D(fake)), 0)'")
    bce = ("D_fake = 'bce(D(fake), 0)'", "D_real = 'bce(D(real), 1)'", "G_GAN = 'bce(D(fake), 1)'")
    assert not measured(*bce, D=Ended(last=nn.Sigmoid()))
    assert not measured("gan.mode = 'lsgan'", D=Ended(last=nn.Sigmoid()))


def test_pytorch_lightning_gans_9() -> None:
    """A softmax before the cross entropy, as in ACGANs and InfoGANs of half a dozen repositories."""
    lines = (
        *MORE,
        "M/MLP.out_features = 4",
        "G/Update.minimize = 'G_GAN + ce(M(fake), 2)'",
        "G/Update.trains = ['G', 'M']",
    )
    assert "applies a softmax itself" in measured(*lines, M=Ended(4, nn.Softmax(1)))["activation"]
    assert not measured(*lines) and not measured(*lines, M=Ended(4, nn.LogSoftmax(1)))


def test_talking_heads_42() -> None:
    """Hinge on probabilities."""
    lines = ("gan.mode = 'hinge'", "G_GAN = 'adv_g(D(fake), kind=\"hinge\")'")
    assert "any real number" in measured(*lines, D=Ended(last=nn.Sigmoid()))["activation"]


def test_mlpack_1813() -> None:
    """Cross entropy of probabilities, given logits."""
    wrong = ("D_real = 'bce(clamp(D(real), 0.01, 0.99), 1)'", "D_fake = 'bce(D(fake), 0)'")
    assert "activation" in shown(*wrong)


def test_shapegan_2() -> None:
    """The logarithm of a critic's score."""
    assert "activation" in shown("G_GAN = '-mean(log(D(fake)))'")


def test_alocc_3() -> None:
    """Real images in [0, 1] beside a tanh, as in the GAN of chapter 8.5 (deep-learning-with-python #7)."""
    tanh, sigmoid = (nn.Sequential(nn.Linear(2, 3), last) for last in (nn.Tanh(), nn.Sigmoid()))

    def ranges(shift: float, G: nn.Module, *lines: str) -> list[Diagnostic]:  # noqa: N803
        run = Run(*lines, nets={"G": G.double()})
        run.step.batches = [{"x": torch.randn(128, 2).double(), "real": torch.rand(128, 3).double() + shift}]
        return [f for f in probe(run.step).findings if f.code == "range"]

    (wrong,) = ranges(0.0, tanh)
    assert wrong.level == "warning" and "`fake` comes out of a tanh and goes from -1 to 1, and `real`" in wrong.message
    assert "end in a sigmoid" in wrong.hint and "end in a tanh" in ranges(-0.5, sigmoid)[0].hint
    assert not [*ranges(-0.5, tanh), *ranges(0.0, sigmoid), *ranges(0.0, nn.Linear(2, 3))]
    assert not ranges(0.0, tanh, "fake = '0.5 + 0.5 * G(x)'")


# -- reported: inside modules -------------------------------------------------------------------------------


@register
class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 1)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return self.layer(torch.cat([x, c], 1))


@register
class Teacher(nn.Module):
    def __init__(self, dropout: float = 0.0, norm: bool = False) -> None:
        super().__init__()
        self.layer, self.dropout = nn.Linear(3, 3), nn.Dropout(dropout)
        self.norm = nn.BatchNorm1d(3) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.dropout(self.layer(x)))


@register
class Layers(nn.Module):
    """Layers in a plain list; ``how`` is a better way."""

    def __init__(self, how: str = "list") -> None:
        super().__init__()
        self.first = nn.Linear(3, 1)
        layers = [nn.Linear(3, 3) for _ in range(2)]
        if how == "frozen":
            for layer in layers:
                layer.requires_grad_(False)
        self.layers = nn.ModuleList(layers) if how == "registered" else layers
        self.again = [self.first]  # a second way to something registered

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.first(x)


def test_knowlege_distillation_2() -> None:
    """`teacher.eval()` is missing: dropout is on, and the teacher's statistics follow the student's data."""
    lines = (
        "T/Network.module = @Teacher()",
        "T/Network.trainable = False",
        "G/Update.minimize = 'G_GAN + mse(fake, T(real))'",
    )
    for line in ("Teacher.norm = True", "Teacher.dropout = 0.1"):
        assert "T/Network.mode = 'eval'" in found("frozen-mode", *lines, line)
        assert (
            codes(*lines, line, "T/Network.mode = 'eval'") == codes(*lines, line, "T/Network.mode = 'train'") == set()
        )
    assert codes(*lines) == set()


def test_intro_dgm_6() -> None:
    """Layers in a Python list (pytorch #715): they are not parameters."""
    text = GAN.replace("D/Network.module = @MLP()", "D/Network.module = @Layers()").replace("D/MLP.", "#D/MLP.")
    assert "nn.ModuleList" in found("unregistered", text=text)
    assert codes("D/Layers.how = 'registered'", text=text) == codes("D/Layers.how = 'frozen'", text=text) == set()


# -- measured -----------------------------------------------------------------------------------------------


class NoGrad(Ended):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Data(nn.Module):
    """Its second layer is read as `weight.data`."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) @ self.b.weight.data.t() + self.b.bias


class Rounded(Ended):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).argmax(1, keepdim=True).to(x.dtype)


@register
def rebuilt(x: Tensor) -> Tensor:
    """A copy by way of Python numbers."""
    return torch.tensor(x.tolist(), dtype=x.dtype)


FEATURES = (*MORE, "M/Network.trainable = False", "G/Update.minimize = 'G_GAN + mse(M(fake), M(real))'")


def test_srgan_pytorch_37() -> None:
    """The forward pass is under `no_grad`."""
    assert "gradient-starved" in measured(*FEATURES, M=NoGrad()) and not measured(*FEATURES)


def test_drl_robot_navigation_12() -> None:
    """`self.layer_2.weight.data`: the layer is never trained."""
    assert "D.b.weight" in measured(D=Data())["unreached-parameters"]


def test_mobile_hair_segmentation_3() -> None:
    """argmax inside a module."""
    assert "inside `" in measured(*FEATURES, M=Rounded(2))["gradient-starved"]


def test_deep_hierarchical_classification_6() -> None:
    """A new tensor made of numbers, inside an op."""
    lines = (*FEATURES[:-1], "G/Update.minimize = 'G_GAN + mse(rebuilt(M(fake)), M(real))'")
    assert "rebuilt(M(fake))" in measured(*lines)["gradient-starved"]


# -- must not be reported -----------------------------------------------------------------------------------

E2 = ("E/Network.module = @MLP()", "E/MLP.in_features = 3", "E/MLP.out_features = 2")
FROZEN = (*MORE, "M/Network.trainable = False")
UNUSUAL = {
    "a discriminator on the generator's encoder": (
        *E2, "D/MLP.in_features = 2", "fake = 'G(E(real))'", "D_real = 'gan(D(E(real)), True)'",
        "D_fake = 'gan(D(E(fake)), False)'", "G_GAN = 'gan(D(E(fake)), True) + l1(fake, real)'",
        "G/Update.trains = ['G', 'E']",
    ),
    "a discriminator with two heads, trained apart": (
        *MORE, "M/Update.minimize = 'bcel(M(real), 1) + bcel(M(fake), 0)'", "Schedule.updates = [('D', 'M'), 'G']",
        "G/Update.minimize = 'G_GAN + bcel(M(fake), 1)'",
    ),
    "features of a frozen network": (*FROZEN, "G/Update.minimize = 'G_GAN + l1(M(fake), M(real))'"),
    "gradient reversal in one update": (
        "G/Update.minimize = 'l1(fake, real) - 0.1 * (D_fake + D_real)'", "G_GAN = 0",
    ),
    "a saturating generator": ("G/Update.minimize = '-gan(D(fake), False)'", "G_GAN = 0"),
    "maximized mutual information": (
        *MORE, "mi = 'mean(M(fake)) - log(mean(exp(M(real))))'", "G/Update.minimize = 'G_GAN - 0.1 * mi'",
        "M/Update.minimize = '-mi'", "Schedule.updates = ['D', 'M', 'G']",
    ),
    "self-distillation with a stopped gradient (SimSiam)": (
        *E2, "p = 'E(real)'", "q = 'E(real + 0.1 * randn_like(real))'",
        "E/Update.minimize = 'mse(p, detach(q)) + mse(q, detach(p))'", "Schedule.updates = ['E', 'D', 'G']",
    ),
    "two dropouts of one input (R-Drop)": (
        *E2, "E/Update.minimize = 'mse(E(real), E(real)) + mse(E(real), 0)'", "Schedule.updates = ['E', 'D', 'G']",
    ),
    "a moving average as teacher": (
        "T/Network.ema_of = 'G'", "T/Network.ema_beta = 0.99", "G/Update.minimize = 'G_GAN + mse(fake, T(x))'",
    ),
    "an average that is a copy": ("T/Network.ema_of = 'G'", "T/Network.ema_beta = 0.0",
                                  "G/Update.minimize = 'G_GAN + mse(fake, T(x))'"),
    "adversarial examples": (
        "clean = 'bcel(D(real), 1)'", "worst = 'real + 0.03 * sign(grad(clean, real))'",
        "D/Update.minimize = 'D_fake + bcel(D(worst), 1)'", "D_real = 0",
    ),
    "adversarial directions of unit length (VAT)": (
        "r = 'grad(mean(D(real) ** 2), real)'", "D_real = 'gan(D(real + 0.1 * r / (norm(r, 1, True) + 1e-8)), True)'",
    ),
    "two updates of one network with optimizers of their own": (
        "G/rec/Update.minimize = 'l1(fake, real)'", "G/rec/Update.optimizer = @Adam", "Adam.lr = 1e-3",
        "Schedule.updates = ['D', 'G', 'G/rec']",
    ),
    "weight decay written out": (
        "M/Network.module = @Teacher()", "G/Update.trains = ['G', 'M']",
        "G/Update.minimize = 'G_GAN + l1(M(fake), real) + 1e-4 * sum(square(M.layer.weight))'",
    ),
    "an adaptive weight from gradients (VQGAN)": (
        "M/Network.module = @Teacher()", "y = 'M(fake)'", "rec = 'l1(y, real)'", "last = 'M.layer.weight'",
        "G_GAN = 'gan(D(y), True)'", "G/Update.trains = ['G', 'M']", "D_fake = 'gan(D(y), False)'",
        "w = 'detach(clamp(norm(grad(rec, last)) / (norm(grad(G_GAN, last)) + 1e-4), 0, 1e4))'",
        "G/Update.minimize = 'rec + w * G_GAN'",
    ),
    "gradients brought to the norm of the average one": (
        "lip = 'norm(grad(D(real), real), dim=1)'",
        "D/Update.minimize = 'D_real + D_fake + mean((lip - mean(lip)) ** 2)'",
    ),
    "a penalty on embeddings": (
        *E2, "h = 'E(real)'", "D/MLP.in_features = 2", "D_real = 'gan(D(h), True)'",
        "D_fake = 'gan(D(E(fake)), False)'",
        "G_GAN = 'gan(D(E(fake)), True)'", "E/Network.trainable = False",
        "D/Update.minimize = 'D_real + D_fake + 10 * mean((norm(flat(grad(D(h), h)), dim=1) - 1) ** 2)'",
    ),
    "labels smoothed on one side, noisy on the other": (
        "D_real = 'bcel(D(real), 0.9)'", "D_fake = 'bcel(D(fake), 0.1 * uniform(batch_size, 1))'",
    ),
    "soft labels from a state": (
        "s/State.init = 0.0", "s/State.next = '0.9 * s + 0.01'", "D_real = 'gan(D(real), 1 - s)'",
    ),
    "several discriminators, one of them averaged": (
        *MORE, "M/Update.minimize = 'gan(M(real), True) + gan(M(fake), False)'", "Schedule.updates = ['D', 'M', 'G']",
        "G/Update.minimize = '0.5 * (G_GAN + gan(M(fake), True))'",
    ),
    "a discriminator trained in two updates, real and fake apart": (
        "D/Update.minimize = 'D_real'", "D/fake/Update.minimize = 'D_fake'", "D/fake/Update.trains = ['D']",
        "Schedule.updates = ['D', 'D/fake', 'G']",
    ),
    "wrong pairs as further fakes (GAN-CLS)": (
        "D/MLP.in_features = 5", "D_real = 'gan(D(cat(real, x)), True) + 0.5 * gan(D(cat(real, flip(x, 0))), False)'",
        "D_fake = '0.5 * gan(D(cat(fake, x)), False)'", "G_GAN = 'gan(D(cat(fake, x)), True)'",
    ),
    "confident on unlabelled data (SGAN entropy)": (
        "D/MLP.out_features = 4", "D_real = 'ce(D(real), 1)'", "D_fake = 'mean(softplus(logsumexp(D(fake), 1)))'",
        "G_GAN = '-mean(logsumexp(D(fake), 1))'",
    ),
    "random network distillation": (
        *FROZEN, *E2, "E/MLP.out_features = 1", "E/Update.minimize = 'mse(E(fake), M(fake))'",
        "G/Update.minimize = 'G_GAN - 0.01 * mse(E(fake), M(fake))'", "Schedule.updates = ['D', 'E', 'G']",
    ),
    "the smaller of two critics (TD3)": (
        *MORE, "q = 'minimum(D(fake), M(fake))'", "M/Update.minimize = 'mse(M(real), 1)'", "G_GAN = '-mean(q)'",
        "D_fake = 0", "D_real = 'mse(D(real), 1)'", "Schedule.updates = ['D', 'M', 'G']",
        "D/Update.minimize = 'D_real'",
    ),
    "an encoder that one update uses and does not train (StarGAN v2)": (
        *E2, "G/Update.minimize = 'G_GAN + l1(E(fake), x)'", "G/Update.trains = ['G', 'E']",
        "G/ref/Update.minimize = 'gan(D(G(E(real))), True)'", "G/ref/Update.trains = ['G']",
        "Schedule.updates = ['D', 'G', 'G/ref']",
    ),
    "a hinge in a generator's own loss": ("G/Update.minimize = 'G_GAN + mean(relu(abs(fake) - 1))'",),
    "activated features of another's encoder": (
        *E2, "E/Update.minimize = 'l1(E(real), x)'", "Schedule.updates = ['D', 'E', 'G']",
        "G/Update.minimize = 'G_GAN + mse(relu(E(fake)), relu(E(real)))'",
    ),
    "a triplet": (
        *E2, "G/Update.minimize = 'G_GAN + mean(relu(0.2 + abs(E(fake) - x) - abs(E(real) - x)))'",
        "E/Update.minimize = 'l1(E(real), x)'", "Schedule.updates = ['D', 'E', 'G']",
    ),
    "only what is far off is punished (EBGAN's margin)": (
        "D/MLP.out_features = 3", "e_fake = 'mse(D(fake), fake)'", "D_real = 'mse(D(real), real)'",
        "D_fake = 'relu(1 - e_fake)'", "G_GAN = 'e_fake'",
    ),
    "an update that a flag switches on": ("warm = True", "G/Update.when = 'warm and step >= 10'"),
    "a difference with what was": ("G/Update.minimize = 'G_GAN + mean((fake - detach(fake)) * x[:, :1])'",),
}  # fmt: skip


@pytest.mark.parametrize("program", UNUSUAL)
def test_what_is_unusual_is_not_suspected(program: str) -> None:
    """Not by a check, not on meta tensors, not by the probe."""
    lines = UNUSUAL[program]
    complaints = [f for f in seen(*lines) if f.level != "note" and f.message not in UNREAD]
    assert complaints == []
    assert measured(*lines).keys() <= {"gradient-zero"}  # a teacher that is still equal to its student, say
