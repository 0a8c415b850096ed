"""One colour for each network, the same in every picture, chart and report.

    colours(("G", "D"))["D"].fill         # '#c44f00'
    colours(("G", "D"))["D"].ink          # Themed(light='#b84a00', dark='#d06d2b'), readable on the page

The eight hues are those of Okabe and Ito (Color Universal Design, 2008), vermilion and purple darkened so that they
carry white text, dark indigo in place of black: told apart with any of the three colour-vision deficiencies. Networks
get them in the order of their declaration; names are always written too, so that colour is never the only sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HUES = ("#0072b2", "#c44f00", "#009e73", "#b14a86", "#e69f00", "#56b4e9", "#f0e442", "#44355b")
READABLE = 4.5  # contrast of text, WCAG 2.2 level AA

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Themed:
    """A colour on a light and on a dark page."""

    light: str
    dark: str


@dataclass(frozen=True)
class Colour:
    """What a network is painted with.

    Args:
        fill: of an area, on light and dark pages alike.
        text: on the fill.
        ink: for text and lines on the page.
        tint: a quiet area, under ordinary text.
    """

    fill: str
    text: str
    ink: Themed
    tint: Themed


PAGE = Themed("#ffffff", "#0f1318")
BAND = Themed("#f4f6f8", "#181d24")  # a lane
CARD = Themed("#ffffff", "#222933")  # a box that belongs to no network
TEXT = Themed("#1b2027", "#e8ecf1")
QUIET = Themed("#59636f", "#a3aebb")  # less important text
LINE = Themed("#c5ccd4", "#46505c")
EDGE = Themed("#8e98a4", "#77828f")  # a value on its way
FLOW = Themed("#1b2027", "#e8ecf1")  # the same, with gradient flowing back
CUT = Themed("#b3261e", "#ff8a80")
HEAT = Themed("#d6336c", "#ff7eb0")  # where the time goes
HATCH = Themed("#e4e8ec", "#2c343f")


def colours(networks: Sequence[str]) -> dict[str, Colour]:
    """A colour for each network; with more than eight they repeat."""
    return {name: colour(index) for index, name in enumerate(networks)}


def colour(index: int) -> Colour:
    """The colour of the network declared as number ``index``, from 0."""
    fill = HUES[index % len(HUES)]
    text = "#ffffff" if contrast(fill, "#ffffff") >= READABLE else "#15191e"
    tint = Themed(_tint(fill, CARD.light, 88, QUIET.light), _tint(fill, CARD.dark, 78, QUIET.dark))
    grounds = (PAGE, BAND, CARD, HATCH, tint)
    ink = Themed(_readable(fill, [g.light for g in grounds], "#000000"),
                 _readable(fill, [g.dark for g in grounds], "#ffffff"))  # fmt: skip
    return Colour(fill, text, ink, tint)


def contrast(one: str, other: str) -> float:
    """Between 1 and 21, as WCAG 2 defines it."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mix(one: str, other: str, share: float) -> str:
    """``one`` with this share of ``other`` in it."""
    pairs = zip(_rgb(one), _rgb(other), strict=True)
    return "#" + "".join(f"{round(255 * (a + (b - a) * share)):02x}" for a, b in pairs)


def linear(colour: str) -> Rgb:
    """sRGB to light."""
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _rgb(colour))
    return r, g, b


def _tint(fill: str, ground: str, percent: int, text: str) -> str:
    """The ground with a touch of ``fill``, no more than leaves ``text`` readable."""
    mixed = (mix(fill, ground, share / 100) for share in range(percent, 101))
    return next(found for found in mixed if contrast(found, text) >= READABLE)


def _readable(colour: str, grounds: Sequence[str], towards: str) -> str:
    """``colour``, with as much of black or white as text on all these grounds needs."""
    mixed = (mix(colour, towards, step / 20) for step in range(21))
    return next(found for found in mixed if all(contrast(found, g) >= READABLE for g in grounds))


def _luminance(colour: str) -> float:
    r, g, b = linear(colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _rgb(colour: str) -> Rgb:
    r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return r, g, b
