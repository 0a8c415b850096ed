"""Mistakes that one makes in these loops, each of which must move the result: a comparison that passes them is blind.

    train = mutated("began", "target-detached")     # the loop of began.py with a piece of its text replaced
    train(nets, batches, Draws(), iterations=7)

A program's table maps the name of a mistake to (text, replacement) or (text, replacement, text, replacement); a text
occurs exactly once in the file. A change of any one draw site needs no table: ``Draws(changed="z")``.

A detach that is dropped where a textbook loop zeroes all gradients before the next backward costs work and changes no
number (gan, lsgan, wgan, cyclegan, ...): the tables have the mistakes that people make around it (`fake` made again
after G's step, a zero_grad forgotten), and a dropped detach where it does change the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

Mutation = tuple[str, ...]

KEEP = ("loss.backward()", "loss.backward(retain_graph=True)")

_TABLE: dict[str, dict[str, Mutation]] = {
    "gan": {
        "fake-after-step": ("D(fake.detach())", "D(G(z).detach())"),
        "not-halved": ("D_loss = 0.5 *", "D_loss ="),
        "saturating": ("G_loss = bce(D(fake), 1.0)", "G_loss = -bce(D(fake), 0.0)"),
        "D-not-zeroed": ("        D_optimizer.zero_grad()\n", ""),
        "z-redrawn": ("D(fake.detach())", 'D(G(draw("z", "randn", len(real), nz)).detach())'),
    },
    "lsgan": {
        "fake-after-step": ("D(fake.detach())", "D(G(z).detach())"),
        "not-halved": ("D_loss = 0.5 *", "D_loss ="),
        "smoothed": ("mse(D(real), 1.0)", "mse(D(real), 0.9)"),
        "G-not-zeroed": ("        G_optimizer.zero_grad()\n", ""),
    },
    "wgan": {
        "step-instead-of-epoch-step": ("if epoch_step % n_critic", "if step % n_critic"),
        "not-clipped": ("p.clamp_(-clip, clip)", "pass"),
        "z-redrawn": ("G_loss = -D(fake).mean()", 'G_loss = -D(G(draw("z", "randn", len(real), nz))).mean()'),
        "sign": ("G_loss = -D", "G_loss = D"),
    },
    "wgan_gp": {
        "step-instead-of-epoch-step": ("if epoch_step % n_critic", "if step % n_critic"),
        "no-inner-graph": ("create_graph=True, retain_graph=True", "create_graph=False, retain_graph=True"),
        "weight": ("lambda_gp * gradient_penalty", "1.1 * lambda_gp * gradient_penalty"),
        "real-and-fake-swapped": ("(eps * real + (1 - eps) * fake)", "(eps * fake + (1 - eps) * real)"),
    },
    "wgan_gp_original": {
        "G-in-the-first": ("if step > 0:", "if step >= 0:"),
        "one-batch": ("            real = next(data)", "            real = real if _ else next(data)"),
        "z-shared-with-G": (
            '            z = draw("z", "randn", batch_size, nz)\n            eps',
            '            z = z if step and not _ else draw("z", "randn", batch_size, nz)\n            eps',
        ),
        "no-inner-graph": ("create_graph=True", "create_graph=False, retain_graph=True"),
    },
    "hinge_sngan": {
        "vanilla-G": ("-D(G(z, y_f), y_f).mean()", "-torch.sigmoid(D(G(z, y_f), y_f)).log().mean()"),
        "one-batch": ("            batch = next(data)", "            batch = batch if _ else next(data)"),
        "z-shared": ('\n        z = draw("z", "randn", len(real), nz)\n        y_f', "\n        y_f"),
        "y-shared": ('\n        y_f = draw("y_f", "randint", len(real), nc)\n        G_opt', "\n        G_opt"),
        "ema-late": ("step >= ema_start", "step > ema_start"),
    },
    "cyclegan": {
        "no-pool": ("mse(D_A(pool_B), 0.0)", "mse(D_A(fake_B.detach()), 0.0)"),
        "fake-after-step": ("query(stored_A, fake_A,", "query(stored_A, G_B(real_B),"),
        "cycle-detached": ("rec_A = G_B(fake_B)", "rec_A = G_B(fake_B.detach())"),
        "weight": ("idt_A = lambda_B", "idt_A = 1.01 * lambda_B"),
        "not-halved": ("D_B_loss = 0.5 *", "D_B_loss ="),
    },
    "began": {
        "target-detached": ("G_loss = l1(D(fake), fake)", "G_loss = l1(D(fake), fake.detach())"),
        "k-from-after-step": ("gamma * d_real.item()", "gamma * l1(D(real), real).item()"),
        "k-added": ("D_loss = d_real - k", "D_loss = d_real + k"),
        "fake-after-step": ("l1(D(fake.detach()), fake.detach())", "l1(D(G(z).detach()), G(z).detach())"),
    },
    "infogan": {
        "adams-shared": (
            "        info_optimizer.step()\n",
            "        G_optimizer.step()\n        D_optimizer.step()\n",
        ),
        "not-redrawn": (
            "info_optimizer.zero_grad()\n        z, c, s = latent(draw, len(real), nz, nc, ncode)\n",
            "info_optimizer.zero_grad()\n",
        ),
        "weight": ("0.1 * mse(code, s)", "0.2 * mse(code, s)"),
        "fake-detached": ("(z.dtype), s))", "(z.dtype), s).detach())"),
    },
    "stylegan2_ada": {
        "running-mean-detached": ("(lengths - new_mean)", "(lengths - new_mean.detach())"),
        "no-gain": ("(penalty * pl_weight * 4)", "(penalty * pl_weight)"),
        "no-r1-gain": ("(r1_gamma / 2) * 16", "(r1_gamma / 2)"),
        "r1-after-aug": (
            "leaf = real.detach().requires_grad_(True)",
            'leaf = draw("lr_", "aug", real, p).requires_grad_(True)',
            'D(draw("lr_", "aug", leaf, p))', "D(leaf)",
        ),
        "p-always-down": ("(1 if signs / 4 > 0.6 else -1)", "(-1)"),
        "images-of-next": ("i * n * 0.05", "(i + 1) * n * 0.05"),
        "pl-on-whole-batch": ("nz)[: n // 2]", "nz)"),
        "signs-never-reset": ("(signs if i % 4 else 0.0)", "signs"),
    },
    "aae": {
        "weight": ("0.001 * adversarial", "0.01 * adversarial"),
        "code-after-step": ("D(code.detach())", "D(E(real).detach())"),
        "D-not-zeroed": ("        D_optimizer.zero_grad()\n", ""),
        "code-detached": ("Dec(code)", "Dec(code.detach())"),
        "not-halved": ("D_loss = 0.5 *", "D_loss ="),
    },
    "bicyclegan": {
        "E-not-frozen": ("with frozen(E):", "with frozen():"),
        "E-without-gradient": ("found, _ = E(f_r)", "found, _ = E(f_r.detach())"),
        "kl-averaged": ("lambda_kl * kl_divergence(mu, logvar)", "lambda_kl * kl_divergence(mu, logvar) / h"),
        "D2-on-first-half": ("D2(B2)", "D2(B1)"),
        "halved": ("D_loss = adversarial(D(f_e.detach()), 0.0)", "D_loss = 0.5 * adversarial(D(f_e.detach()), 0.0)"),
    },
    "cut": {
        "keys-attached": ("    with torch.no_grad():\n        keys", "    with frozen():\n        keys"),
        "other-places": ("keys = F(G.encode(source, layers), ids)", "keys = F(G.encode(source, layers), permute(q))"),
        "not-halved": ("0.5 * lambda_NCE", "lambda_NCE"),
        "D-last": (
            "        D_optimizer.step()\n", "",
            "        F_optimizer.step()\n", "        F_optimizer.step()\n        D_optimizer.step()\n",
        ),
    },
    "pix2pix": {
        "not-halved": ("D_loss = 0.5 *", "D_loss ="),
        "weight": ("+ lambda_A * l1(fake_B", "+ 0.1 * lambda_A * l1(fake_B"),
        "fake-detached-for-G": (
            "pred_fake = D(torch.cat((real_A, fake_B), 1))",
            "pred_fake = D(torch.cat((real_A, fake_B.detach()), 1))",
        ),
        "D-last": (
            "        D_optimizer.step()\n", "",
            "        G_optimizer.step()\n", "        G_optimizer.step()\n        D_optimizer.step()\n",
        ),
        "D-not-zeroed": ("        D_optimizer.zero_grad()\n", ""),
    },
    "pix2pixhd": {
        "alternating": (
            "        D_loss.backward()\n        G_optimizer.step()\n",
            "        G_optimizer.step()\n"
            "        pred_pool = D(torch.cat((label, G(label)), 1).detach())\n"
            "        D_loss = 0.5 * (adversarial(pred_pool, 0.0) + adversarial(pred_real, 1.0))\n"
            "        D_loss.backward()\n",
        ),
        "features-attached": ("real[i][j].detach()", "real[i][j]", "G_" + KEEP[0], "G_" + KEEP[1]),
        "fake-attached": (
            "torch.cat((label, fake), 1).detach()", "torch.cat((label, fake), 1)", "G_" + KEEP[0], "G_" + KEEP[1],
        ),
        "logits-matched-too": ("range(len(fake[i]) - 1)", "range(len(fake[i]))"),
        "not-halved": ("D_loss = 0.5 *", "D_loss ="),
    },
    "r3gan": {
        "one-batch": (
            '        batch = next(data)\n        real, y = batch["real"], batch["y"]\n        G_opt', "        G_opt",
        ),
        "no-r2": (" + squared_slope(cf, fake)", ""),
        "not-halved": ("at(gamma, now) / 2", "at(gamma, now)"),
        "not-relativistic": ("F.softplus(cr - cf).mean()", "F.softplus(-cf).mean()"),
        "no-inner-graph": ("create_graph=True", "retain_graph=True"),
    },
    "unrolled": {
        "no-second-order": ("list(here.values()), create_graph=True", "list(here.values()), retain_graph=True"),
        "fewer-steps": ("for _ in range(steps)", "for _ in range(steps - 1)"),
        "fake-detached-inside": ("at | buffers, (x,)), real, fake)", "at | buffers, (x,)), real, fake.detach())"),
        "fake-after-step": ("loss_of(D, real, fake.detach())", "loss_of(D, real, G(z).detach())"),
    },
    "vaegan": {
        "Dec-always": ("train_Dec = not too_bad or too_good", "train_Dec = True"),
        "D-always": ("train_D = not too_good or too_bad", "train_D = True"),
        "weight": ("Dec_loss = 1e-6 * rec", "Dec_loss = 1e-3 * rec"),
        "one-sum": ("inputs=list(E.parameters()), retain_graph=True", "retain_graph=True"),
        "gates-swapped": (
            "        if train_Dec:\n            Dec_optimizer", "        if train_D:\n            Dec_optimizer",
        ),
    },
    "vqgan": {
        "not-run-again": ("        with torch.no_grad():\n            rec, _ = G(x)\n", "        rec = rec.detach()\n"),
        "weight-attached": (
            "1e4).detach()", "1e4)",
            "autograd.grad(nll, last, retain_graph", "autograd.grad(nll, last, create_graph",
            "autograd.grad(g, last, retain_graph", "autograd.grad(g, last, create_graph",
        ),
        "on-late": ("step >= disc_start", "step > disc_start"),
        "D-waits": ("        D_optimizer.step()", "        D_optimizer.step() if on else None"),
        "not-halved": ("on * 0.5 * (real_loss", "on * (real_loss"),
    },
}  # fmt: skip

MUTATIONS: Mapping[str, Mapping[str, Mutation]] = MappingProxyType(_TABLE)


def mutated(program: str, name: str) -> Callable[..., dict[str, Any]]:
    """A program's ``train`` with one mistake in it."""
    path = Path(__file__).with_name(f"{program}.py")
    text = path.read_text(encoding="utf-8")
    change = MUTATIONS[program][name]
    for old, new in zip(change[::2], change[1::2], strict=True):
        if text.count(old) != 1:
            raise ValueError(f"{program}, {name}: {old!r} occurs {text.count(old)} times")
        text = text.replace(old, new)
    module = ModuleType(f"{__package__}.{program}_mutated")
    module.__package__ = __package__
    exec(compile(text, f"{path} with {name}", "exec"), module.__dict__)
    return module.train
