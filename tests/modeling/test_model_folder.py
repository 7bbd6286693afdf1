"""The files of a model folder: kept whole, refused when damaged; none where the model was never evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from r2d.errors import ModelError
from r2d.modeling.model_folder import (
    CALIBRATION_FILE,
    Calibration,
    read_calibration,
    read_model_facts,
    write_calibration,
)


def calibration(threshold: float | None, temperature: float = 2.0) -> Calibration:
    chosen = {"risk": "error", "max_risk": 0.05, "bound_confidence": 0.95, "threshold": threshold, "reason": None}
    return Calibration.of({"value": temperature, "num_rows": 9}, chosen)


def test_it_comes_back_as_it_was_written_and_a_folder_without_it_has_none(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) is None
    write_calibration(tmp_path, calibration(0.7))
    assert read_calibration(tmp_path) == calibration(0.7)
    assert [path.name for path in tmp_path.iterdir()] == [CALIBRATION_FILE]


@pytest.mark.parametrize(
    ("threshold", "confidence", "defers"),
    [(0.7, 0.7, False), (0.7, 0.69, True), (None, 1.0, True), (0.0, 0.0, False)],
)
def test_below_the_threshold_a_person_decides_and_without_one_always(
    threshold: float | None, confidence: float, defers: bool
) -> None:
    assert calibration(threshold).defers(confidence, "same day", {}) is defers


@pytest.mark.parametrize(("otherwise", "unknown_is_deferred"), [(0.5, False), (None, True)])
@pytest.mark.parametrize("per", ["label", "site"])
def test_a_label_or_value_has_its_own_threshold_and_any_other_the_common_one(
    per: str, otherwise: float | None, unknown_is_deferred: bool, tmp_path: Path
) -> None:
    parts = {"north": {"threshold": 0.9}, "south": {"threshold": None}}
    selective = {"threshold": None, "per": per, "parts": parts, "otherwise": otherwise}
    write_calibration(tmp_path, Calibration.of({"value": 1.0}, selective))
    stored = read_calibration(tmp_path)
    assert stored is not None

    def defers(part: str, confidence: float) -> bool:
        return stored.defers(confidence, *((part, {}) if per == "label" else ("any label", {"site": part})))

    assert [defers("north", 0.9), defers("north", 0.89), defers("south", 1.0)] == [False, True, True]
    assert defers("east", 0.6) is unknown_is_deferred
    assert stored.defers(0.6, "any label", {}) is unknown_is_deferred, "the attribute is missing"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "is of format 2, this version reads 1"),
        ({"temperature": {"value": 0}}, "is damaged"),
        ({"selective": {"threshold": 7}}, "is damaged"),
        ({"selective": {"threshold": 0.7, "parts": {"north": {"threshold": 7}}}}, "is damaged"),
        ({"selective": {}}, "is damaged"),
    ],
)
def test_a_file_that_means_nothing_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    content = json.loads(json.dumps(calibration(0.7).facts)) | change
    (tmp_path / CALIBRATION_FILE).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        read_calibration(tmp_path)
    (tmp_path / CALIBRATION_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="is damaged"):
        read_calibration(tmp_path)


def test_a_folder_that_is_no_model_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no Reason2Decide model folder"):
        read_model_facts(tmp_path)


def test_the_tokenizer_of_a_model_folder_does_not_hold_the_limit_of_what_was_tokenized_last(stage2_model: Path) -> None:
    assert json.loads((stage2_model / "tokenizer.json").read_text(encoding="utf-8"))["truncation"] is None
