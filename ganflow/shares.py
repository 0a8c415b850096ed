"""The gradients of an update's terms, measured against each other: norms, shares, cosines.

    print(matrix)
    #              norm   share  cosine:  G_GAN    G_L1
    # G_GAN     0.01152    4.2%           1.000  -0.113
    # G_L1       0.2611   95.8%          -0.113   1.000
    # together     0.26

``termgrads.py`` measures them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_PAIRED = 6  # terms; of more, cosines would be more than anyone reads


@dataclass(frozen=True)
class Matrix:
    """The gradients of an update's weighted terms, measured against each other.

    Args:
        terms: their names.
        products: (term, term) -> inner product of their gradients over all that the update trains; of more than
            ``MAX_PAIRED`` terms each with itself only.
        by_network: the same for the parameters of each network; one that two networks hold counts in both.
    """

    update: str
    terms: tuple[str, ...]
    products: Tensor
    by_network: Mapping[str, Tensor]

    @property
    def paired(self) -> bool:
        return len(self.terms) <= MAX_PAIRED

    def norms(self, network: str | None = None) -> list[float]:
        """Norm of each term's gradient, in one network or over all of them."""
        products = self.products if network is None else self.by_network[network]
        return products.diagonal().sqrt().tolist()

    def shares(self) -> list[float] | None:
        """Each norm over their sum; ``None`` where that is 0 or not finite."""
        norms, total = self.norms(), sum(self.norms())
        return [n / total for n in norms] if total > 0 and math.isfinite(total) else None

    def cosine(self, a: int, b: int) -> float | None:
        """Of two terms: 1 pull the same way, 0 do not care, -1 against each other. ``None``: one of them is 0."""
        scale = math.sqrt(float(self.products[a, a])) * math.sqrt(float(self.products[b, b]))
        if not self.paired or not 0 < scale < math.inf or not math.isfinite(float(self.products[a, b])):
            return None
        return max(-1.0, min(1.0, float(self.products[a, b]) / scale))

    def scalars(self) -> dict[str, float]:
        """By TensorBoard's tags."""
        update = self.update.replace("/", ".")
        places: dict[str, str | None] = {f"{update}/{n}": n for n in self.by_network}
        places = places if len(places) > 1 else {update: None}
        found = {
            f"grad_term/{p}/{t}": v for p, n in places.items() for t, v in zip(self.terms, self.norms(n), strict=True)
        }
        if (shares := self.shares()) is not None:
            found |= {f"grad_share/{update}/{t}": v for t, v in zip(self.terms, shares, strict=True)}
        for b, second in enumerate(self.terms):
            for a, first in enumerate(self.terms[:b]):
                if (value := self.cosine(a, b)) is not None:
                    found[f"grad_cosine/{update}/{first},{second}"] = value
        return found

    def __str__(self) -> str:
        networks = list(self.by_network) if len(self.by_network) > 1 else []
        head = ["", "norm", "share", *networks, *(["cosine:", *self.terms] if self.paired else [])]
        columns = [self.norms(), *map(self.norms, networks)]
        shares = self.shares()
        rows = [head]
        for k, term in enumerate(self.terms):
            norm, *others = (f"{c[k]:.4g}" for c in columns)
            cosines = [self.cosine(k, j) for j in range(len(self.terms))] if self.paired else []
            share = "-" if shares is None else f"{shares[k]:.1%}"
            shown = ["-" if c is None else f"{c:.3f}" for c in cosines]
            rows.append([term, norm, share, *others, *(["", *shown] if self.paired else [])])
        if self.paired:
            sums = [self.products, *(self.by_network[n] for n in networks)]
            norm, *others = (f"{math.sqrt(max(0.0, total)):.4g}" if (total := float(s.sum())) == total else "nan"
                             for s in sums)  # fmt: skip
            rows.append(["together", norm, "", *others])
        return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns, the first to the left and the others to the right."""
    widths = [max(len(r[k]) for r in rows if k < len(r)) for k in range(max(map(len, rows)))]
    lines = [
        "  ".join(c.rjust(w) if k else c.ljust(w) for k, (c, w) in enumerate(zip(r, widths, strict=False)))
        for r in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def inner_products(grads: Sequence[Tensor | None], *, paired: bool) -> Tensor:
    """Of the gradients of one parameter, each with each or, if not ``paired``, with itself; in double precision."""
    count = len(grads)
    found = torch.zeros(count, count, dtype=torch.float64)
    there = [k for k, g in enumerate(grads) if g is not None]
    with torch.no_grad():
        flat = {k: _flat(grads[k]) for k in there}
        pairs = [(a, b) for a in there for b in there if a == b or (paired and a < b)]
        if pairs:
            numbers = torch.stack([torch.dot(flat[a], flat[b]) for a, b in pairs]).cpu().double()
            for (a, b), number in zip(pairs, numbers, strict=True):
                found[a, b] = found[b, a] = number
    return found


def _flat(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    dense = gradient.to_dense() if gradient.is_sparse else gradient
    return (dense if dense.device.type == "mps" else dense.double()).flatten()
