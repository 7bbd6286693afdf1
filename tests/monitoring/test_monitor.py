"""Decisions and later labels: what is joined, what is left out and said, what alarms, and the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from r2d.config.jobs import InferenceConfig, MonitorConfig, MonitorLimits, Tolerance
from r2d.config.serving import AuditConfig
from r2d.errors import ConfigError, DataError
from r2d.inference.calls import Call
from r2d.inference.infer import infer
from r2d.inference.output import InferenceModel
from r2d.monitoring.outcomes import Decision, Joined, JoinedCall, Outcome, join_outcomes
from r2d.monitoring.report import MonitorReport, measure_outcomes, render_monitor_report, tolerances_of
from r2d.serving.audit import AuditLog
from r2d.serving.batching import VersionedAnswer
from tests.inference.keyword_predictor import LABELS, answerer, write_calls
from tests.reports.pages import assert_accessible, assert_expected_page, assert_self_contained

EMERGENCY, SELF_CARE = LABELS.names
MODEL = InferenceModel("toy/1", "a" * 64)
LIMIT = Tolerance(acceptable=0.05, unacceptable=0.15)
LONG = "well " * 20
"""A text that makes the keyword predictor sure enough to show its label."""


def config(tmp_path: Path, outcomes: Path, *decided: Path, **more: Any) -> MonitorConfig:
    values = {"decided": [str(path) for path in decided], "outcomes": {"path": str(outcomes)}, "window": 50}
    return MonitorConfig.model_validate(values | {"output": str(tmp_path / "monitored")} | more)


def join(job: MonitorConfig) -> Joined:
    return join_outcomes(job.decided, job.outcomes, LABELS, since=job.since)


@pytest.fixture
def decided(tmp_path: Path) -> Path:
    """Ten calls, the first five shown `emergency now`, the next four `self care`; the last has no text."""
    texts = [f"pain {LONG}"] * 5 + [LONG] * 4 + [""]
    calls = write_calls(tmp_path / "calls.csv", [{"id": f"c{n}", "text": text} for n, text in enumerate(texts)])
    values = {"data": {"path": str(calls)}, "output": str(tmp_path / "decided.parquet")}
    infer(InferenceConfig.model_validate(values), MODEL, answerer)
    return tmp_path / "decided.parquet"


def outcomes_file(tmp_path: Path, rows: Sequence[Sequence[str]], header: str = "example_id,label,author,time") -> Path:
    path = tmp_path / "outcomes.csv"
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def audited(folder: Path, ids: Sequence[str], version: str, texts: Sequence[str]) -> Path:
    calls = [Call(id_, text) for id_, text in zip(ids, texts, strict=True)]
    log = AuditLog(AuditConfig(folder=str(folder)))
    log.write("127.0.0.1", calls, [VersionedAnswer(answer, version) for answer in answerer().answer(calls)])
    return folder


def test_outcomes_are_joined_by_id_and_what_is_not_is_counted(decided: Path, tmp_path: Path) -> None:
    rows = [
        ("c0", EMERGENCY, "anna", "2026-01-01"), ("c1", SELF_CARE, "anna", "2026-01-01"),
        ("c5", f" {EMERGENCY.upper()} ", "anna", ""),  # another spelling of a label is that label
        ("c2", SELF_CARE, "anna", "2026-01-01"), ("c2", EMERGENCY, "anna", "2026-01-02"),  # she changed her mind
        ("c3", SELF_CARE, "anna", "2026-01-01"), ("c3", EMERGENCY, "otto", "2026-01-02"),  # they disagree
        ("c4", SELF_CARE, "", ""), ("c4", EMERGENCY, "", ""),  # nobody knows which is the later one
        ("c6", "", "anna", "2026-01-01"), ("c9", EMERGENCY, "anna", ""), ("other", SELF_CARE, "anna", ""),
    ]  # fmt: skip
    joined = join(config(tmp_path, outcomes_file(tmp_path, rows), decided))
    assert {call.decision.id: call.outcome.label for call in joined.calls["toy/1"]} == {
        "c0": EMERGENCY, "c1": SELF_CARE, "c2": EMERGENCY, "c5": EMERGENCY,
    }  # fmt: skip
    assert joined.left_out == {"no_decision": 1, "unknown_id": 2, "no_label": 1, "conflicting_labels": 2}
    assert (joined.num_outcomes, joined.num_decided, joined.hashes) == (12, {"toy/1": 9}, {"toy/1": "a" * 64})


def test_an_audit_log_is_joined_by_version_and_time(tmp_path: Path) -> None:
    folder = audited(tmp_path / "audit", ["a", "b"], "toy/1", [f"pain {LONG}", "short"])
    audited(folder, ["b", "a", "a"], "toy/2", [LONG, LONG, f"pain {LONG}"])
    audited(folder, ["c"], "toy/2", [LONG])
    now = datetime.now(UTC).isoformat()
    rows = [("a", EMERGENCY, now), ("b", SELF_CARE, now), ("c", SELF_CARE, "2020-01-01")]
    job = config(tmp_path, outcomes_file(tmp_path, rows, "id,label,time"), folder)
    joined = join(job)
    assert {version: [call.decision.id for call in calls] for version, calls in joined.calls.items()} == {
        "toy/1": ["a", "b"], "toy/2": ["b"],
    }  # fmt: skip
    assert [call.decision.is_shown for call in joined.calls["toy/1"]] == [True, False]
    assert joined.left_out == {"decided_twice": 1, "before_decision": 1}
    [path] = folder.glob("*.jsonl")
    path.write_text(path.read_text(encoding="utf-8") + '{"time": "2026-', encoding="utf-8")
    with pytest.raises(DataError, match=r"1 line is none of an audit log: line 7"):
        join(job)
    later = job.model_copy(update={"since": datetime(2100, 1, 1, tzinfo=UTC)})
    path.write_text(path.read_text(encoding="utf-8").rpartition("\n")[0] + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="none of its 3 rows could be joined to 0 decisions"):
        join(later)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("x", SELF_CARE, "", ""), ("y", SELF_CARE, "", "")], r"none of its 2 rows could be .*2 outcomes of an id"),
        ([("c0", "patient died of sepsis last week", "", "")], r"column 'label': 1 of 1 rows have no declared label"),
        ([("c0", SELF_CARE, "", "yesterday")], r"1 row has no time in column 'time': line 2"),
    ],
)  # fmt: skip
def test_outcomes_that_cannot_be_used_are_refused_and_not_quoted(
    rows: list[Any], message: str, decided: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        join(config(tmp_path, outcomes_file(tmp_path, rows), decided))
    assert "sepsis" not in str(caught.value)
    assert "yesterday" not in str(caught.value)


def test_files_that_are_no_decisions_are_refused(decided: Path, tmp_path: Path) -> None:
    outcomes = outcomes_file(tmp_path, [("c0", SELF_CARE, "", "")])
    write_calls(tmp_path / "other.parquet", [{"id": "c0", "label": SELF_CARE}])
    (tmp_path / "empty").mkdir()
    for name, message in {
        "other.parquet": "not written by a batch inference", "none": "no such file", "empty": "no .jsonl file",
    }.items():  # fmt: skip
        with pytest.raises(DataError, match=message):
            join(config(tmp_path, outcomes, tmp_path / name))


def measured(errors: Sequence[int], tolerance: Tolerance | None = LIMIT, *, shown: bool = True) -> MonitorReport:
    """Calls of one version that said `self care`; those with 1 turned out to be emergencies."""
    return _measured(errors, tolerance, shown)[0]


def _measured(errors: Sequence[int], tolerance: Tolerance | None, shown: bool = True) -> Any:
    calls = [
        JoinedCall(Decision(str(n), SELF_CARE, shown, "toy/1"), Outcome(EMERGENCY if error else SELF_CARE, None))
        for n, error in enumerate(errors)
    ]
    joined = Joined({"toy/1": calls}, {"toy/1": 2 * len(calls)}, len(calls), {"unknown_id": 3}, {"toy/1": "a" * 64})
    job = MonitorConfig.model_validate({"decided": ["x"], "outcomes": {"path": "x.csv"}, "window": 50})
    return measure_outcomes(joined, LABELS, {} if tolerance is None else {"under_triage": tolerance}, job)


RARE = ([0] * 24 + [1]) * 12
OFTEN = [*RARE, *([0, 0, 1] * 40)]


def test_a_rise_of_errors_alarms_and_a_rate_that_is_acceptable_does_not() -> None:
    steady, alarmed = measured(RARE), measured(OFTEN)
    assert (steady.alarm, steady.versions[0].measures["under_triage"].outcome) == (False, "steady")
    assert alarmed.alarm
    found = alarmed.versions[0].measures["under_triage"]
    assert len(RARE) < found.alarms[0].call < len(RARE) + 60
    assert found.calls_between_false_alarms >= 10_000
    assert found.recent.value > 0.3 > found.share.value
    assert "alarm at call" in alarmed.reasons[0]
    assert alarmed.versions[0].measures["error"].outcome == "no limit"


@pytest.mark.parametrize(
    ("errors", "shown", "outcome", "notice"),
    [
        ([1] * 5, True, "above acceptable", "Errors are more frequent than is acceptable, so far"),
        ([0] * 5, True, "too few calls", "Too few calls to tell"),
        ([1] * 5, False, "no calls", "Too few calls to tell"),
        (RARE, True, "steady", "No alarm"),
    ],
)
def test_nothing_is_called_steady_that_is_not_known_to_be(
    errors: list[int], shown: bool, outcome: str, notice: str
) -> None:
    report, plots = _measured(errors, LIMIT, shown)
    measure = report.versions[0].measures["under_triage"]
    assert (report.alarm, measure.outcome) == (False, outcome)
    page = render_monitor_report(report, plots)
    assert f"<strong>{notice}.</strong>" in page
    assert ("notice go" in page) == (outcome == "steady")


def test_calls_that_were_handed_over_are_no_errors_of_the_model() -> None:
    report = measured(OFTEN, shown=False)
    assert not report.alarm
    assert {measure.outcome for measure in report.versions[0].measures.values()} == {"no calls"}


def test_a_more_urgent_label_is_wrong_and_no_under_triage() -> None:
    calls = [JoinedCall(Decision("1", EMERGENCY, True, "toy/1"), Outcome(SELF_CARE, None))]
    joined = Joined({"toy/1": calls}, {"toy/1": 1}, 1, {}, {})
    job = MonitorConfig.model_validate({"decided": ["x"], "outcomes": {"path": "x.csv"}})
    measures = measure_outcomes(joined, LABELS, {}, job)[0].versions[0].measures
    assert (measures["under_triage"].num_errors, measures["error"].num_errors) == (0, 1)


def test_without_a_declared_limit_that_of_the_model_counts() -> None:
    from tests.inference.keyword_predictor import calibration

    fitted = calibration(0.7)
    assert tolerances_of(MonitorLimits(), LABELS, fitted) == {}
    fitted.facts["selective"].update(risk="under_triage", max_risk=0.1)
    assert tolerances_of(MonitorLimits(), LABELS, fitted)["under_triage"].unacceptable == pytest.approx(0.2 / 1.1)
    assert tolerances_of(MonitorLimits(error=LIMIT), LABELS, fitted) == {"error": LIMIT}
    unordered = LABELS.model_copy(update={"ordered": False})
    assert tolerances_of(MonitorLimits(), unordered, fitted) == {}
    with pytest.raises(ConfigError, match=r"have no order; give limits\.error"):
        tolerances_of(MonitorLimits(under_triage=LIMIT), unordered, None)


def test_rates_that_nobody_can_tell_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="not far enough above acceptable"):
        Tolerance(acceptable=0.05, unacceptable=0.055)


@pytest.mark.parametrize("case", ["alarm", "steady", "no_limit"])
def test_the_page_is_the_expected_one(case: str) -> None:
    """`R2D_RENEW_PAGES=1 pytest tests/monitoring` writes the expected pages anew."""
    report, plots = _measured(OFTEN if case == "alarm" else RARE, None if case == "no_limit" else LIMIT)
    html = render_monitor_report(report, plots)
    assert_self_contained(html)
    assert_accessible(html)
    assert_expected_page(html, Path(__file__).parent / f"expected_{case}.html")
    json.dumps(report.to_json())
