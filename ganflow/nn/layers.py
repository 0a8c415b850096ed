"""The small parts that the networks share: norm layers, activations, chains.

    chain(nn.Conv2d(3, 64, 4), norm_layer("batch", 64), activation("relu", after="batch"))

``None`` stands for a layer that is switched off, and :func:`chain` leaves it out.
"""

from __future__ import annotations

from torch import nn

from ganflow.nn import arguments

NORMS = ("batch", "instance", "none")
ACTIVATIONS = ("relu", "leaky_relu", "tanh")
SLOPE = 0.2  # of LeakyReLU, in DCGAN and everything after it


def norm_layer(kind: str, channels: int, *, name: str = "norm") -> nn.Module | None:
    """``norm_layer("batch", 64)`` is ``nn.BatchNorm2d(64)``; ``"none"`` gives ``None``.

    ``"instance"`` has neither weights nor running statistics: each image is normalised by its own, in
    training and in evaluation alike (Ulyanov et al. 2016, and as CycleGAN uses it).

    Args:
        kind: ``'batch'``, ``'instance'`` or ``'none'``; anything else is a :class:`GanflowError`.
        channels: channels of the images ``N×channels×H×W`` that pass through.
        name: what the message calls the argument, e.g. ``UNetGenerator.norm``.
    """
    arguments.choice(kind, name=name, allowed=NORMS)
    match kind:
        case "batch":
            return nn.BatchNorm2d(channels)
        case "instance":
            return nn.InstanceNorm2d(channels)
    return None


def activation(kind: str, *, after: str = "none") -> nn.Module:
    """An activation that overwrites its input where that is safe and saves something.

    The layer below is a convolution, a linear layer or a batch norm: none of them needs its output for its
    gradient, so ReLU and LeakyReLU write into it. Instance norm (``after="instance"``) returns a *view*; to
    overwrite that costs autograd a copy of the whole gradient, which takes longer than the extra tensor.
    """
    inplace = after != "instance"
    match kind:
        case "relu":
            return nn.ReLU(inplace)
        case "leaky_relu":
            return nn.LeakyReLU(SLOPE, inplace)
        case "tanh":
            return nn.Tanh()
    raise AssertionError(kind)


def chain(*layers: nn.Module | None) -> nn.Sequential:
    """The layers one after another; ``None`` stands for a layer that is switched off."""
    return nn.Sequential(*(layer for layer in layers if layer is not None))


def dropout_layer(rate: float) -> nn.Module | None:
    """Dropout at ``rate``, nothing at 0."""
    return nn.Dropout(rate) if rate else None
