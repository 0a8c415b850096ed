"""What gin files can name without an import: networks, optimizers, ops, datasets, and ganflow's own declarations.

register()        # once per process; makes @UNetGenerator(), gan.mode, Network.optimizer, ... known to gin
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gin
import torch

from ganflow import draws, losses, nn, ops, shapes
from ganflow.data.earth import earth
from ganflow.errors import GanflowError
from ganflow.experiment import COUNTERS

MODULE = "ganflow"
OPTIMIZERS = ("Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam")
NETWORKS = ("UNetGenerator", "ResnetGenerator", "PatchDiscriminator", "MLP")


@dataclass(frozen=True)
class BuiltinOp:
    """An op of the library: the function, and what the scheduler must know of it."""

    function: Callable[..., Any]
    kind: Literal["pure", "random", "stateful"]
    host: bool
    host_result: bool


def builtin_ops() -> Mapping[str, BuiltinOp]:
    """Every op of the library by name."""
    infos = (*ops.OPS, *shapes.OPS, *losses.OPS, *draws.OPS)
    return {i.name: BuiltinOp(i.function, i.kind, i.host, i.host_result) for i in infos}


def Network(module=None, optimizer=None, init=None, trainable=True, mode=None, eval_mode="eval", clamp=None,  # noqa: N802
            ema_of=None, ema_beta=None, ema_buffers="copy", unroll_of=None, unroll_minimize=None, unroll_steps=0,
            unroll_lr=0.0, unroll_first_order=False, buffers_in=None, load=None):  # fmt: skip  # type: ignore[no-untyped-def]
    """A network; read by ``config.py``, never called."""


def Update(minimize=None, trains=None, when=None, every=1, repeat=1, fresh=(), repeat_fresh="*", optimizer=None,  # noqa: N802
           gain=1.0, nan_to_num=False, clip_norm=None, clip_value=None, microbatches=1):  # fmt: skip  # type: ignore[no-untyped-def]
    """An update; read by ``config.py``, never called."""


def State(init=0.0, next=None, after=None, when=None):  # noqa: A002, N802  # type: ignore[no-untyped-def]
    """A state; read by ``config.py``, never called."""


def adv(kind="vanilla", scales="sum"):  # type: ignore[no-untyped-def]
    """What `adv_d` and `adv_g` share, so that one binding serves both; read by ``config.py``, never called."""


def Schedule(updates=()):  # noqa: N802  # type: ignore[no-untyped-def]
    """The order of the updates; read by ``config.py``, never called."""


def Trainer(data=None, steps=None, epochs=None, batch_size=1, seed=0, device="auto", log_every=50, sample_every=500,  # noqa: N802
            eval_every=1000, checkpoint_every=1000, keep_last=2, keep_best=None, watch_every=500, cut_norms=True,
            histograms=True, health=True, show=(), metrics=None, eval_networks=None, samples=8, precision="float32",
            compile=False, workers=0, probe=True, deterministic=False, on_nonfinite="stop"):  # fmt: skip  # noqa: A002  # type: ignore[no-untyped-def]
    """The loop; read by ``config.py``, never called."""


def Ablation(variants=None, grid=None, exclude=(), seeds=(0, 1, 2), metrics=()):  # noqa: N802  # type: ignore[no-untyped-def]
    """Variants of an experiment and seeds; read by ``ablation/reading.py``, never called."""


@dataclass(frozen=True)
class linear_decay:  # noqa: N801
    """A learning rate that is constant, then falls linearly to 0, and stays there.

        Adam.lr = @linear_decay()
        linear_decay.start = 2e-4
        linear_decay.constant = 100       # epochs
        linear_decay.decay = 100          # epochs over which it falls to 0

    As in pix2pix and CycleGAN. Evaluated before each step from ``epoch`` (or ``step``, with ``unit = 'step'``).
    """

    start: float = 2e-4
    constant: int = 100
    decay: int = 100
    unit: str = "epoch"

    def __post_init__(self) -> None:
        if self.unit not in COUNTERS:
            raise GanflowError(f"linear_decay.unit is {self.unit!r}", hint=f"it takes one of {', '.join(COUNTERS)}",
                               code="bad-parameter")  # fmt: skip
        for name in ("start", "constant", "decay"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise GanflowError(f"linear_decay.{name} is {value!r}", hint="it takes a number from 0",
                                   code="bad-parameter")  # fmt: skip

    def __call__(self, counters: Any) -> float:
        done = getattr(counters, self.unit)
        return self.start * max(0.0, 1.0 - max(0, done - self.constant + 1) / (self.decay + 1))


DECLARATIONS = (Network, Update, State, Schedule, Trainer, Ablation, adv)


@functools.cache
def register() -> None:
    """Make the built-ins known to gin. Safe to call again."""
    for declaration in DECLARATIONS:
        gin.external_configurable(declaration, module=MODULE)
    for name in NETWORKS:
        gin.external_configurable(getattr(nn, name), name, module=MODULE)
    for name in OPTIMIZERS:
        gin.external_configurable(getattr(torch.optim, name), name, module=MODULE)
    for name, op in builtin_ops().items():
        gin.external_configurable(op.function, name, module=MODULE)
    gin.external_configurable(earth, "earth", module=MODULE)
    gin.external_configurable(linear_decay, "linear_decay", module=MODULE)


def datasets() -> tuple[str, ...]:
    """The datasets that come with ganflow."""
    return ("earth",)


def entry_points(cls: type) -> tuple[str, ...]:
    """Public methods that a class defines below nn.Module, ``forward`` left out."""
    names = []
    for base in cls.__mro__:
        if base is torch.nn.Module:
            break
        names += [n for n, m in vars(base).items() if inspect.isfunction(m) and not n.startswith("_")]
    own = set(vars(torch.nn.Module))
    return tuple(dict.fromkeys(n for n in names if n not in own))
