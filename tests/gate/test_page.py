"""The decision of the gate as a page and a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from r2d.config.gate import GateConfig
from r2d.evaluation.looks import TestSetUse
from r2d.evaluation.metrics import Metrics
from r2d.gate.decision import GateDecision
from r2d.gate.page import gate_page, gate_picture
from r2d.gate.rules import evaluate_rules
from tests.gate.measured import LABELS, decisions, measured
from tests.reports.pages import assert_accessible, assert_expected_page, assert_self_contained

RULES: list[dict[str, Any]] = [
    {"rule": "better_than_baseline", "baseline": "learnt"},
    {"rule": "not_worse_than_champion", "figure": "macro_f1", "margin": 0.01},
    {"rule": "within_limit", "figure": "under_triage_rate", "at_most": 0.02},
    {"rule": "no_slice_worse_than_champion", "min_rows": 50},
    {"rule": "human_approval"},
]


def metrics_of(*, champion: bool) -> Metrics:
    return measured(tuple(decisions(0.7, seed=3)), tuple(decisions(0.8)) if champion else None)


def decided(rules: list[dict[str, Any]], *, champion: bool = True) -> GateDecision:
    metrics = metrics_of(champion=champion)
    return evaluate_rules(metrics, GateConfig.model_validate({"rules": rules}).for_labels(LABELS))


@pytest.mark.parametrize(
    ("case", "rules", "champion"),
    [
        ("champion", RULES, True),
        ("first", RULES, False),
        ("slices", [{"rule": "no_slice_worse_than_champion", "margin": 0.0, "min_rows": 50}], True),
        ("no_rules", [], False),
    ],
)
def test_the_page_is_the_expected_one(case: str, rules: list[dict[str, Any]], champion: bool) -> None:
    """`R2D_RENEW_PAGES=1 pytest tests/gate/test_page.py` writes the expected pages anew."""
    decision = replace(
        decided(rules, champion=champion), test_set=TestSetUse("0123456789ab" * 5, 24, 12, "macro-F1", 0.02)
    )
    metrics = metrics_of(champion=champion)
    html = gate_page(decision, model_name="triage", version="2", next_step="it <b>stays</b>", metrics=metrics)
    assert_self_contained(html)
    assert_accessible(html)
    assert_expected_page(html, Path(__file__).parent / f"expected_{case}.html")


def test_in_the_picture_a_rule_that_is_met_lies_right_of_the_limit_and_one_that_is_not_left_of_it() -> None:
    def pixels(rule: dict[str, Any], colour: tuple[int, int, int]) -> np.ndarray:
        picture = np.asarray(gate_picture(decided([rule]))).astype(int)
        return np.flatnonzero((np.abs(picture - colour).sum(axis=2) < 30).any(axis=0))[:1]

    met = pixels({"rule": "within_limit", "figure": "accuracy", "at_least": 0.1}, (0x00, 0x72, 0xB2))
    not_met = pixels({"rule": "within_limit", "figure": "accuracy", "at_least": 0.99}, (0xD5, 0x5E, 0x00))
    assert not_met[0] < met[0]


@pytest.mark.parametrize("rules", [[], RULES[-1:], RULES])
def test_a_picture_can_be_drawn_of_any_rules(rules: list[dict[str, Any]]) -> None:
    assert gate_picture(decided(rules)).size[0] > 900
