"""Networks as plain ``torch.nn.Module``s, and their initialisation.

    from ganflow.nn import UNetGenerator, init_weights

    net = UNetGenerator(3, 3, size=64)
    init_weights(net, net.default_init, generator=torch.Generator().manual_seed(0))

Constructors take plain values, so that each can be bound from a gin file. They leave the weights as PyTorch
makes them; the class attribute ``default_init`` names the initialisation that the paper uses.
"""

from ganflow.nn.init import init_weights
from ganflow.nn.layers import norm_layer
from ganflow.nn.mlp import MLP
from ganflow.nn.patch import PatchDiscriminator, receptive_field
from ganflow.nn.resnet import ResnetGenerator
from ganflow.nn.unet import UNetGenerator

__all__ = [
    "MLP",
    "PatchDiscriminator",
    "ResnetGenerator",
    "UNetGenerator",
    "init_weights",
    "norm_layer",
    "receptive_field",
]
