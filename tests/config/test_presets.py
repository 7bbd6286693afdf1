"""Presets for public data sets: valid, honest about what was seen, able to read a file of the form they name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from r2d.config.loading import load_config
from r2d.data.readers.tables import read_source
from r2d.errors import DataError
from r2d.workflows import check_files
from tests.tables import as_csv

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "presets"
PRESETS = sorted(FOLDER.glob("*.yaml"))
of_every_preset = pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
QUESTION = {
    "QUESTION": "Does it help?", "CONTEXTS": ["It was tried.", "It was counted."], "LONG_ANSWER": "It helps.",
    "final_decision": "yes",
}  # fmt: skip
ROWS: dict[str, Any] = {
    "pubmedqa_labelled": {"12": QUESTION},
    "pubmedqa_artificial": {"12": QUESTION},
    "bioasq_yesno": [{"id": "a1", "label": "yes", "rationale": "It helps.", "text": "Does it help?\nIt was tried."}],
    "ddxplus": [
        {"AGE": "30", "SEX": "F", "PATHOLOGY": "URTI", "INITIAL_EVIDENCE": "E_91", "EVIDENCES": "['E_91', 'E_77']"}
    ],
    "medreason": [
        {"question": "Which?", "options": "Answer Choices:\nA. this one\nB. that one", "answer": "that one",
         "reasoning": "Because.", "dataset_name": "medqa", "id_in_dataset": 7}
    ],
    "mietic": [
        {"stay_id": "31", "age": "70", "gender": "F", "arrival_transport": "WALK IN", "chiefcomplaint": "Cough",
         "tiragecase": "She coughs.", "temperature": "98.1", "heartrate": "80", "resprate": "16", "o2sat": "98",
         "sbp": "120", "dbp": "70", "pain": "2", "acuity": "3"}
    ],
}  # fmt: skip
"""Preset -> rows in the form that its comment describes."""
TEXTS = {
    "pubmedqa_labelled": "Question: Does it help?\nContext: It was tried. It was counted.",
    "pubmedqa_artificial": "Question: Does it help?\nContext: It was tried. It was counted.",
    "bioasq_yesno": "Does it help?\nIt was tried.",
    "ddxplus": "Age 30, sex F. First E_91. Then ['E_91', 'E_77']",
    "medreason": "Which?\nAnswer Choices:\nA. this one\nB. that one",
    "mietic": "70 years, F. Cough. She coughs. Temperature 98.1, heart rate 80, breaths 16, oxygen 98, blood pressure "
    "120/70, pain 2.",
}


@of_every_preset
def test_a_preset_is_valid_and_warns_of_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_config(path)
    assert caplog.messages == []


@of_every_preset
def test_a_preset_says_its_licence_and_whether_its_columns_were_seen(path: Path) -> None:
    comment = " ".join(re.findall(r"(?m)^# (.*)$", path.read_text(encoding="utf-8")))
    assert re.search(r"Licence|Apache|terms of|Credentialed", comment)
    (columns,) = re.findall(r"Columns: (.*)", comment)
    assert re.search(r"all seen in the published file|not here", columns)
    assert f"[{path.name}]({path.name})" in (FOLDER / "README.md").read_text(encoding="utf-8")


@of_every_preset
def test_a_preset_without_its_data_says_which_file_is_missing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = load_config(path)
    with pytest.raises(
        DataError, match=rf"no such file or folder \(data.path is '{run.data.path}'\); correct data.path"
    ):
        check_files(run, start_folder=None)


@of_every_preset
def test_a_preset_reads_a_file_of_the_form_that_it_names(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, rows = load_config(path), ROWS[path.stem]
    file = Path(run.data.path or "")
    file.parent.mkdir()
    if run.data.format == "csv":
        file.write_text(as_csv(rows), encoding="utf-8", newline="")
    else:
        lines = [rows] if isinstance(rows, dict) else rows
        file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    columns = read_source(run.data).columns
    assert columns["text"].to_pylist() == [TEXTS[path.stem]]
    (label,) = columns["label"].to_pylist()
    if run.data.labels.per_row:
        assert columns["options"].to_pylist() == [["this one", "that one"]]
        assert label in columns["options"].to_pylist()[0]
    else:
        assert run.data.labels.codes.get(label, label) in run.data.labels.names
    assert {name for name in columns.column_names if name.startswith("rationales.")} == (
        {f"rationales.{run.rationales.stage1_source}"} if run.method.explains else set()
    )
