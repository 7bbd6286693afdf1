"""Reviews as files, and a run that reads them: labels, rationales and their provenance."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from r2d.config.privacy import PrivacyConfig
from r2d.config.run import RunConfig
from r2d.data.deidentify import deidentify_examples
from r2d.data.load import load_examples
from r2d.errors import DataError
from r2d.rationales.ingest import ingest
from r2d.review.exports import export_reviews, labeling_config
from r2d.review.imports import import_label_studio
from r2d.review.store import Case, ReviewStore
from r2d.review.verdicts import verdicts_of
from tests.review.conftest import LABELS, a_case
from tests.review.test_store import act

EDITED = '- fever is present, "3 days", and so\nself care is right'


@pytest.fixture
def reviewed(store: ReviewStore) -> list[Case]:
    """Case a is accepted; b corrected with an edit, by two who differ; c with a rationale of the reviewer's own; d
    declined; e is still open."""
    store.add_cases([a_case("d"), a_case("e")])
    a, b, c, d, e = store.cases()
    act(store, a, "accept", label="self care")
    act(store, b, "label", label="emergency now")
    act(store, b, "correct", label="emergency now", rationale=EDITED, edits_the_model=True)
    act(store, b, "correct", "bob", label="self care")
    act(store, c, "correct", label="emergency now", rationale="a rationale of my own", edits_the_model=False)
    act(store, d, "decline")
    act(store, e, "label", label="self care")
    return store.cases()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_label_that_stands_is_a_row_with_who_and_when_and_a_disagreement_is_two(
    store: ReviewStore, reviewed: list[Case], tmp_path: Path
) -> None:
    exported = export_reviews(store, tmp_path / "out")
    assert (exported.num_reviewed, exported.num_disagreements) == (4, 1)
    found = rows(tmp_path / "out" / "reviewed.csv")
    assert [(row["id"], row["label"], row["author"], row["outcome"]) for row in found] == [
        ("a", "self care", "ann", "accepted"),
        ("b", "emergency now", "ann", "corrected"),
        ("b", "self care", "bob", "corrected"),
        ("c", "emergency now", "ann", "corrected"),
    ]
    assert all(row["time"] and row["text"] == reviewed[0].text and row["model"] == "toy/1" for row in found)
    [with_model] = json.loads((tmp_path / "out" / "agreement.json").read_text(encoding="utf-8"))
    assert (with_model["first"], with_model["second"], with_model["num_cases"]) == ("ann", "the model", 2)
    lines = (tmp_path / "out" / "reviews.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 6, "declined and open ones too"
    assert sum(len(json.loads(line)["events"]) for line in lines) == len(store.events())


def test_a_run_reads_labels_and_rationales_with_author_time_and_what_was_edited(
    store: ReviewStore, reviewed: list[Case], tmp_path: Path
) -> None:
    data = tmp_path / "notes.csv"
    data.write_text(
        f"id,text,label,split\nb,{reviewed[1].text},self care,train\n"
        + "".join(f"v{n},pt has fever {n},self care,{split}\n" for n, split in enumerate(("validation", "test"))),
        encoding="utf-8",
    )
    keys = export_reviews(store, tmp_path / "out").config()
    values: dict[str, Any] = {
        "data": data_of(data) | keys["data"],
        "rationales": {"stage1_source": ["nurse", "nurse_post_processed", "model"], **keys["rationales"]},
    }  # fmt: skip
    run = RunConfig.model_validate(values)
    examples = load_examples(run.data)
    labels = dict(zip(examples["id"].to_pylist(), examples["label"].to_pylist(), strict=True))
    assert labels == {
        "b": "self care", "v0": "self care", "v1": "self care", "a": "self care", "c": "emergency now",
    }, "what reviewers differ on stays as it was"  # fmt: skip
    ingestion = ingest(examples, run.rationales, data=run.data, privacy=PrivacyConfig(), work_dir=tmp_path)
    taken = {(row["example_id"], row["source"]): row for row in ingestion.provenance.to_pylist()}
    assert set(taken) == {("a", "model"), ("b", "model"), ("b", "nurse_post_processed"), ("c", "nurse")}
    edited, own = taken["b", "nurse_post_processed"], taken["c", "nurse"]
    assert edited["edited_from"] == "model: model-2"
    assert (own["author"], own["label"], own["edited_from"]) == ("ann", "emergency now", None)
    assert own["created_at"] == verdicts_of(store.events())["ann", 3].at
    assert taken["a", "model"]["author"] == "toy/1"
    texts = {row["id"]: dict(row["rationales"]) for row in ingestion.examples.to_pylist()}
    assert texts["b"]["nurse_post_processed"] == EDITED


def data_of(path: Path) -> dict[str, Any]:
    labels = {"names": LABELS, "ordered": True}
    return {"format": "csv", "path": str(path), "labels": labels, "columns": {"split": "split"}}


def test_an_id_of_another_text_gives_that_row_neither_label_nor_rationale(
    store: ReviewStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a, b, c = store.cases()
    for case in (a, b, c):
        act(store, case, "correct", label="emergency now", rationale="fever is present, so go", edits_the_model=False)
    act(store, c, "correct", "bob", label="Emergency now", rationale="fever is present, so go")
    data = tmp_path / "notes.csv"
    text = a.text.upper().replace(" ", "  ")
    data.write_text(
        f"id,text,label,split\na,another secret,self care,train\nb,{text},self care,train\nc,{text},self care,train\n"
        "v,a cough,self care,validation\nt,a cold,self care,test\n",
        encoding="utf-8",
    )
    keys = export_reviews(store, tmp_path / "out").config()
    run = RunConfig.model_validate(
        {"data": data_of(data) | keys["data"], "rationales": {"stage1_source": ["nurse"], **keys["rationales"]}}
    )
    examples = load_examples(run.data)
    labels = dict(zip(examples["id"].to_pylist(), examples["label"].to_pylist(), strict=True))
    assert (labels["a"], labels["b"], labels["c"], len(labels)) == ("self care", "emergency now", "emergency now", 5)
    assert "1 id of another text than in the data, whose label is not taken: 'a';" in caplog.text
    assert "secret" not in caplog.text
    places = dict(zip(examples["id"].to_pylist(), examples["place"].to_pylist(), strict=True))
    assert places["c"].count("ann") == places["c"].count("bob") == 1, "both who agree are named"
    ingestion = ingest(examples, run.rationales, data=run.data, privacy=PrivacyConfig(), work_dir=tmp_path)
    assert {row["example_id"] for row in ingestion.provenance.to_pylist()} == {"b", "c"}
    assert {row["example_id"]: row["reason"] for row in ingestion.rejected.to_pylist()}["a"] == "another_text"


def test_a_text_is_the_same_once_its_identifiers_are_replaced(store: ReviewStore, tmp_path: Path) -> None:
    text = "pt has fever, call 555-010-4477 or mail a.b@ward.example; born 3 May 1961"
    store.add_cases([a_case("x", text=text)])
    act(store, store.cases()[3], "correct", label="self care", rationale="fever is present, and nothing else")
    data = tmp_path / "notes.csv"
    data.write_text(
        f'id,text,label,split\nx,"{text}",self care,train\nv,a cough,self care,validation\nt,a cold,self care,test\n',
        encoding="utf-8",
    )
    keys = export_reviews(store, tmp_path / "out").config()
    run = RunConfig.model_validate(
        {"data": data_of(data) | keys["data"], "rationales": {"stage1_source": ["nurse"], **keys["rationales"]}}
    )
    privacy = PrivacyConfig(policy="redact")
    examples = deidentify_examples(load_examples(run.data), privacy).examples
    assert "[PHONE_1]" in examples["text"].to_pylist()[0]
    ingestion = ingest(examples, run.rationales, data=run.data, privacy=privacy, work_dir=tmp_path)
    assert [row["example_id"] for row in ingestion.provenance.to_pylist()] == ["x"]


def test_what_anybody_flagged_as_unsafe_is_no_training_material(store: ReviewStore, tmp_path: Path) -> None:
    a, b, c = store.cases()
    act(store, a, "unsafe", reason="harmful")
    act(store, a, "accept", label="self care")
    act(store, b, "accept", label="self care")
    act(store, b, "unsafe", "bob")
    act(store, c, "accept", label="self care")
    act(store, b, "correct", "bob", label="self care", rationale="fever is not present", edits_the_model=True)
    export_reviews(store, tmp_path)
    [edited] = rows(tmp_path / "nurse_post_processed.csv")
    assert (edited["example_id"], edited["edits"]) == ("b", ""), "what it edits is not there"
    assert [row["example_id"] for row in rows(tmp_path / "model.csv")] == ["c"]
    assert [(row["id"], row["unsafe"]) for row in rows(tmp_path / "reviewed.csv")] == [
        ("a", "harmful"),
        ("b", ""),
        ("b", "yes"),
        ("c", ""),
    ]


def test_no_cell_is_a_formula_and_every_cell_is_read_back(store: ReviewStore, tmp_path: Path) -> None:
    risky = ("=1+1", "'=1+1", "'plain", "-3 days of fever", "+49", "@home", "\tcall")
    store.add_cases([a_case(id_, text=f"{id_} fever") for id_ in risky])
    for case in store.cases()[3:]:
        act(store, case, "correct", "=Zoë", label="self care", rationale=f"- fever, {case.number}, is present")
    keys = export_reviews(store, tmp_path / "out").config()
    for name in ("reviewed", "nurse"):
        cells = [cell for row in rows(tmp_path / "out" / f"{name}.csv") for cell in row.values()]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    data = tmp_path / "notes.csv"
    data.write_text(
        "id,text,label,split\nx,a rash,self care,train\nv,a cough,self care,validation\nt,a cold,self care,test\n",
        encoding="utf-8",
    )
    run = RunConfig.model_validate(
        {"data": data_of(data) | keys["data"], "rationales": {"stage1_source": ["nurse"], **keys["rationales"]}}
    )
    examples = load_examples(run.data)
    read = dict(zip(examples["id"].to_pylist(), examples["text"].to_pylist(), strict=True))
    expected = {id_.strip(): f"{id_} fever" for id_ in risky}
    assert {id_: text for id_, text in read.items() if id_ not in "xvt"} == expected
    ingestion = ingest(examples, run.rationales, data=run.data, privacy=PrivacyConfig(), work_dir=tmp_path)
    taken = {row["example_id"]: row["author"] for row in ingestion.provenance.to_pylist()}
    assert taken == dict.fromkeys(expected, "=Zoë")
    texts = [text for row in ingestion.examples.to_pylist() for _, text in row["rationales"]]
    assert all(text.startswith("- fever") for text in texts)


class TestLabelStudio:
    def export(self, path: Path, *annotations: dict[str, Any], case: str = "a", text: str = a_case("a").text) -> Path:
        tasks = [{"id": 9, "data": {"id": case, "text": text}, "annotations": list(annotations)}]
        path.write_text(json.dumps(tasks), encoding="utf-8")
        return path

    def annotation(self, label: str, rationale: str = "", **rest: Any) -> dict[str, Any]:
        result: list[dict[str, Any]] = [{"from_name": "label", "type": "choices", "value": {"choices": [label]}}]
        if rationale:
            result.append({"from_name": "rationale", "type": "textarea", "value": {"text": [rationale]}})
        return {"id": 1, "completed_by": 7, "created_at": "2026-11-01T08:00:00Z", "result": result} | rest

    def test_tasks_show_no_answer_and_annotations_come_back_as_blind_reviews_once(
        self, store: ReviewStore, tmp_path: Path
    ) -> None:
        export_reviews(store, tmp_path / "out")
        tasks = json.loads((tmp_path / "out" / "tasks.json").read_text(encoding="utf-8"))
        assert [task["data"]["id"] for task in tasks] == ["a", "b", "c"]
        assert {key for task in tasks for key in task} == {"data"}

        file = self.export(
            tmp_path / "done.json",
            self.annotation("emergency now", "it came suddenly"),
            self.annotation("self care", completed_by={"email": "bob@ward.example"}),
            self.annotation("self care", completed_by=8, was_cancelled=True),
        )
        assert import_label_studio(store, file) == 2
        assert import_label_studio(store, file) == 0
        by_who = {who: verdict for (who, _), verdict in verdicts_of(store.events()).items()}
        assert (by_who["7"].blind_label, by_who["7"].rationale) == ("emergency now", "it came suddenly")
        assert by_who["7"].at.startswith("2026-11-01T08:00")
        assert "bob" not in json.dumps(list(by_who)), "an address is kept as a hash"

    def test_a_file_of_other_tasks_is_refused(self, store: ReviewStore, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="is of a case of the database"):
            import_label_studio(store, self.export(tmp_path / "x.json", self.annotation("self care"), case="z"))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"created_at": "last week"}, r"1 of 1 annotations have no time \(tasks 1\); give created_at"),
            ({"completed_by": "a\x00b"}, "1 of 1 reviews hold the character NUL"),
        ],
    )
    def test_a_time_that_is_none_and_a_nul_are_refused(
        self, store: ReviewStore, tmp_path: Path, change: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(DataError, match=message):
            import_label_studio(store, self.export(tmp_path / "x.json", self.annotation("self care") | change))
        assert store.events() == []

    def test_annotations_that_cannot_be_placed_are_said_to_be_left_out(
        self, store: ReviewStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A task of another database is counted alone: its id may be that of a person who was erased."""
        tasks = [
            {"data": {"id": case, "text": a_case("a").text}, "annotations": [self.annotation(label)]}
            for case, label in (("a", "self care"), ("b", "go home"), ("somebody", "self care"))
        ]
        (tmp_path / "x.json").write_text(json.dumps(tasks), encoding="utf-8")
        assert import_label_studio(store, tmp_path / "x.json") == 1
        assert "1 review of no case of the database: left out" in caplog.text
        assert "1 review with a label that the case does not have: left out: 'b'" in caplog.text
        assert "somebody" not in caplog.text

    def test_an_annotation_of_another_text_is_left_out(
        self, store: ReviewStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = self.export(tmp_path / "x.json", self.annotation("self care"), text="another secret")
        assert import_label_studio(store, file) == 0
        assert store.events() == []
        assert "1 review of another text than the case of that id: left out: 'a'" in caplog.text
        assert "secret" not in caplog.text

    def test_a_rationale_that_the_page_would_refuse_is_left_out_and_its_label_taken(
        self, store: ReviewStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = self.export(
            tmp_path / "x.json",
            self.annotation("self care", "N/A"),
            self.annotation("self care", "no rash at all", completed_by=8),
        )
        assert import_label_studio(store, file) == 2
        found = {who: (verdict.label, verdict.rationale) for (who, _), verdict in verdicts_of(store.events()).items()}
        assert found == {"7": ("self care", None), "8": ("self care", "no rash at all")}
        assert "1 rationale of fewer than 10 characters, or that reads as none" in caplog.text

    def test_the_interface_has_the_labels(self) -> None:
        assert '<Choice value="a &lt; b"/>' in labeling_config(["a < b", "c"])
