"""The decision of the gate as a page and a picture."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from r2d.config.gate import GateConfig
from r2d.gate.decision import GateDecision
from r2d.gate.page import gate_page, gate_picture
from r2d.gate.rules import evaluate_rules
from tests.gate.measured import decisions, measured
from tests.reports.pages import Page, assert_accessible, assert_self_contained

RULES: list[dict[str, Any]] = [
    {"rule": "better_than_baseline", "baseline": "learnt"},
    {"rule": "not_worse_than_champion", "figure": "macro_f1", "margin": 0.01},
    {"rule": "within_limit", "figure": "under_triage_rate", "at_most": 0.02},
    {"rule": "no_slice_worse_than_champion", "min_rows": 50},
    {"rule": "human_approval"},
]


def decided(rules: list[dict[str, Any]], *, champion: bool = True) -> GateDecision:
    metrics = measured(tuple(decisions(0.7, seed=3)), tuple(decisions(0.8)) if champion else None)
    return evaluate_rules(metrics, GateConfig.model_validate({"rules": rules}))


def page_of(decision: GateDecision) -> str:
    return gate_page(decision, model_name="triage", version="2", next_step="it stays <b>as</b> it was")


@pytest.mark.parametrize("champion", [True, False])
def test_the_page_is_whole_shows_every_rule_with_its_outcome_and_says_what_follows(champion: bool) -> None:
    decision = decided(RULES, champion=champion)
    html = page_of(decision)
    assert_self_contained(html)
    assert_accessible(html)
    text = Page(html).text
    for verdict in decision.verdicts:
        assert verdict.reason in text
    statuses = re.findall(r'class="said status (\w+)"', html)
    assert statuses == [verdict.status for verdict in decision.verdicts]
    assert "It stays <b>as</b> it was" in text
    assert ("Compared with triage/1, on the same rows" in text) is champion
    assert ("There is no champion" in text) is not champion


def test_a_gate_without_rules_has_a_page_too() -> None:
    html = page_of(decided([], champion=False))
    assert_accessible(html)
    assert "No rule was asked for: every model passes." in Page(html).text


def test_the_slices_that_are_worse_are_listed_with_their_rows() -> None:
    decision = decided([{"rule": "no_slice_worse_than_champion", "margin": 0.0, "min_rows": 50}])
    (verdict,) = decision.verdicts
    text = Page(page_of(decision)).text
    assert len(verdict.details) > 1
    for part in verdict.details:
        assert f"{part.by} = {part.value}" in text


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
