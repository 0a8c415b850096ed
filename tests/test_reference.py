"""The lists of docs/reference.md are the program's: names, signatures, defaults, and the codes of every finding."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from docs_blocks import DOCS, PAGES
from ganflow import components, losses, metrics, nn
from ganflow.data.earth import earth
from ganflow.experiment import COUNTERS, RESERVED
from golden_text import GOLDEN

ROOT = DOCS.parent
REFERENCE = (DOCS / "reference.md").read_text(encoding="utf-8")
NOT_THE_USERS = {"pure": set(), "random": {"generator", "device", "dtype"}, "stateful": {"generator", "state"}}


def section(heading: str, text: str = REFERENCE) -> str:
    """What stands below a heading, up to the next one of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    start = text.index(f"\n{heading}\n") + len(heading) + 2
    end = re.search(rf"^#{{2,{level}}} ", text[start:], re.M)
    return text[start : start + end.start()] if end else text[start:]


def rows(heading: str) -> list[list[str]]:
    """The rows of the tables in a section, as cells, heads left out."""
    lines = [line for line in section(heading).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def first(heading: str) -> list[str]:
    return [row[0].strip("`") for row in rows(heading)]


def usage(name: str, function: Callable[..., Any], hidden: set[str] = frozenset()) -> str:  # type: ignore[assignment]
    """``gan(pred, is_real, *, mode='vanilla', scales='sum')``."""
    found = inspect.signature(function).parameters.values()
    shown = [p.replace(annotation=inspect.Parameter.empty) for p in found if p.name not in hidden]
    return f"{name}{inspect.Signature(shown)}".replace("*, )", ")")


def ops(names: object) -> set[str]:
    builtin = components.builtin_ops()
    return {usage(n, builtin[n].function, NOT_THE_USERS[builtin[n].kind]) for n in names}  # type: ignore[attr-defined]


# -- names and signatures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("declaration", [d for d in components.DECLARATIONS if d.__name__ != "adv"])
def test_every_option_is_listed_with_its_default(declaration: Callable[..., Any]) -> None:
    listed = [(name.strip("`"), default.strip("`")) for name, default, *_ in rows(f"### {declaration.__name__}")]
    real = [(p.name, repr(p.default)) for p in inspect.signature(declaration).parameters.values()]
    assert listed == real


def test_networks_schedules_and_datasets_are_listed_with_their_arguments() -> None:
    assert first("### Networks") == [usage(n, getattr(nn, n)) for n in components.NETWORKS]
    assert first("### Schedules") == [usage("linear_decay", components.linear_decay)]
    assert first("### Datasets") == [usage("earth", earth)] and components.datasets() == ("earth",)


def test_every_op_is_listed_where_it_belongs_with_its_signature() -> None:
    builtin = components.builtin_ops()
    lossy = [i.name for i in losses.OPS]
    drawn = [n for n, op in builtin.items() if op.kind != "pure"]
    plain = [n for n in builtin if n not in (*lossy, *drawn)]
    for heading, names in (("### Ops", plain), ("### Draws and pools", drawn), ("### Losses", lossy)):
        listed = first(heading)
        assert set(listed) == ops(names) and len(listed) == len(names), heading


def test_ops_of_numbers_are_said_to_be() -> None:
    for usage_, gives in rows("### Ops"):
        op = components.builtin_ops()[usage_.strip("`").split("(")[0]]
        assert op.host == ("numbers too" in gives), usage_


def test_optimizers_metrics_modes_and_kinds_are_listed() -> None:
    assert set(re.findall(r"`(\w+)`", section("### Optimizers"))) == set(components.OPTIMIZERS)
    assert set(re.findall(r"`(\w+)\(fake, real\)`", section("### Metrics"))) == set(metrics.METRICS)
    sentence = section("### Losses").split("`gan.mode`:")[1]
    modes, kinds = sentence.split("`adv.kind`")[0], sentence.split("`adv.kind`")[1].split("`adv.scales`")[0]
    assert re.findall(r"`(\w+)`", modes) == list(losses.GAN_MODES)
    assert set(losses.GAN_MODES) | set(re.findall(r"`(\w+)`", kinds)) == {*losses.ADV_KINDS, "adv_d", "adv_g"}


def test_every_template_of_the_presets_is_listed_with_its_parameters() -> None:
    real: set[str] = set()
    for path in (ROOT / "ganflow" / "presets").glob("*.gin"):
        found = re.findall(r"^(\w+)\s*=\s*['\"]+lambda ([^:]*):", path.read_text(encoding="utf-8"), re.M)
        real |= {f"{name}({parameters})" for name, parameters in found}
        assert f"in `{path.name}`" in REFERENCE
    assert {row[0].strip("`") for row in rows("### Presets")} == real


def test_counters_and_reserved_names_are_said() -> None:
    page = (DOCS / "language.md").read_text(encoding="utf-8")
    counters = next(line for line in page.splitlines() if line.startswith("| counter |"))
    assert re.findall(r"`(\w+)`", counters) == list(COUNTERS)
    sentence = page.split("Refused as names")[1].split("\n\n")[0]
    assert set(RESERVED) <= set(re.findall(r"\w+", sentence))


# -- codes --------------------------------------------------------------------------------------------------


@functools.cache
def calls() -> tuple[list[ast.Call], list[ast.Assign], list[str]]:
    """Every call, assignment and string of the source."""
    sources = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "ganflow").rglob("*.py"))]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    strings = [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [n for n in nodes if isinstance(n, ast.Call)], [n for n in nodes if isinstance(n, ast.Assign)], strings


def texts(node: ast.AST | None, constants: Mapping[str, set[str]]) -> set[str]:
    """The strings that an expression can be; a name is what is assigned to it anywhere, ``f"bad-{parameter}"`` all."""
    match node:
        case ast.Constant(value=str() as value):
            return {value}
        case ast.IfExp(body=body, orelse=orelse):
            return texts(body, constants) | texts(orelse, constants)
        case ast.BoolOp(values=values):
            return set().union(*(texts(v, constants) for v in values))
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return constants.get(name, set())
        case ast.JoinedStr():
            return {f"bad-{name}" for name in constants["_bad_choice"]}
    return set()


def named_strings() -> dict[str, set[str]]:
    """What names hold codes: ``CODE = "unused"``; and which parameters `_bad_choice` is called for."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    made, assigned, _ = calls()
    for node in assigned:
        target, value = node.targets[0], node.value
        both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
        for name, given in zip(target.elts, value.elts, strict=False) if both else [(target, value)]:
            if isinstance(name, ast.Name) and name.id in ("CODE", "ARGUMENT", "SIZE", "CHANNELS", "code"):
                found[name.id] |= {t for t in texts(given, {}) if re.fullmatch(r"[a-z-]+", t)}
    for node in made:
        if getattr(node.func, "id", "") == "_bad_choice":
            found["_bad_choice"] |= texts(node.args[1], {})
    return found


def codes() -> dict[str, set[str]]:
    """Code -> the levels that it is given in the source."""
    constants, found = named_strings(), defaultdict[str, set[str]](set)
    made, _, strings = calls()
    for node in made:
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name == "Diagnostic" and len(node.args) > 1:
            for code in texts(node.args[1], constants):
                found[code] |= texts(node.args[0], constants)
        given = [k.value for k in node.keywords if k.arg == "code"] + (node.args[:1] if name == "_error" else [])
        for code in (c for g in given for c in texts(g, constants)):
            found[code].add("error")
    for code in (c for text in strings for c in re.findall(r"^error\[([a-z-]+)\]: ", text)):
        found[code].add("error")
    return found


def test_every_code_is_in_the_table_with_its_level() -> None:
    listed = {row[0].strip("`"): set(row[1].split(" or ")) for row in rows("## Codes")}
    real = codes()
    assert listed.keys() == real.keys()
    for code, levels in listed.items():
        assert levels <= real[code] and real[code] - levels <= {"error"}, f"{code}: {real[code]}"


def test_codes_are_found_where_messages_have_them() -> None:
    """The search of the source finds at least what the golden messages show."""
    shown = {c for p in GOLDEN.rglob("*.txt") for c in re.findall(r"\w+\[([a-z-]+)\]: ", p.read_text(encoding="utf-8"))}
    assert len(shown) > 40 and shown <= codes().keys()


# -- links --------------------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    heads = re.findall(r"^#+ (.*)$", text, re.M)
    found = [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads]
    assert len(found) == len(set(found)), "two headings with one anchor"
    return set(found)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.M | re.S)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        target = (DOCS / path).resolve() if path else DOCS / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
