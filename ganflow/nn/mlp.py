"""A multi-layer perceptron: the network of a GAN on vectors (2-D points, tables, latent codes)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn

from ganflow.errors import GanflowError
from ganflow.nn import arguments
from ganflow.nn.layers import ACTIVATIONS, activation, chain


class MLP(nn.Module):
    """Vectors to vectors: ``MLP(2, 1, hidden=(128, 128))`` is a discriminator of points.

        Linear → [BatchNorm1d] → activation, once for each hidden width; then Linear

    The output is linear: logits for a discriminator, any real number for a generator.

    Args:
        in_features: length of the input vectors, at least 1.
        out_features: length of the output vectors, at least 1.
        hidden: widths of the hidden layers; ``()`` leaves a single linear layer.
        activation: ``'relu'``, ``'leaky_relu'`` (slope 0.2) or ``'tanh'``.
        norm: ``'batch'`` or ``'none'``. Per-image norms have no meaning for vectors.

    Shapes: ``…×in_features`` → ``…×out_features`` (``N×in_features`` with batch norm).

    Raises:
        GanflowError: for an argument outside these, or vectors of another length.
    """

    # As PyTorch makes it: N(0, 0.02) would shrink the signal in every layer, with no norm to restore it.
    default_init: ClassVar[str] = "none"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden: Sequence[int] = (128, 128),
        activation: str = "relu",
        norm: str = "none",
    ) -> None:
        super().__init__()
        self.in_features = arguments.integer(in_features, name="MLP.in_features")
        arguments.integer(out_features, name="MLP.out_features")
        arguments.choice(activation, name="MLP.activation", allowed=ACTIVATIONS)
        arguments.choice(norm, name="MLP.norm", allowed=("batch", "none"))
        widths = [in_features, *_widths(hidden)]
        steps = [_step(a, b, activation, norm) for a, b in pairwise(widths)]
        self.layers = chain(*(layer for step in steps for layer in step), nn.Linear(widths[-1], out_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1:] != (self.in_features,):
            raise GanflowError(
                f"MLP was given {'×'.join(map(str, x.shape)) or 'a scalar'}: it was built for vectors "
                f"N×{self.in_features}",
                hint="set MLP.in_features to the length of the vectors, or pass others",
                code="vector-length",
            )
        return self.layers(x)


def _widths(hidden: object) -> list[int]:
    if not isinstance(hidden, (tuple, list)):
        raise GanflowError(
            f"MLP.hidden = {hidden!r} is not a list of widths",
            hint="e.g. MLP.hidden = (128, 128)",
            code="network-argument",
        )
    return [arguments.integer(width, name="each of MLP.hidden") for width in hidden]


def _step(inputs: int, outputs: int, kind: str, norm: str) -> list[nn.Module | None]:
    """One hidden layer; a bias before batch norm would be subtracted again, so it has none."""
    batch = norm == "batch"
    return [
        nn.Linear(inputs, outputs, bias=not batch),
        nn.BatchNorm1d(outputs) if batch else None,
        activation(kind),
    ]
