"""Colours: one for each network, told apart by everyone, with text that can be read in both themes."""

from __future__ import annotations

from itertools import combinations

import pytest

from ganflow.palette import (
    BAND,
    CARD,
    CUT,
    HATCH,
    HUES,
    PAGE,
    QUIET,
    READABLE,
    TEXT,
    Themed,
    colour,
    colours,
    contrast,
    linear,
)
from ganflow.pictures.html import FOCUS

# Machado, Oliveira & Fernandes 2009, A Physiologically-based Model for Simulation of Color Vision Deficiency,
# severity 1, on linear sRGB.
DEFICIENCIES = {
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}  # fmt: skip
EASY = 15  # CIE 1976 difference; about 2.3 is just noticeable side by side


def lab(rgb: list[float]) -> tuple[float, float, float]:
    """CIE L*a*b* of linear sRGB, D65."""
    r, g, b = rgb
    xyz = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047, 0.2126 * r + 0.7152 * g + 0.0722 * b, (
        0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883  # fmt: skip
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def seen(hue: str, deficiency: str) -> tuple[float, float, float]:
    rgb = linear(hue)
    rows = DEFICIENCIES[deficiency]
    return lab([min(1.0, max(0.0, sum(m * c for m, c in zip(row, rgb, strict=True)))) for row in rows])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_networks_are_told_apart(deficiency: str) -> None:
    for one, other in combinations(HUES, 2):
        pairs = zip(seen(one, deficiency), seen(other, deficiency), strict=True)
        assert sum((a - b) ** 2 for a, b in pairs) ** 0.5 > EASY, (one, other)


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the known grey that just fails
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)  # and the one that just passes


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_text_can_be_read(theme: str) -> None:
    def of(colour_: Themed) -> str:
        return getattr(colour_, theme)

    pairs = [(ink, ground) for ink in (TEXT, QUIET) for ground in (PAGE, BAND, CARD, HATCH)]
    assert {pair: contrast(*map(of, pair)) for pair in pairs if contrast(*map(of, pair)) < READABLE} == {}
    for index in range(len(HUES)):
        c = colour(index)
        assert contrast(c.fill, c.text) >= READABLE
        for ground in (PAGE, BAND, CARD, HATCH, c.tint):
            assert contrast(of(c.ink), of(ground)) >= READABLE, (index, ground)
        for ink in (TEXT, QUIET):
            assert contrast(of(ink), of(c.tint)) >= READABLE, index
    for sign in (CUT, FOCUS):  # signs need 3
        assert contrast(of(sign), of(BAND)) >= 3 and contrast(of(sign), of(CARD)) >= 3


def test_colours_go_by_the_order_of_declaration() -> None:
    two, three = colours(("G", "D")), colours(("G", "D", "E"))
    assert two["G"] == three["G"] == colour(0) and two["D"] == three["D"] and three["E"] not in two.values()
    assert colour(len(HUES)) == colour(0)
