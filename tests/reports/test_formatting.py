from typing import NamedTuple

import pytest

from r2d.reports.formatting import count, decimal, duration, in_unit, interval, percent, sentence, with_interval
from r2d.text import plural


class Estimate(NamedTuple):
    value: float | None
    low: float | None = None
    high: float | None = None


ESTIMATE = Estimate(-0.0312, -0.1, -1e-9)


def test_numbers_are_written_alike_on_every_page() -> None:
    assert [count(1234567), count(True), count(None), count("x")] == ["1,234,567", "yes", "None", "x"]
    assert [percent(0.1234), percent(None)] == ["12.3 %", "–"]
    assert [decimal(0.5), decimal(2.0, 1), decimal(None)] == ["0.500", "2.0", "–"]
    assert [plural(1, "row"), plural(1200, "row"), plural(0, "warns", "warn")] == ["1 row", "1,200 rows", "0 warn"]
    assert [sentence("the JSON object"), sentence("")] == ["The JSON object", ""]
    assert [duration(5.4), duration(65), duration(3600)] == ["0:05", "1:05", "1:00:00"]


@pytest.mark.parametrize(
    ("unit", "value", "ends"),
    [
        ("share", "−3.1 %", "−10.0 to 0.0 %"),
        ("decimal", "−0.031", "−0.100 to 0.000"),
        ("score", "0.0", "−0.1 to 0.0"),
        ("grade", "−0.03", "−0.10 to 0.00"),
        ("points", "−3.1", "−10.0 to +0.0"),
        ("signed", "−0.031", "−0.100 to +0.000"),
    ],
)
def test_a_value_and_its_interval_are_written_in_one_unit_and_0_has_no_minus(unit: str, value: str, ends: str) -> None:
    assert in_unit(ESTIMATE.value, unit) == value
    assert interval(ESTIMATE, unit) == ends
    assert with_interval(ESTIMATE, unit) == f"{value} ({ends})"


def test_a_difference_that_is_there_is_not_shown_as_none() -> None:
    assert [in_unit(value, "signed") for value in (0.0004, -0.00031, 0.0, 1e-12)] == [
        "+0.0004",
        "−0.0003",
        "+0.000",
        "+0.000",
    ]
    assert [in_unit(value, "points") for value in (0.0004, -0.00001)] == ["+0.04", "−0.001"]
    assert in_unit(0.0004, "decimal") == "0.000"


def test_a_missing_value_is_a_dash_and_a_missing_interval_is_said() -> None:
    without, nothing = Estimate(0.5), Estimate(None)
    assert in_unit(None, "share") == "–"
    assert [interval(without, "share"), with_interval(without, "share")] == ["no interval", "50.0 % (no interval)"]
    assert [interval(nothing, "share"), with_interval(nothing, "share")] == ["not defined", "–"]
