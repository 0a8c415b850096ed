"""What an experiment is set to, as a flat row: the columns of TensorBoard's HParams tab.

    flat(experiment)["lambda_A"], flat(experiment)["Adam.lr"]     # 100.0, '@linear_decay()'

How often something is logged or shown changes nothing that is trained, and is left out.
"""

from __future__ import annotations

import ast
from dataclasses import fields
from itertools import chain

from ganflow.experiment import Experiment
from ganflow.settings import Settings

Number = bool | float | str
TRAINS = ("batch_size", "epochs", "seed", "steps")
COLUMNS = 5  # that TensorBoard shows before anyone chooses others


def flat(experiment: Experiment) -> dict[str, Number]:
    """Name -> number, truth, or text in gin's syntax; seed and batch size are there even if nobody set them."""
    found = {f"Trainer.{f.name}": _plain(repr(f.default)) for f in fields(Settings) if f.name in ("batch_size", "seed")}
    found |= {b.key: _plain(b.value) for b in experiment.bindings if b.selector != "Trainer" or b.parameter in TRAINS}
    return found


def columns(experiment: Experiment) -> tuple[str, ...]:
    """Those that matter most: what the command line sets, named numbers, learning rates, seed and batch size."""
    found = flat(experiment)
    told = [b.key for b in experiment.bindings if b.location.file.startswith("--set") and b.key in found]
    named = [n for n in experiment.definitions if isinstance(found.get(n), float)]
    rates = [n for n in found if n.endswith(".lr")]
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
