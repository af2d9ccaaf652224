"""Values of upstream at the border: what they become, and that nothing raises."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.border.fit import (
    LONGEST_WAIT_S,
    MOST_TOKENS,
    cost_of,
    count_of,
    fit_json,
    fit_name,
    header_value,
    seconds_of,
)

HUGE = int("9" * 400)
NO_NUMBERS: list[Any] = [
    None, True, False, "", " ", "x", "NaN", "inf", "Infinity", "1e400", "0x10", "1_000", "٣", "9" * 400, "1,5",
    float("nan"), float("-inf"), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), [], [3], {}, {"a": 1}, b"3",
    object(), "\ud800",
]  # fmt: skip
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.decimals(),
    st.lists(st.integers()), st.characters(categories=["Cs"]), st.sampled_from([HUGE, -HUGE, "9" * 5000]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (3, 3), (0, 0), (3.0, 3), ("3", 3), (" 3.0 ", 3), (Decimal(3), 3), (-0.0, 0),
        (MOST_TOKENS + 1, MOST_TOKENS), (HUGE, MOST_TOKENS), (1e300, MOST_TOKENS), ("1e300", MOST_TOKENS),
        (-1, None), (-HUGE, None), (-3.0, None), ("-3", None), (3.5, None), ("3.5", None),
        *((each, None) for each in NO_NUMBERS),
    ],
)  # fmt: skip
def test_a_count_is_whole_and_not_negative(value: object, count: int | None) -> None:
    """faults I2."""
    assert count_of(value) == count
    assert not isinstance(count_of(value), float)


@pytest.mark.parametrize(
    ("value", "cost"),
    [
        (0, 0), (0.001, 0.001), (1, 1), ("0.001", 0.001), ("2.5e-05", 0.000025), (".5", 0.5), (10_000, 10_000),
        (Decimal("0.1"), 0.1), (-0.0, 0), (10_000.01, None), (HUGE, None), (-HUGE, None), (-0.001, None),
        ("-1", None), (1e300, None), *((each, None) for each in NO_NUMBERS),
    ],
)  # fmt: skip
def test_a_cost_is_a_sum_within_reason_or_unknown(value: object, cost: float | None) -> None:
    """faults I2."""
    assert cost_of(value) == cost


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0), (2.5, 2.5), ("20", 20), (LONGEST_WAIT_S, LONGEST_WAIT_S), (LONGEST_WAIT_S + 1, None), (1e308, None),
        (HUGE, None), (-1, None), *((each, None) for each in NO_NUMBERS),
    ],
)  # fmt: skip
def test_a_wait_is_finite_and_bounded(value: object, seconds: float | None) -> None:
    """faults I1."""
    assert seconds_of(value) == seconds


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("acme/m", "acme/m"), ("Größe 模型 🙂", "Größe 模型 🙂"), (7, "7"), ("a\ud800b", "a\ufffdb"),
        ("a\x1b[2J\r\nb\x7f\x85\u2028", "a\ufffd[2J\ufffd\ufffdb\ufffd\ufffd\ufffd"), ("a\u202eb", "a\ufffdb"),
        ("x" * 200, "x" * 200), ("x" * 201, "x" * 199 + "…"), ("", None), ("  ", None), (None, None), (True, None),
        (1.5, None), (HUGE, None), ([], None), (b"x", None),
    ],
)  # fmt: skip
def test_a_name_is_short_and_holds_nothing_unfit(value: object, name: str | None) -> None:
    """break-it 5, 18, 23."""
    assert fit_name(value) == name


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ("gen-1", "gen-1"), ("gen 1", "gen 1"), ("gen-1\r\nX-Evil: 1", None), ("gen-\x1b[2J", None), ("gen-é", None),
        ("gen-" + "a" * 20_000, None), ("x" * 200, "x" * 200), (" gen", None), ("gen\t", None), ("", None),
        (None, None), (1, None), ("\ud800", None),
    ],
)  # fmt: skip
def test_a_header_value_is_printable_and_short_or_none(value: object, header: str | None) -> None:
    """break-it 13."""
    assert header_value(value) == header


def test_json_keeps_what_every_reader_takes() -> None:
    """break-it 26."""
    found = {"a": [float("nan"), float("inf"), HUGE, 2**63, 1.5, True, None, "\ud800"], "b": {"c": -HUGE}}
    assert fit_json(found) == {"a": [None, None, None, 2**63, 1.5, True, None, "\ud800"], "b": {"c": None}}
    deep = fit_json(json.loads("[" * 900 + "]" * 900))
    assert len(json.dumps(deep)) < 300


@given(ANYTHING)
def test_nothing_raises_and_what_comes_out_is_safe(value: Any) -> None:
    count, cost, name = count_of(value), cost_of(value), fit_name(value)
    assert count is None or 0 <= count <= MOST_TOKENS
    assert cost is None or 0 <= cost <= 10_000
    assert seconds_of(value) is None or 0 <= (seconds_of(value) or 0) <= LONGEST_WAIT_S
    assert name is None or (len(name) <= 200 and "\n" not in name and name.encode())
    header_value(value)
    fit_json(value)
