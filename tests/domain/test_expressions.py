"""The expression language: what it says, what it refuses, and that nothing else ever comes out of it."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tawny.domain import expressions
from tawny.domain.functions import FUNCTIONS
from tawny.domain.money import Money
from tawny.errors import InvalidInput, TawnyError

RULE_NAMES = ("tool", "operation", "amount", "recipient", "contacts", "untrusted", "url", "domain", "level")


def value(text, names=None, /, **values):
    return expressions.compile(text, names if names is not None else values).evaluate(values)


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("operation == delete", {"operation": "delete"}, True),
        ("operation == delete", {"operation": "read"}, False),
        ("recipient not in contacts", {"recipient": "eve@x.org", "contacts": ["bob@x.org"]}, True),
        ("recipient not in contacts", {"recipient": "bob@x.org", "contacts": ["bob@x.org"]}, False),
        ("amount > $100", {"amount": Money(100.01, "USD")}, True),
        ("amount > $100", {"amount": 100}, False),
        ("amount > $1,000.50", {"amount": 1000.51}, True),
        ("amount >= €20", {"amount": Money(20, "EUR")}, True),
        ("operation in [delete, pay]", {"operation": "pay"}, True),
        ("domain == example.org", {"domain": "example.org"}, True),
        ("not untrusted", {"untrusted": False}, True),
        ("tool == 'mail_send' and untrusted == true", {"tool": "mail_send", "untrusted": True}, True),
    ],
)
def test_the_examples_of_the_approval_rules_mean_what_they_say(text, values, expected):
    assert value(text, RULE_NAMES, **values) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3 - 4 / 2", 5.0),
        ("7 % 4", 3),
        ('"a" + "b"', "ab"),
        ("lower('ABC')", "abc"),
        ("len([1, 2, 3])", 3),
        ("contains('invoice 7', 'voice')", True),
        ("abs(-3)", 3),
        ("min(3, 1, 2)", 1),
        ("max([3, 1, 2])", 3),
        ("days(2)", 172_800),
        ("time('1970-01-02T00:00:00Z') - days(1)", 0),
        (r"matches('invoice 42', 'invoice \d+')", True),
        (r"matches('say \"hi\"', '\"hi\"')", True),
        ("'x' if 2 > 1 else 'y'", "x"),
        ("1 < 2 < 3", True),
        ("1 < 3 < 2", False),
        ("round(2.567, 1)", 2.6),
        ("number('12.5') * 2", 25.0),
        ("default(null, 7)", 7),
        ("join(['a', 'b'], '-')", "a-b"),
        ("2 in [1, 2]", True),
        ("TRUE and not FALSE", True),
        ("$10 * 2 == $20", True),
        ("$30 / $10", 3.0),
        ("'10' == 10", False),
        ("true == 1", False),
    ],
)
def test_values(text, expected):
    assert value(text, ()) == expected


def test_attributes_and_items_look_into_plain_data_only():
    data = {"steps": {"fetch": {"result": {"text": "hello", "items": [1, 2]}}, "a-b": {"ok": True}}}
    assert value("steps.fetch.result.text", **data) == "hello"
    assert value("steps.fetch.result.items[-1]", **data) == 2
    assert value('steps["a-b"].ok', **data) is True
    assert value("steps.fetch.result.text.upper", **data) is None
    assert value("steps.__class__", **data) is None


def test_what_is_absent_makes_no_condition_hold():
    names = ("amount", "recipient", "contacts", "value", "previous")
    for text in (
        "amount > 100",
        "not amount > 100",
        "recipient not in contacts",
        "not (recipient in contacts)",
        "amount == 1",
        "amount != 1",
        "amount + 1 > 0",
        "len(recipient) == 0",
        "amount > 1 and true",
        "amount > 1 or false",
    ):
        assert not expressions.compile(text, names).test({"contacts": ["a"]}), text
    assert expressions.compile("amount > 1 or true", names).test({})
    assert expressions.compile("previous == null", names).test({"previous": None})
    assert expressions.compile("value is not null and value < 3", names).test({"value": 2})
    assert not expressions.compile("exists(value)", names).test({})


def test_strict_expressions_name_the_missing_value():
    checked = expressions.compile("steps.fetch.result.text", ["steps"], strict=True)
    with pytest.raises(expressions.EvaluationError, match=r"steps\.fetch\.result"):
        checked.evaluate({"steps": {"fetch": {}}})
    lenient = expressions.compile("default(steps.fetch.text, 'none')", ["steps"], strict=True)
    assert lenient.evaluate({"steps": {}}) == "none"


def test_amounts_in_different_currencies_are_not_compared():
    with pytest.raises(expressions.EvaluationError, match="different currencies"):
        value("amount > $100", RULE_NAMES, amount=Money(500, "EUR"))


def test_text_is_not_compared_with_a_number():
    with pytest.raises(expressions.EvaluationError, match="text and a number"):
        value("value < 2000", value="1999")


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("amuont > 100", 1, "did you mean 'amount'"),
        ("amount > 100 && level > 2", 14, "write 'and'"),
        ("amount = 100", 8, "write '=='"),
        ("  amount > ", 11, "no expression"),
        ("amount > 'x", 10, "close the text"),
        ("level ** 9 > 1", 1, "not part of the language"),
        ("operation.lower() == 'x'", 1, "only the functions"),
        ("lwoer(operation) == 'x'", 1, "did you mean 'lower'"),
        ("len(1, 2)", 1, "len takes 1 argument"),
        ("matches(url, operation)", 14, "quoted text"),
        ("matches(url, '(')", 14, "no regular expression"),
        ("[x for x in contacts]", 1, "not part of the language"),
        ("operation == import", 14, "must be quoted"),
        ("'a' 'b'", 1, "side by side"),
        ("f'{level}' == 'x'", 2, "stand apart"),
        ("level == 5j", 10, "no number"),
        ("lambda: 1", 7, "slices"),
        ("level == 1; level", 11, "does not belong"),
        ("(level := 1)", 8, "slices"),
        ("delete == archive", 1, "unknown name 'delete'"),
        ("", 1, "empty"),
    ],
)
def test_mistakes_are_named_with_column_and_example(text, column, says):
    with pytest.raises(InvalidInput) as caught:
        expressions.compile(text, RULE_NAMES)
    assert f"column {column}:" in caught.value.message
    assert says in caught.value.message
    assert caught.value.hint == "a correct one is: amount > $100"


def test_data_cannot_bring_names_into_a_comparison():
    condition = expressions.compile("sender == boss")
    assert not condition.test({"sender": "evil", "boss": "evil"})
    assert condition.test({"sender": "boss"})
    assert expressions.compile("value == limit", ["value", "limit"], extra_names=True).test(
        {"value": 1, "limit": 1}
    )


@pytest.mark.parametrize(
    "text",
    [
        "9" * 900 + " > 1",
        "(" * 400 + "1" + ")" * 400,
        "not " * 200 + "true",
        "+".join(["1"] * 400),
        "'" + "a" * 2000 + "'",
        "1e400 > 1",
        "[" * 60 + "]" * 60,
    ],
)
def test_an_expression_is_bounded_when_it_is_compiled(text):
    with pytest.raises(InvalidInput):
        expressions.compile(text, ())


def test_an_expression_is_bounded_when_it_is_evaluated():
    for text, values in [
        ("a * 1000000000000000 * 1000000000000000 * 1000000000000000", {"a": 10**20}),
        ("a + a", {"a": "x" * 9000}),
        ("'%999999999d' % 1", {}),
        ("'x' * 1000", {}),
        ("1 / a", {"a": 0}),
        ("a > 1", {"a": object()}),
    ]:
        with pytest.raises(expressions.EvaluationError):
            value(text, ("a",), **values)


def test_a_greedy_pattern_costs_no_more_than_the_text_is_long():
    assert value("matches(a, '(a*)*(a*)*(a*)*b')", a="a" * 100_000) is False


def test_every_function_has_a_description():
    assert all(function.description and function.fewest <= function.most for function in FUNCTIONS.values())


def test_the_reference_lists_every_function():
    page = (Path(__file__).parents[2] / "docs/reference/expressions.md").read_text()
    for name, function in FUNCTIONS.items():
        fewest, most = function.fewest, function.most
        arguments = f"{fewest}" if fewest == most else f"{fewest}–{most}"
        assert f"| `{name}` ({arguments}) | {function.description} |" in page


_SIGNS = "true ( ) [ ] , . + - * / % == != < >= if else and or not in is null a $100 €5 1 0 2.5 'x'"
_words = st.sampled_from([*FUNCTIONS, *RULE_NAMES, *_SIGNS.split()])
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=1500, deadline=None)
@given(
    text=st.lists(_words, max_size=12).map(" ".join) | st.text(max_size=60),
    values=st.fixed_dictionaries({}, optional=dict.fromkeys((*RULE_NAMES, "a"), _json)),
    closed=st.booleans(),
    strict=st.booleans(),
)
def test_nothing_but_our_own_errors_ever_comes_out(text, values, closed, strict):
    with contextlib.suppress(TawnyError):
        try:
            checked = expressions.compile(text, (*RULE_NAMES, "a") if closed else None, strict=strict)
        except TawnyError as error:
            if not (isinstance(error, InvalidInput) and error.hint and "column" in error.message):
                raise AssertionError("a mistake was not explained") from error
            return
        checked.evaluate(values)
        checked.test(values)
