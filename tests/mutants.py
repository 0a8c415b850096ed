"""Gin files that nobody would write: shipped programs, changed at random, the same from the same number.

    corpus = Corpus.read()
    mutant = mutate(corpus, 17)
    mutant.files                     # {"mutant.gin": b"..."}: to be written beside the corpus's own files
    mutant.how, mutant.origin        # ('tokens', 'numbers'), 'zoo/cyclegan.gin'

Mutations: bytes, tokens, names, numbers, nesting, huge strings, splices of two files, lines.
"""

from __future__ import annotations

import builtins
import keyword
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

TESTS = Path(__file__).parent
ROOT = TESTS.parent
FOLDERS = (TESTS / "zoo", ROOT / "experiments", ROOT / "ganflow" / "presets", TESTS / "golden" / "checks",
           TESTS / "golden" / "errors")  # fmt: skip

TOKEN = re.compile(r"\s+|\w+|'[^'\n]*'|[^\w\s]")
NUMBER = re.compile(r"(?<![\w.])\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?")
NAME = re.compile(r"[^\W\d]\w*")

BYTES = (b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r\n", b"\r", b"\x0c", b"\x1b[2J",
         b"\x1a", b"\xe2\x80\xa8", b"\xe2\x80\xae", b"\t", b"\\", b"\\\n", b"'", b'"', b"'''", b"#")  # fmt: skip
NUMBERS = ("0", "-1", "1", "2", "0.0", "-0.0", "0.5", "1e308", "1e309", "-1e400", "nan", "inf", "1_000", "0x10", "1j",
           "007", "1.", ".5", "True", "None", "10**5000", str(10**9), str(10**18), str(2**63), str(-(2**63) - 1),
           "9" * 400, "9" * 5000, "0x" + "f" * 9000, "1e-400", "3 ** 10 ** 10", "(1, 2)", "[]", "''")  # fmt: skip
LOOKALIKES = {"a": "а", "e": "е", "o": "о", "p": "р", "G": "Ԍ", "D": "Ｄ", "l": "ⅼ", "i": "ı"}
OURS = ("batch", "counters", "logs", "parameters", "optimizers", "states", "frozen", "no_grad", "draw", "fetch",
        "redraw", "part", "share", "step", "epoch", "images", "batch_size", "detach", "grad", "Network", "Update",
        "State", "Schedule", "Trainer", "gin", "macro", "torch", "ganflow", "self", "observe", "values")  # fmt: skip
DUNDERS = ("__class__", "__import__", "__globals__", "__builtins__", "__init__", "_", "__", "_modules", "__dict__")
WORDS = (*keyword.kwlist, *dir(builtins), *OURS, *DUNDERS, "a.b", "a/b", "%x", "@x", "@x()", "é", "名", "x" * 300)
PIECES = ("(", ")", "[", "]", "{", "}", "'", '"', "'''", ",", "=", ":", ".", "/", "%", "@", "+", "-", "*", "**", "//",
          ":=", "lambda x: x", "if 1 else", "for x in y", "\n", "\\", "#", "include 'mutant.gin'", "f'{x}'", "...",
          "not", "and", "<", "==", "await", "yield", "await x", "\n    ", "G/", "()", "@G()", "%lambda_A")  # fmt: skip


@dataclass(frozen=True)
class Corpus:
    """The texts that mutants are made of, by name, and every token in them."""

    texts: Mapping[str, str]
    tokens: tuple[str, ...]

    @staticmethod
    def read() -> Corpus:
        texts = {f"{p.parent.name}/{p.name}": p.read_text(encoding="utf-8")
                 for folder in FOLDERS for p in sorted(folder.glob("*.gin"))}  # fmt: skip
        tokens = dict.fromkeys(t for text in texts.values() for t in TOKEN.findall(text) if not t.isspace())
        return Corpus(MappingProxyType(texts), tuple(tokens))


@dataclass(frozen=True)
class Mutant:
    """One case: the files to write, which program it was, and what was done to it."""

    number: int
    origin: str
    how: tuple[str, ...]
    files: Mapping[str, bytes]


def mutate(corpus: Corpus, number: int) -> Mutant:
    """The mutant of this number."""
    rng = random.Random(number)
    origin = rng.choice(list(corpus.texts))
    text, how = corpus.texts[origin], []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        how.append(rng.choice(list(TEXTS)))
        text = TEXTS[how[-1]](text, rng, corpus)
    data = text.encode("utf-8", errors="surrogatepass")
    if rng.random() < 0.2:
        how.append("bytes")
        data = _bytes(data, rng)
    return Mutant(number, origin, tuple(how), {"mutant.gin": data})


# -- bytes, tokens, lines -----------------------------------------------------------------------------------


def _bytes(data: bytes, rng: random.Random) -> bytes:
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        place = rng.randrange(len(found) + 1)
        match rng.randrange(5):
            case 0 if place < len(found):
                found[place] ^= 1 << rng.randrange(8)
            case 1:
                found[place:place] = rng.choice(BYTES)
            case 2:
                del found[place : place + rng.choice((1, 1, 2, 10))]
            case 3:
                found[place:place] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 1, 3))))
            case 4 if place < len(found):
                found[place : place + 1] = rng.choice(BYTES)
    if rng.random() < 0.1:
        found = bytearray(bytes(found).replace(b"\n", rng.choice((b"\r\n", b"\r", b"\x0c", b"\n\x00", b""))))
    return bytes(found)


