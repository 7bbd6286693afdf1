"""Shares of contradicted claims, counted by hand."""

from __future__ import annotations

import pytest

from r2d.evaluation.rationale_claims import OF_NO_LEXICON, claim_differences, claim_metrics, claims_of
from r2d.evaluation.sections.rationales import ClaimCounts
from r2d.rationales.claims import ClaimChecker
from tests.evaluation.predicted import QUICK, predictions_of

LABELS = ("emergency department", "same day")
NOTES = ["Chest pain. No fainting.", "Cough. Denies fever.", "Sore throat.", "Rash on both arms."]
RATIONALES = [
    "Chest pain with fainting: the right level is same day.",  # one supported, one contradicted; another label
    "Cough without fever.",  # two supported
    "",
    "Fever, no rash.",  # one absent, one contradicted
]


def test_claims_are_counted_by_kind_and_verdict_and_rates_are_of_the_written_rationales() -> None:
    predictions = predictions_of(
        ["same day"] * 4, ["emergency department"] * 4, labels=LABELS, rationales=RATIONALES,
        group_names=["a", "a", "b", "c"],
    )  # fmt: skip
    metrics = claim_metrics(predictions, claims_of(predictions, NOTES, ClaimChecker.of()), QUICK)
    assert (metrics.num_rationales, metrics.num_with_claims) == (3, 3)
    assert (metrics.num_contradicted, metrics.num_stating_other_label) == (2, 1)
    assert metrics.asserted == ClaimCounts(supported=2, contradicted=1, unclear=0, absent=1)
    assert metrics.denied == ClaimCounts(supported=1, contradicted=1, unclear=0, absent=0)
    assert metrics.contradicted_findings == {"fainting": 1, "rash": 1}
    values = {name: estimate.value for name, estimate in metrics.intervals.items()}
    assert values == pytest.approx(
        {
            "contradicted_rationale_rate": 2 / 3,
            "other_label_rate": 1 / 3,
            "supported_share": 3 / 6,
            "contradicted_share": 2 / 6,
            "unclear_share": 0.0,
            "absent_share": 1 / 6,
        }
    )


def test_two_models_are_held_against_each_other_on_the_same_rows() -> None:
    """Contradicted: 2 of 3 written rationales against 1 of 4; states another label: 1 of 3 against none."""
    checker = ClaimChecker.of()
    ours, theirs = (
        predictions_of(["same day"] * 4, ["emergency department"] * 4, labels=LABELS, rationales=rationales)
        for rationales in (RATIONALES, ["Chest pain.", "Cough without fever.", "Sore throat.", "No rash."])
    )
    claims, claims_of_theirs = (claims_of(rows, NOTES, checker) for rows in (ours, theirs))
    gaps = claim_differences(ours, claims, theirs, claims_of_theirs, QUICK)
    assert {name: gap.value for name, gap in gaps.items()} == pytest.approx(
        {"contradicted_rationale_rate": 2 / 3 - 1 / 4, "other_label_rate": 1 / 3}
    )
    assert {gap.method for gap in gaps.values()} == {"score"}, "so few rows differ that the bootstrap is too narrow"
    alike = claim_differences(theirs, claims_of_theirs, theirs, claims_of_theirs, QUICK)["contradicted_rationale_rate"]
    assert alike.low < alike.value == 0.0 < alike.high


def test_no_contradiction_among_the_rows_is_no_certainty() -> None:
    predictions = predictions_of(["same day"] * 3, ["same day"] * 3, labels=LABELS, rationales=["Cough."] * 3)
    metrics = claim_metrics(predictions, claims_of(predictions, ["Cough."] * 3, ClaimChecker.of()), QUICK)
    rate = metrics.intervals["contradicted_rationale_rate"]
    assert (rate.value, rate.method) == (0.0, "exact")
    assert rate.high == pytest.approx(1 - 0.025 ** (1 / 3))


def test_metrics_name_what_was_read_and_hold_no_words_of_a_text() -> None:
    notes, rationales = ["Cough. No floaters."] * 2, ["Cough and floaters.", "Cough."]
    predictions = predictions_of(["same day"] * 2, ["same day"] * 2, labels=LABELS, rationales=rationales)
    metrics = claim_metrics(predictions, claims_of(predictions, notes, ClaimChecker.of()), QUICK)
    assert metrics.findings_read == {"cough": 2}
    assert metrics.contradicted_findings == {OF_NO_LEXICON: 1}


def test_where_no_finding_is_read_contradictions_are_not_measured() -> None:
    predictions = predictions_of(["same day"] * 2, ["same day"] * 2, labels=LABELS, rationales=["Ja.", "Nein."])
    metrics = claim_metrics(predictions, claims_of(predictions, ["Husten."] * 2, ClaimChecker.of()), QUICK)
    assert (metrics.num_with_claims, metrics.intervals["contradicted_rationale_rate"].value) == (0, None)
