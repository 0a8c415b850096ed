"""What an experiment is set to, as a flat row: the columns of TensorBoard's HParams tab.

    flat(experiment)["lambda_A"], flat(experiment)["Adam.lr"]     # 100.0, '@linear_decay()'

How often something is logged or shown changes nothing that is trained, and is left out.
"""

from __future__ import annotations

import ast
from dataclasses import fields
from itertools import chain

from ganflow.experiment import Experiment, Text
from ganflow.settings import Settings

Number = bool | float | str
TRAINS = ("batch_size", "epochs", "seed", "steps")
COLUMNS = 5  # that TensorBoard shows before anyone chooses others


def flat(experiment: Experiment) -> dict[str, Number]:
    """Name -> number, truth, or text in gin's syntax.

    TensorBoard's columns are those of the first run that it sees, so what a later one is likely to set is there even
    if nobody did: seed and batch size, and each network's own ``D/Adam.lr``.
    """
    found = {f"Trainer.{f.name}": _plain(repr(f.default)) for f in fields(Settings) if f.name in ("batch_size", "seed")}
    found |= {b.key: _plain(b.value) for b in experiment.bindings if b.selector != "Trainer" or b.parameter in TRAINS}
    for network, own in ((n.name, n.optimizer) for n in experiment.networks.values() if n.optimizer is not None):
        for argument, value in own.arguments.items():
            written = value.source if isinstance(value, Text) else value
            found.setdefault(f"{network}/{own.name}.{argument}", _plain(repr(written)))
    return found


def columns(experiment: Experiment) -> tuple[str, ...]:
    """Those that matter most: what the command line sets, named numbers, learning rates, seed and batch size."""
    found = flat(experiment)
    told = [b.key for b in experiment.bindings if b.location.file.startswith("--set") and b.key in found]
    named = [n for n in experiment.definitions if isinstance(found.get(n), float)]
    rates = [b.key for b in experiment.bindings if b.parameter == "lr" and b.key in found]
    order = dict.fromkeys(chain(reversed(told), rates[:1], ("Trainer.seed",), named, rates, ("Trainer.batch_size",)))
    return tuple(order)[:COLUMNS]


def _plain(text: str) -> Number:
    """A number as a float; what is neither number nor truth nor string stays as it was written."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    if isinstance(value, (bool, str)):
        return value
    return float(value) if isinstance(value, (int, float)) else text
