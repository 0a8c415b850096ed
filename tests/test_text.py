"""Expressions and their text: what is shown is what was read."""

from __future__ import annotations

import keyword
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganflow import expr as E
from ganflow.parsing import parse

NAMES = st.text(string.ascii_letters, min_size=1, max_size=3).filter(lambda n: not keyword.iskeyword(n))
CONSTANTS = st.one_of(
    st.none(), st.booleans(), st.integers(0, 10**30), st.text(max_size=6),
    st.floats(0, allow_nan=False, allow_infinity=False),
)  # fmt: skip
OPERATORS = ("+", "-", "*", "/", "//", "%", "**", "@")
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")


def tuples(inner: st.SearchStrategy[Any], low: int = 0, high: int = 3) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(inner, min_size=low, max_size=high).map(tuple)


def comparison(left: E.Expr, rest: tuple[tuple[str, E.Expr], ...]) -> E.Expr:
    return E.Compare(left, tuple(o for o, _ in rest), tuple(r for _, r in rest))


def call(function: E.Expr, args: tuple[E.Expr, ...], keywords: dict[str, E.Expr]) -> E.Expr:
    return E.Call(function, args, tuple(keywords.items()))


def subscript(inner: st.SearchStrategy[E.Expr]) -> st.SearchStrategy[E.Expr]:
    bound = st.one_of(st.none(), inner)
    part = st.one_of(inner, st.builds(E.Slice, bound, bound, bound))
    return st.one_of(part, st.builds(E.Pack, st.just("tuple"), tuples(part, 1)))


def larger(inner: st.SearchStrategy[E.Expr]) -> st.SearchStrategy[E.Expr]:
    """Every kind of expression, around every other."""
    return st.one_of(
        st.builds(E.Unary, st.sampled_from(["-", "not"]), inner),
        st.builds(E.Binary, st.sampled_from(OPERATORS), inner, inner),
        st.builds(E.Binary, st.sampled_from(OPERATORS), inner, inner),
        st.builds(comparison, inner, tuples(st.tuples(st.sampled_from(COMPARISONS), inner), 1)),
        st.builds(E.Bool, st.sampled_from(["and", "or"]), tuples(inner, 2)),
        st.builds(E.If, inner, inner, inner),
        st.builds(call, inner, tuples(inner), st.dictionaries(NAMES, inner, max_size=2)),
        st.builds(E.Attribute, inner, NAMES),
        st.builds(E.Index, inner, subscript(inner)),
        st.builds(E.Pack, st.sampled_from(["tuple", "list"]), tuples(inner)),
        st.builds(E.Lambda, st.lists(NAMES, unique=True, max_size=2).map(tuple), inner),
        st.builds(E.Named, NAMES, inner),
    )


EXPRESSIONS = st.recursive(st.one_of(st.builds(E.Name, NAMES), st.builds(E.Const, CONSTANTS)), larger, max_leaves=12)


@settings(max_examples=400)
@given(EXPRESSIONS)
def test_what_is_shown_is_read_as_the_same(expression: E.Expr) -> None:
    assert parse(E.show(expression)) == expression


@pytest.mark.slow
@settings(max_examples=10_000)
@given(EXPRESSIONS)
def test_what_is_shown_is_read_as_the_same_ten_thousand_times(expression: E.Expr) -> None:
    assert parse(E.show(expression)) == expression
