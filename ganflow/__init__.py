"""ganflow: a declarative experiment framework for GANs and every loop with several networks and optimizers."""

__version__ = "0.1.0"
