"""What is long is not deep: sums of a thousand terms run; what no one can mean is refused in one message."""

from __future__ import annotations

import pytest
import torch

import ganflow
from ganflow.errors import GanflowError
from ganflow.expr import show, walk
from ganflow.nodes import Node, constant
from ganflow.parsing import MAX_CHAIN, MAX_DEPTH, parse

GIN = """
G/Network.module = @MLP()
MLP.in_features = 2
MLP.out_features = 2
MLP.hidden = (3,)
G/Network.optimizer = @SGD
SGD.lr = 0.01
fake = 'G(z)'
G/Update.minimize = 'LOSS'
Schedule.updates = ['G']
"""


def program(loss: str, definitions: str = "") -> str:
    return GIN.replace("LOSS", loss) + definitions


def first_loss(text: str) -> float:
    torch.manual_seed(0)
    step = ganflow.TrainStep(ganflow.loads(text), [{"z": torch.ones(4, 2)}])
    return float(step()["loss/G"])


def refusal(text: str) -> GanflowError:
    with pytest.raises(GanflowError) as found:
        ganflow.schedule(ganflow.loads(text))
    assert found.value.location is not None
    return found.value


def test_a_sum_of_a_thousand_terms_is_its_value() -> None:
    once = first_loss(program("mean(fake ** 2)"))
    many = first_loss(program(" + ".join(f"{k} * power_2" for k in range(1, 1001)), "power_2 = 'mean(fake ** 2)'\n"))
    assert many == pytest.approx(once * 500_500, rel=1e-4)


def test_a_chain_of_two_thousand_definitions_is_its_value() -> None:
    chain = "c0 = 'fake'\n" + "".join(f"c{k} = 'c{k - 1} + 1'\n" for k in range(1, 2001))
    assert first_loss(program("mean(c2000)", chain)) == pytest.approx(
        first_loss(program("mean(fake)")) + 2000, rel=1e-4
    )


def test_a_long_sum_has_its_text_and_is_read_back() -> None:
    text = " - ".join(["a * 2 + b"] * 600)
    tree = parse(text)
    assert show(tree) == text and show(parse(show(tree))) == text
    assert sum(1 for _ in walk(tree)) == 600 * 5 + 599


@pytest.mark.parametrize(
    ("loss", "code", "says"),
    [
        (" + ".join(["mean(fake)"] * (MAX_CHAIN + 2)), "syntax", "operators in a row"),
        ("abs(" * 1000 + "fake" + ")" * 1000, "syntax", ""),
        ("abs(" * (MAX_DEPTH + 1) + "fake" + ")" * (MAX_DEPTH + 1), "syntax", "levels deep"),
        ("-" * 5000 + "mean(fake)", "syntax", ""),
        ("x" * 60_000, "syntax", "characters"),
    ],
)
def test_what_no_one_writes_is_refused(loss: str, code: str, says: str) -> None:
    error = refusal(program(loss))
    assert error.code == code and says in error.message and len(str(error)) < 2000


def test_numbers_that_double_are_refused_before_they_are_written_out() -> None:
    """Forty definitions, each the sum of the one before and itself, are a line of 10¹² numbers."""
    chain = "h0 = '1'\n" + "".join(f"h{k} = 'h{k - 1} + h{k - 1}'\n" for k in range(1, 41))
    error = refusal(program("h40 * mean(fake)", chain))
    assert error.code == "too-large" and "parts" in error.message


def test_numbers_in_ever_more_brackets_are_refused() -> None:
    chain = "h0 = '1'\n" + "".join(f"h{k} = '(h{k - 1} + 1) * 2'\n" for k in range(1, 400))
    error = refusal(program("h399 * mean(fake)", chain))
    assert error.code == "too-large" and "nested deeper than" in error.message


def test_values_that_double_are_lines_of_their_own() -> None:
    chain = "t0 = 'fake'\n" + "".join(f"t{k} = 't{k - 1} + t{k - 1}'\n" for k in range(1, 41))
    assert first_loss(program("mean(t40)", chain)) == pytest.approx(first_loss(program("mean(fake)")) * 2**40, rel=1e-4)