def _tokens(text: str, rng: random.Random, corpus: Corpus) -> str:
    tokens = TOKEN.findall(text)
    for _ in range(rng.choice((1, 1, 2, 4, 10))):
        if not tokens:
            break
        a, b = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        match rng.randrange(5):
            case 0:
                tokens[a], tokens[b] = tokens[b], tokens[a]
            case 1:
                del tokens[a]
            case 2:
                tokens.insert(b, tokens[a])
            case 3:
                tokens[a] = rng.choice(corpus.tokens)
            case 4:
                tokens.insert(a, rng.choice(PIECES))
    return "".join(tokens)


def _lines(text: str, rng: random.Random, corpus: Corpus) -> str:
    lines = text.splitlines(keepends=True) or [""]
    for _ in range(rng.choice((1, 2, 3))):
        a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
        match rng.randrange(5):
            case 0:
                lines.insert(b, lines[a])
            case 1:
                lines[a], lines[b] = lines[b], lines[a]
            case 2:
                rng.shuffle(lines)
            case 3 if len(lines) > 1:
                del lines[a]
            case 4:
                lines[a] = " " * rng.randrange(9) + lines[a].lstrip()
    return "".join(lines)


def _splice(text: str, rng: random.Random, corpus: Corpus) -> str:
    other = rng.choice(list(corpus.texts.values()))
    if rng.random() < 0.5:
        a, b = text.splitlines(keepends=True), other.splitlines(keepends=True)
        return "".join([*a[: rng.randrange(len(a) + 1)], *b[rng.randrange(len(b) + 1) :]])
    return text[: rng.randrange(len(text) + 1)] + other[rng.randrange(len(other) + 1) :]


# -- names and numbers --------------------------------------------------------------------------------------


def _names(text: str, rng: random.Random, corpus: Corpus) -> str:
    found = [n for n in dict.fromkeys(NAME.findall(text)) if n not in ("include", "import")]
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not found:
            break
        old = rng.choice(found)
        match rng.randrange(4):
            case 0:
                new = rng.choice(WORDS)
            case 1:
                new = rng.choice(found)
            case 2:
                new = "".join(LOOKALIKES.get(c, c) if rng.random() < 0.5 else c for c in old)
            case _:
                new = rng.choice((old + "_", "_" + old, old * 40, old.upper(), f"{old}.{old}", f"{old}/{old}"))
        everywhere = rng.random() < 0.6
        text = re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", lambda _, new=new: new, text, count=0 if everywhere else 1)
    return text


def _numbers(text: str, rng: random.Random, corpus: Corpus) -> str:
    places = list(NUMBER.finditer(text))
    for place in sorted(rng.sample(places, min(len(places), rng.choice((1, 1, 2, 5)))), key=lambda m: -m.start()):
        text = text[: place.start()] + rng.choice(NUMBERS) + text[place.end() :]
    return text


# -- deep and long ------------------------------------------------------------------------------------------


