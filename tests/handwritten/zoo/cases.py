"""The zoo's programs with small networks, and learning rates large enough that a mistake shows after a few iterations.

    case = CASES["wgan"]
    nets = case.build(stateful=False, seed=0)         # {"G": Generator, "D": Critic}, float64
    loop("wgan")(nets, case.batches(), Draws(), iterations=case.iterations, **case.settings)
    case.gin()         # the same as gin lines over zoo/wgan.gin: case.overrides, and the networks' sizes

``settings`` (the loop's arguments) and ``overrides`` (gin) say the same thing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import zoo_images as images
import zoo_networks as vectors

Sizes = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One program.

    Args:
        networks: name -> (class, its arguments); derived networks (EMA, unrolled) are not among them.
        fields: name -> shape without the batch, or the number of classes of an integer label.
        settings: keyword arguments of the hand-written loop.
        overrides: the same for ganflow, as gin lines.
        sites: every place where the program draws, as language.md §4 names it.
        renamed: networks whose class has another name in the program.
    """

    networks: Mapping[str, tuple[Callable[..., nn.Module], Sizes]]
    fields: Mapping[str, tuple[int, ...] | int]
    settings: Sizes
    overrides: tuple[str, ...]
    sites: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()
    iterations: int = 7
    batch_size: int = 8
    epoch: int = 3

    def build(self, *, stateful: bool = False, seed: int = 0) -> dict[str, nn.Module]:
        """New networks, the same every time; the global generator is left alone."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made = {n: cls(**sizes, stateful=stateful).double() for n, (cls, sizes) in self.networks.items()}
        return made

    def batches(self, *, seed: int = 0) -> list[dict[str, Tensor]]:
        """One epoch."""
        g = torch.Generator().manual_seed(seed)

        def one(shape: tuple[int, ...] | int) -> Tensor:
            if isinstance(shape, int):
                return torch.randint(shape, (self.batch_size,), generator=g)
            return torch.randn(self.batch_size, *shape, generator=g, dtype=torch.float64)

        return [{n: one(shape) for n, shape in self.fields.items()} for _ in range(self.epoch)]

    def gin(self, *, stateful: bool = False) -> list[str]:
        """Lines to lay over the program: hyper-parameters, and networks as :meth:`build` makes them."""
        lines = list(self.overrides)
        for name, (cls, sizes) in self.networks.items():
            if name in self.renamed:
                lines.append(f"{name}/Network.module = @{cls.__name__}()")
            given = {**sizes, "stateful": stateful}
            lines += [f"{name}/{cls.__name__}.{key} = {value!r}" for key, value in given.items()]
        return lines


def loop(program: str) -> Callable[..., dict[str, Any]]:
    """The hand-written ``train`` of a program."""
    return importlib.import_module(f"{__package__}.{program}").train


VECTOR = {"real": (6,)}
PAIR = {"real_A": (2, 8, 8), "real_B": (2, 8, 8)}
LR = ("Adam.lr = 1e-2", "Adam.eps = 1e-3")


def _gan(nz: int, critic: Callable[..., nn.Module], **sizes: Any) -> dict[str, tuple]:
    return {"G": (vectors.Generator, {"inputs": nz}), "D": (critic, sizes)}


CASES: dict[str, Case] = {
    "gan": Case(_gan(100, vectors.Discriminator), VECTOR, {"lr": 1e-2, "eps": 1e-3}, LR, ("z",)),
    "lsgan": Case(_gan(100, vectors.Discriminator, probability=False), VECTOR, {"lr": 1e-2, "eps": 1e-3}, LR, ("z",)),
    "wgan": Case(
        _gan(100, vectors.Critic, scale=0.02), VECTOR, {"lr": 1e-3, "n_critic": 2},
        ("RMSprop.lr = 1e-3", "n_critic = 2"), ("z",), iterations=12, epoch=5,
    ),
    "wgan_gp": Case(
        _gan(100, vectors.Critic), VECTOR, {"lr": 1e-2, "eps": 1e-3, "n_critic": 2}, (*LR, "n_critic = 2"),
        ("z", "eps"), iterations=12, epoch=5,
    ),
    "wgan_gp_original": Case(_gan(128, vectors.Critic), VECTOR, {"lr": 1e-2, "eps": 1e-3}, LR, ("z", "eps")),
    "hinge_sngan": Case(
        {"G": (vectors.BigGANGenerator, {}), "D": (vectors.ProjectionDiscriminator, {"bias": False})},
        {"real": (6,), "y": 10}, {"G_lr": 5e-3, "D_lr": 1e-2, "eps": 1e-3, "ema_beta": 0.9, "ema_start": 3},
        ("G/Adam.lr = 5e-3", "D/Adam.lr = 1e-2", "Adam.eps = 1e-3",
         "G_ema/Network.ema_beta = '0.9 if step >= 3 else 0.0'"),
        ("z", "y_f"), epoch=4,
    ),
    "cyclegan": Case(
        {"G_A": (images.SmallResnet, {}), "G_B": (images.SmallResnet, {}), "D_A": (images.SmallPatch, {}),
         "D_B": (images.SmallPatch, {})},
        PAIR, {"lr": 1e-2, "eps": 1e-3}, LR, ("pool_B", "pool_A"), ("G_A", "G_B", "D_A", "D_B"), batch_size=16,
    ),
    "began": Case(_gan(62, vectors.AutoEncoder), VECTOR, {"lr": 1e-2, "eps": 1e-3}, LR, ("z",)),
    "infogan": Case(
        {"G": (vectors.Generator, {"inputs": 74}), "D": (vectors.InfoDiscriminator, {})},
        VECTOR, {"lr": 1e-2, "eps": 1e-3}, LR, ("z", "c", "s"),
    ),
    "stylegan2_ada": Case(
        {"G": (images.StyleGAN2Generator, {}), "D": (images.StyleGAN2Discriminator, {})},
        {"real": (2, 8, 8)}, {"G_lr": 1e-2, "D_lr": 8e-3, "eps": 1e-3, "p_init": 0.5},
        ("G/Adam.lr = 1e-2", "D/Adam.lr = 8e-3", "Adam.eps = 1e-3", "p/State.init = 0.5"),
        ("z", "ws#1", "ws#2", "lf", "lr_", "noise"), iterations=18,
    ),
    "aae": Case(
        {"E": (vectors.Encoder, {}), "Dec": (vectors.Decoder, {"inputs": 10}),
         "D": (vectors.LatentDiscriminator, {"inputs": 10})},
        VECTOR, {"lr": 1e-2, "eps": 1e-3}, LR, ("prior",),
    ),
    "bicyclegan": Case(
        {"G": (images.SmallUNet, {"nz": 8}), "E": (images.ResnetEncoder, {}), "D": (images.MsDiscriminator, {}),
         "D2": (images.MsDiscriminator, {})},
        PAIR, {"lr": 1e-2, "eps": 1e-3}, LR, ("z_e", "z_r"), ("G",),
    ),
    "cut": Case(
        {"G": (images.SmallResnet, {}), "F": (images.PatchSampleMLP, {"patches": 16}), "D": (images.SmallPatch, {})},
        PAIR, {"lr": 1e-2, "eps": 1e-3}, LR, ("G.minimize/nce#1", "G.minimize/nce#2"), ("G", "D"), batch_size=4,
    ),
    "pix2pix": Case(
        {"G": (images.SmallUNet, {}), "D": (images.SmallPatch, {"in_channels": 4})},
        PAIR, {"lr": 1e-2, "eps": 1e-3}, LR, renamed=("G", "D"),
    ),
    "pix2pixhd": Case(
        {"G": (images.GlobalGenerator, {}), "D": (images.MultiscaleDiscriminator, {}),
         "VGG": (images.VGG19Features, {})},
        {"label": (2, 8, 8), "image": (2, 8, 8)}, {"lr": 1e-2, "eps": 1e-3}, LR,
    ),
    "r3gan": Case(
        {"G": (vectors.R3Generator, {"inputs": 64}), "D": (vectors.R3Discriminator, {})},
        {"real": (6,), "y": 10}, {"lr": 1e-2, "eps": 1e-3, "ema_nimg": 20.0}, (*LR, "ema_nimg = 20.0"), ("z",),
    ),
    "unrolled": Case(
        _gan(256, vectors.Discriminator, probability=False), VECTOR, {"lr": 1e-2, "eps": 1e-3, "unroll_lr": 0.1},
        (*LR, "Dk/Network.unroll_lr = 0.1"), ("z",),
    ),
    "vaegan": Case(
        {"E": (vectors.Encoder, {"outputs": 128, "gaussian": True}), "Dec": (vectors.Decoder, {"inputs": 128}),
         "D": (vectors.FeatureDiscriminator, {})},
        # eps: batch norm in D leaves the bias of Dec's head a gradient of rounding errors, which RMSprop would blow up
        {"x": (6,)}, {"lr": 5e-3, "eq": 0.7, "eps": 1e-5}, ("RMSprop.lr = 5e-3", "RMSprop.eps = 1e-5", "eq = 0.7"),
        ("z", "zp"), iterations=12,
    ),
    "vqgan": Case(
        {"G": (images.VQAutoEncoder, {}), "D": (images.NLayerDiscriminator, {"bias": False}), "P": (images.LPIPS, {})},
        {"x": (2, 8, 8)}, {"lr": 1e-2, "eps": 1e-3, "disc_start": 3}, (*LR, "disc_start = 3"),
    ),
}  # fmt: skip