@pytest.mark.parametrize("levels", [13, 30])
@pytest.mark.parametrize("body", ["x", "x + x", "(y := x * 2)", "(y := x + mean(randn(2)))"])
def test_templates_that_double_are_refused(body: str, levels: int) -> None:
    """Each calls the one before twice: 2 ** levels expansions, whether they make nodes or not."""
    chain = f"f0 = 'lambda x: {body}'\n" + "".join(
        f"f{k} = 'lambda x: f{k - 1}(f{k - 1}(x))'\n" for k in range(1, levels + 1)
    )
    error = refusal(program(f"f{levels}(mean(fake))", chain))
    assert error.code == "too-large" and "expanded more than" in error.message


def test_a_template_called_a_thousand_times_is_its_value() -> None:
    chain = "twice = 'lambda x: (y := x) + y'\nc0 = 'mean(fake)'\n"
    chain += "".join(f"c{k} = 'twice(c{k - 1} - 1)'\n" for k in range(1, 11))
    chain += "".join(f"d{k} = '{'twice(d' + str(k - 1) + ')' if k else 'c10'} * 0.5'\n" for k in range(1000))
    once = first_loss(program("mean(fake)"))
    assert first_loss(program("d999", chain)) == pytest.approx((once * 2**10 - (2**11 - 2)) / 2, rel=1e-4)


def test_parts_of_one_name_are_numbered_in_order() -> None:
    """Every call of a template has parts of its own: y, y.2, y.3."""
    loss = "t(mean(fake)) + t(mean(fake) + 1) + t(mean(fake) + 2)"
    graph = ganflow.schedule(ganflow.loads(program(loss, "t = 'lambda x: (y := x * 2)'\n")))
    assert [n for n in graph.nodes if n.partition(".y")[1]] == [
        "G.minimize/t.y",
        "G.minimize/t.y.2",
        "G.minimize/t.y.3",
    ]


def test_a_long_cycle_is_refused() -> None:
    chain = "c0 = 'c999'\n" + "".join(f"c{k} = 'c{k - 1} + 1'\n" for k in range(1, 1000))
    assert refusal(program("mean(c999)", chain)).code in ("cycle", "too-large")


def test_macros_that_read_each_other_are_a_cycle() -> None:
    assert refusal(program("mean(fake)", "a = %b\nb = %a\n")).code == "cycle"


@pytest.mark.parametrize("power", ["9 ** 9 ** 9", "(step + 3) ** 9 ** 9"])
def test_a_power_that_no_machine_can_hold(power: str) -> None:
    with pytest.raises(GanflowError):
        first_loss(program(f"mean(fake) * ({power})"))


@pytest.mark.parametrize(
    "text",
    ['"a" * 10 ** 10', '"%999999999d" % step', "(1,) * 10 ** 10", '("a" if step else "b") * 10 ** 10',
     '((1, 2), 3)[0] * 10 ** 9', '("ab", 1)[0][0] * 10 ** 9', "pair * 10 ** 9", "-pair", "pair[0:1] * 10 ** 9"],
)  # fmt: skip
def test_strings_and_tuples_are_no_numbers(text: str) -> None:
    assert refusal(program(f"mean(fake) + ({text})", "pair = (1, 2)\n")).code == "not-a-number"


def test_a_number_of_a_tuple_is_one() -> None:
    twice = first_loss(program("pair[1] * mean(fake)", "pair = (1, 2)\n"))
    assert twice == pytest.approx(2 * first_loss(program("mean(fake)")))


def test_a_constant_of_whole_numbers_is_no_larger_than_a_float() -> None:
    nodes = {"a": Node("a", "constant", value=2**1000, host=True)}
    nodes["b"] = Node("b", "op", "*", ("a", "a"), host=True)
    assert constant(nodes, "b") is None


@pytest.mark.parametrize("line", ["G/Update.repeat = 1000000000", "G/Update.microbatches = 1000000000"])
def test_more_runs_than_anyone_waits_for(line: str) -> None:
    assert refusal(program("mean(fake)", f"{line}\n")).code == "type"


def test_files_that_include_each_other_twice(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("includes")
    for k in range(30):
        (folder / f"f{k}.gin").write_text(f"include 'f{k + 1}.gin'\n" * 2)
    (folder / "f30.gin").write_text("a = 1\n")
    with pytest.raises(GanflowError) as found:
        ganflow.load(folder / "f0.gin")
    assert found.value.code == "too-large"