def _deep(text: str, rng: random.Random, corpus: Corpus) -> str:
    """One expression of the file, or a new definition that takes the place of one, very deep or very long."""
    places = list(re.finditer(r"'([^'\n]+)'", text))
    size = rng.choice((10, 100, 150, 151, 200, 1000, 5000))
    inner = rng.choice(places) if places else None
    deep = rng.choice(NESTS)(inner.group(1) if inner else "x", size)
    if inner is None:
        return f"{text}\nx = '{deep}'\n"
    return f"{text[: inner.start()]}'{deep}'{text[inner.end() :]}"


NESTS: tuple[Callable[[str, int], str], ...] = (
    lambda e, n: "(" * n + e + ")" * n,
    lambda e, n: "[" * n + e + "]" * n,
    lambda e, n: "(" * n + e,
    lambda e, n: "abs(" * n + e + ")" * n,
    lambda e, n: "-" * n + e,
    lambda e, n: "not " * n + e,
    lambda e, n: " + ".join([e] * min(n, 500)),
    lambda e, n: " * ".join(["0.5"] * n + [e]),
    lambda e, n: " ** ".join([e] + ["1"] * min(n, 200)),
    lambda e, n: "1 + (" * n + e + ")" * n,
    lambda e, n: e + "[0]" * n,
    lambda e, n: e + ".a" * n,
    lambda e, n: e + "(0)" * n,
    lambda e, n: "lambda: " * n + e,
    lambda e, n: f"{e} if step else " * n + e,
    lambda e, n: " < ".join([e] * min(n, 500)),
    lambda e, n: " and ".join([e] * min(n, 500)),
    lambda e, n: f"cat({', '.join([e] * min(n, 500))})",
)


def _chain(text: str, rng: random.Random, corpus: Corpus) -> str:
    """Many definitions, each made of the one before: numbers or values, in a line or doubling."""
    names = NAME.findall(text) or ["x"]
    size, start = rng.choice((20, 100, 500, 800)), rng.choice((*names, "1", "step"))
    step = rng.choice(("{0} + 1", "abs({0})", "{0}", "{0} + {0}", "-{0}", "{0} * {0} + 1"))
    chain = [f"chain_0 = '{start}'"] + [f"chain_{k} = '{step.format(f'chain_{k - 1}')}'" for k in range(1, size)]
    if rng.random() < 0.5:
        chain.reverse()
    used = re.sub(r"minimize\s*=\s*'([^'\n]+)'", rf"minimize = '\1 + chain_{size - 1}'", text, count=1)
    return f"{used}\n" + "\n".join(chain) + "\n"


def _huge(text: str, rng: random.Random, corpus: Corpus) -> str:
    """A name, a string, a comment, a line or a list of a megabyte."""
    size = rng.choice((10_000, 100_000, 1_000_000))
    places = list(NAME.finditer(text))
    match rng.randrange(7):
        case 0 if places:
            place = rng.choice(places)
            return text[: place.start()] + place.group() * (size // len(place.group())) + text[place.end() :]
        case 1:
            return f"{text}\nlong = '{'x' * size}'\n"
        case 2:
            return f"{text}\n# {'é' * size}\n"
        case 3:
            return f"{text}\nlong = [{'1, ' * (size // 10)}]\n"
        case 4:
            return f"{text}{' ' * size}\n"
        case 5:
            return re.sub(r"minimize\s*=\s*'", f"minimize = '{'x' * size} + ", text, count=1)
        case _:
            return re.sub(r"'", "'''" + "\n" * (size // 10), text, count=1)


def _include(text: str, rng: random.Random, corpus: Corpus) -> str:
    name = rng.choice(
        ("mutant.gin", "./mutant.gin", "", ".", "..", "/dev/null", "base.gin", "gan.gin", "\\x00", "a" * 5000)
    )
    return f"include '{name}'\n" * rng.choice((1, 1, 2)) + text


TEXTS: Mapping[str, Callable[[str, random.Random, Corpus], str]] = MappingProxyType(
    {"tokens": _tokens, "more tokens": _tokens, "lines": _lines, "splice": _splice, "names": _names,
     "numbers": _numbers, "more numbers": _numbers, "deep": _deep, "chain": _chain, "huge": _huge, "include": _include,
     "nothing": lambda text, rng, corpus: text}
)  # fmt: skip
