from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferline.evaluation.measurement import Measurement
from transferline.validation.check import UNKNOWN, Check, Explanation, Verdict, exactly
from transferline.validation.expectations import _table, compare, expectation
from transferline.validation.finding import Finding, check_table, counted


def check(value, error=0.01, expected=1.0, tolerance=0.05, control=None):
    why = Explanation("A cause.", Measurement(control, error)) if control is not None else None
    measured = Measurement(value, error)
    return Check("x", measured, exactly(expected), tolerance, "somewhere", why)


def uncertain(value, control, error):
    """A number that disagrees with 1.0 +- 0.05, and a control with another error."""
    why = Explanation("A cause.", Measurement(control, error))
    return Check("x", Measurement(value, 0.01), exactly(1.0), 0.05, "somewhere", why)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (check(1.07), Verdict.AGREES),
        (check(1.09), Verdict.DISAGREES),
        (check(0.91), Verdict.DISAGREES),
        (check(1.2, control=1.02), Verdict.EXPLAINED),
        (check(1.2, control=1.3), Verdict.DISAGREES),
        (check(1.2, control=math.nan), Verdict.DISAGREES),
        (check(1.02, control=7.0), Verdict.AGREES),
        (check(5.0, error=0.2), Verdict.UNDECIDED),
        (check(math.nan), Verdict.UNDECIDED),
        (check(1.0, error=math.inf), Verdict.UNDECIDED),
        (check(0.31, error=0.0, expected=0.3, tolerance=0.0), Verdict.DISAGREES),
        (check(0.1 + 0.2, error=0.0, expected=0.3, tolerance=0.0), Verdict.AGREES),
    ],
)
def test_the_verdict_follows_from_the_numbers(found, verdict):
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("found", "decides", "verdict"),
    [
        # Allowed 0.05 + 3 x 0.04 = 0.17 for a difference of 0.2.
        (uncertain(1.2, 1.1, 0.04), True, Verdict.EXPLAINED),
        (uncertain(1.2, 1.18, 0.04), True, Verdict.DISAGREES),
        # Allowed 0.05 + 3 x 0.06 = 0.23: the number itself would pass as its control.
        (uncertain(1.2, 1.2, 0.06), False, Verdict.DISAGREES),
        (uncertain(1.2, 1.0, 0.06), False, Verdict.DISAGREES),
        (uncertain(0.8, 1.0, 0.06), False, Verdict.DISAGREES),
        (uncertain(1.2, math.nan, 0.01), False, Verdict.DISAGREES),
        (check(1.2), False, Verdict.DISAGREES),
    ],
)
def test_a_control_that_could_not_fail_explains_nothing(found, decides, verdict):
    assert found.control_decides is decides
    assert found.verdict == verdict


@given(
    value=st.floats(0.0, 3.0),
    error=st.floats(0.0, 0.3),
    control_error=st.floats(0.0, 0.3),
    expected_error=st.floats(0.0, 0.3),
)
def test_a_control_that_changes_nothing_never_explains(value, error, control_error, expected_error):
    why = Explanation("Nothing.", Measurement(value, control_error))
    expected = Measurement(1.0, expected_error)
    found = Check("x", Measurement(value, error), expected, 0.05, "somewhere", why)
    assert found.verdict != Verdict.EXPLAINED


def test_the_error_of_the_expected_number_counts_too():
    loose = Check("x", Measurement(1.3, 0.01), Measurement(1.0, 0.1), 0.05, "a measurement")
    assert loose.verdict == Verdict.AGREES


def test_checks_become_plain_json():
    plain = json.loads(json.dumps(check(1.2, control=1.02).to_dict(), allow_nan=False))
    assert plain["verdict"] == "explained"
    assert plain["control"] == {"value": 1.02, "error": 0.01}
    missing = Check("x", UNKNOWN, exactly(1.0), 0.0, "somewhere").to_dict()
    assert missing["measured"] == {"value": None, "error": None}


def test_tables_show_what_does_not_agree_and_why():
    found = (check(1.0), check(1.2, control=1.02), check(9.0))
    table = check_table("Checks", found)
    assert [row[4] for row in table.rows] == ["agrees", "**explained**", "**disagrees**"]
    assert "A cause. With that accounted for: 1.020 ± 0.010." in table.note
    failed = check_table("Checks", (check(1.2, control=1.3), uncertain(1.2, 1.0, 0.06))).note
    assert "which disagrees too" in failed
    assert "too uncertain to explain anything" in failed
    assert counted(Finding("a", "A", "", found).checks)[Verdict.DISAGREES] == 1


def test_every_known_number_has_a_source():
    for name, known in _table().items():
        assert known.source, name
        assert known.tolerance >= 0.0
        assert known.error >= 0.0


def test_comparing_takes_value_tolerance_and_source_from_the_table():
    found = compare("mass", Measurement(91.2, 0.01), "z_mass")
    assert (found.expected.value, found.source) == (91.1876, expectation("z_mass").source)
    assert found.verdict == Verdict.AGREES
