"""The papers that are handed in: complete, each claim with its record, open questions counted, no text of a note."""

from __future__ import annotations

import html
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from pydantic import ValidationError

from r2d.config.gate import GateConfig
from r2d.errors import ConfigError
from r2d.evaluation.cohort import cohort_of
from r2d.evaluation.looks import TestSetUse
from r2d.files import read_yaml
from r2d.gate.rules import evaluate_rules
from r2d.papers.facts import FACTS_FILE, WRITTEN, Record, facts_of, value_at
from r2d.papers.papers import CARD_NAMESPACE, FACT, PAPERS, YOU, Item, fill, read_paper, write_papers
from tests.evaluation.report_cases import declared_case
from tests.gate.measured import LABELS, decisions, measured
from tests.mlops.conftest import run_config

CANARY = "crushing chest pain since noon"


def numbered(parts: dict[str, str]) -> list[str]:
    """Item -> its letters, as the numbers of a list: `{"1": "", "3": "ab"}` is 1, 3a, 3b."""
    return [item + letter for item, letters in parts.items() for letter in letters or [""]]


TRIPOD_AI = numbered(
    {"1": "", "2": "", "3": "abc", "4": "", "5": "ab", "6": "abc", "7": "", "8": "abc", "9": "abc", "10": "", "11": "",
     "12": "abcdefg", "13": "", "14": "", "15": "", "16": "", "17": "", "18": "abcdef", "19": "", "20": "abc", "21": "",
     "22": "", "23": "ab", "24": "", "25": "", "26": "", "27": "abc"}
)  # fmt: skip
TRIPOD_LLM = numbered(
    {"1": "", "2": "", "3": "ab", "4": "", "5": "abcde", "6": "abcde", "7": "abcde", "8": "abc", "9": "ab", "10": "",
     "11": "", "12": "", "13": "", "14": "abcdef", "15": "", "16": "abcd", "17": "", "18": "", "19": "abcdefg"}
)  # fmt: skip
ABSTRACT = numbered({"2": "abcdefghijkl"})
ANNEX_IV = [f"{point}({letter})" for point in "12" for letter in "abcdefgh"] + list("3456789")
HAZARD = ["hazard", "cause", "effect", "initial", "control", "evidence", "residual"]
CARD = {
    "BasicInfo": "ModelName ModelDeveloper DeveloperContact",
    "ReleaseInfo": "ReleaseStage ReleaseDate ReleaseVersion GlobalAvailability RegulatoryApproval",
    "ModelSummary": "Summary Keywords",
    "UsesAndDirections": "IntendedUseAndWorkflow PrimaryIntendedUsers HowToUse TargetedPatientPopulation "
    "CautionedOutOfScopeSettings",
    "Warnings": "KnownRisksAndLimitations KnownBiasesOrEthicalConsiderations ClinicalRiskLevel",
    "TrustIngredients": "AISystemFacts TransparencyInformation",
    "KeyMetrics": "UsefulnessUsabilityEfficacy FairnessEquity SafetyReliability",
    "Resources": "EvaluationReferences PeerReviewedPublications PatientConsentOrDisclosure",
    "Bibliography": "",
}
"""Elements of the published schema v0.2 in their order, but for the optional ones that the card leaves out."""
METRIC = [
    "MetricGoal", "Results", "Interpretation", "TestType", "TestingDataDescription",
    "ValidationProcessAndJustification",
]  # fmt: skip


def records(**changed: Any) -> dict[str, Record]:
    """What a version leaves behind, without a pipeline; texts of notes stand where records could hold them.

    Args:
        changed: fields of the metrics.
    """
    metrics = measured(tuple(decisions(0.8)))
    decision = evaluate_rules(metrics, GateConfig().for_labels(LABELS)).to_json() | {"signed": "not signed"}
    use = TestSetUse("0123456789ab" * 5, 24, 12, "macro-F1", 0.02)
    values: dict[str, Any] = {
        "registry": {
            "name": "triage", "version": "3", "aliases": [], "registered_at": "2026-01-02T03:04:05+00:00",
            "files": {"README.md": "c" * 64},
            "rationales": {"trained_on": [{"source": "llm", "author": None, "num_rationales": 812}]},
        },
        "config.yaml": run_config("triage").model_dump(mode="json"),
        "metrics.json": metrics.to_json() | changed,
        "origin.json": {"data_sha256": "d" * 64, "code_commit": None, "seeds": {"split": 42}, "model_files": {"a": ""}},
        "gate/decision.json": decision | {"test_set": {"num_looks": use.num_looks, "num_models": use.num_models}},
        "r2d_data_result": {
            "num_rows": 1_240, "num_valid": 1_200, "num_quarantined": 40, "quarantine_reasons": {"id_unique": 40},
            "splits": {"train": {"self care": 600, "same day": 360}, "test": {"self care": 240}},
            "reading": {"notes": [CANARY]}, "checks": [{"found": [CANARY]}],
        },
    }  # fmt: skip
    return {name: Record(name, f"id of {name}", content) for name, content in values.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    write_papers(folder, records())
    return folder


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


def test_papers_name_the_facts_that_are_declared_and_no_others() -> None:
    named = {name for paper in PAPERS for item in read_paper(paper).items for name in FACT.findall(" ".join(item.says))}
    declared = [name for facts in read_yaml(FACTS_FILE).values() for name in facts]
    assert len(declared) == len(set(declared))
    assert named == set(declared)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tripod_ai", TRIPOD_AI),
        ("tripod_llm", [*TRIPOD_LLM[:2], *ABSTRACT, *TRIPOD_LLM[2:]]),
        ("annex_iv", ANNEX_IV),
        ("hazard_log", [f"H{number}.{column}" for number in range(1, 11) for column in HAZARD]),
    ],
)
def test_a_list_has_each_item_of_the_published_one_once_and_in_its_order(name: str, expected: list[str]) -> None:
    assert [item.id for item in read_paper(name).items] == expected


def test_the_lists_are_as_long_as_their_articles_say() -> None:
    assert (len(TRIPOD_AI), len(TRIPOD_LLM), len(ABSTRACT), len(ANNEX_IV)) == (52, 49, 12, 23)


def test_a_sentence_without_a_fact_is_refused_and_so_is_an_item_that_nobody_answers() -> None:
    with pytest.raises(ValidationError, match="item 1: a sentence names no fact: It is safe"):
        Item(id="1", asks="Safety", says=("It is safe.",))
    with pytest.raises(ValidationError, match="item 1: neither the run nor people answer it"):
        Item(id="1", asks="Safety")


@pytest.mark.parametrize("name", PAPERS)
def test_every_sentence_leads_to_its_record(folder: Path, name: str) -> None:
    page = (folder / f"{name}.html").read_text(encoding="utf-8")
    sentences = re.findall(r'<p class="fact">(.*?)</p>', page, re.S)
    assert len(sentences) == sum(len(item.says) for item in read_paper(name).items)
    for sentence in sentences:
        links = re.findall(r'href="#(fact-\d+)"', sentence)
        assert links, sentence
        for link in links:
            (row,) = re.findall(rf'<tr id="{link}">(.*?)</tr>', page, re.S)
            (record,) = re.findall(r'href="#record-([^"]+)"', row)
            assert f'<tr id="record-{record}">' in page
            assert f"id of {record}" in page
            assert re.search(r"<code>[\w/^*. +-]+</code>", row), row


def test_each_fact_has_the_value_that_stands_at_its_path(folder: Path) -> None:
    kept, facts = records(), json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    assert facts["accuracy"]["value"] == kept["metrics.json"].values["intervals"]["accuracy"]
    for name, fact in facts.items():
        if not re.search(r"[*^]", fact["path"]):
            value: Any = kept[fact["record"]].values
            for step in fact["path"].split("/"):
                value = value.get(step) if isinstance(value, dict) else None
            is_size = isinstance(value, dict | list) and isinstance(fact["value"], int)
            assert fact["value"] == (len(value) if is_size else value), name


def test_values_are_written_as_a_reader_knows_them() -> None:
    facts = facts_of(records())
    metrics = measured(tuple(decisions(0.8)))
    assert metrics.intervals is not None
    low, high = (100 * (end or 0) for end in (metrics.intervals.accuracy.low, metrics.intervals.accuracy.high))
    assert facts["accuracy"].text == f"{100 * metrics.label.accuracy:.1f} % ({low:.1f} to {high:.1f} %)"
    assert facts["split_rows"].text == "train 960, test 240"
    assert facts["quarantine_reasons"].text == "id_unique 40"
    assert facts["delivered_rows"].text == "1,240"
    assert facts["data_sha256"].text == "d" * 12
    assert facts["rationale_authors"].text == "not given"
    assert (facts["code_commit"].text, facts["signed_by"].text) == (None, "none")


def test_a_path_finds_the_first_and_each_entry() -> None:
    values = {"a": {"x": {"n": 1}, "y": {"n": 2}}, "b": [{"n": 3}]}
    assert value_at(values, "a/^/n") == 1
    assert value_at(values, "a/*/n") == {"x": 1, "y": 2}
    assert value_at(values, "b/*/n") == {0: 3}
    assert value_at({"s": [{"split": "train", "n": 3}, {"split": "test", "n": 4}]}, "s/*/n") == {"train": 3, "test": 4}
    assert (value_at(values, "a/z/n"), value_at(None, "a/*/n"), value_at(values, "b/*/n/m")) == (None, None, {0: None})
    kinds = {how[0] for facts in read_yaml(FACTS_FILE).values() for _, _, *how in facts.values() if how}
    assert kinds - {"share", "decimal", "signed"} == WRITTEN.keys()


def test_the_flow_of_rows_and_the_differences_between_sites_are_read_from_metrics() -> None:
    case = declared_case()
    metrics = replace(case.metrics, cohort=cohort_of(case.run))
    facts = facts_of(records() | {"metrics.json": Record("metrics.json", "a" * 64, metrics.to_json())})
    names = (
        "rows_read", "rows_measured", "split_groups", "note_words", "without_rationale",
        "pooled_by", "pooled_accuracy", "next_accuracy", "i_squared",
    )  # fmt: skip
    assert [name for name in names if facts[name].text is None] == []
    assert metrics.cohort is not None
    assert facts["split_groups"].text == ", ".join(
        f"{part.split} {part.num_groups:,}" for part in metrics.cohort.splits
    )


def test_what_was_not_measured_is_said_and_claimed_by_nobody(tmp_path: Path) -> None:
    facts = facts_of(records(safety=None, claims=None, intervals=None, slices=None))
    filled = fill("hazard_log", facts, {})
    (sentence, *_) = filled.answered["H3.evidence"].sentences
    assert sentence.text.startswith("Not known of this run: rationales that their note contradicts; ")
    assert next(fact.path for fact in sentence.facts) == "claims/model/intervals/contradicted_rationale_rate"
    bare = facts_of(records() | {"r2d_data_result": Record("r2d_data_result", "not reachable", None)})
    assert bare["delivered_rows"].text is None
    without = facts_of(records() | {"gate/decision.json": Record("gate/decision.json", "not reachable", None)})
    assert (without["gate_champion"].text, bare["gate_champion"].text) == (None, "none")


def test_the_open_questions_are_counted_at_the_top_and_answers_are_taken(tmp_path: Path) -> None:
    (first, *_) = write_papers(tmp_path, records())
    page = (tmp_path / "tripod_ai.html").read_text(encoding="utf-8")
    assert f"You must answer {len(first.open)} of 52 items." in text_of(page)
    assert page.count("<strong>You must answer</strong>") == len(first.open) == 44
    answers = tmp_path / "answers.yaml"
    asked = read_yaml(answers)
    assert {item.id for item in first.open} == set(asked["tripod_ai"])
    written = answers.read_text(encoding="utf-8").replace('"5b": ""', '"5b": "From <2024> to 2025"', 1)
    answers.write_text(written, encoding="utf-8")
    (again, *_) = write_papers(tmp_path, records())
    page = (tmp_path / "tripod_ai.html").read_text(encoding="utf-8")
    assert f"You must answer {len(first.open) - 1} of 52 items." in text_of(page)
    assert "From &lt;2024&gt; to 2025" in page
    assert answers.read_text(encoding="utf-8") == written
    assert len(again.open) == len(first.open) - 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("tripod_ai: {1a: yes it is}", "answers.yaml: nobody asks tripod_ai: 1a; remove it"),
        ("other: {'1': text}", "nobody asks other: 1"),
        ("tripod_ai: {5b: 2024-01-02}", "tripod_ai: 5b: an answer is a text in quotation marks"),
        ("- tripod_ai", r"expected a mapping from paper \(tripod_ai, .*\) to item and answer"),
        ("tripod_ai: [", "is no YAML"),
    ],
)
def test_answers_to_what_nobody_asks_are_refused_and_nothing_is_written(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "answers.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        write_papers(tmp_path, records())
    assert [path.name for path in tmp_path.iterdir()] == ["answers.yaml"]


def test_no_text_of_a_record_that_no_fact_names_comes_into_a_paper(folder: Path) -> None:
    assert CANARY in json.dumps([record.values for record in records().values()])
    assert [path.name for path in folder.iterdir() if CANARY in path.read_text(encoding="utf-8")] == []


def test_a_label_is_no_markup(tmp_path: Path) -> None:
    kept = records()
    kept["config.yaml"].values["data"]["labels"]["names"] = ["<b>now</b>", "self care -- & rest"]
    write_papers(tmp_path, kept)
    assert "<b>now" not in (tmp_path / "tripod_ai.html").read_text(encoding="utf-8")
    assert "<b>now</b>, self care -- & rest" in "".join(card(tmp_path).itertext())


# --- the model card of the Coalition for Health AI ---


def card(folder: Path) -> ET.Element:
    return ET.parse(folder / "chai_model_card.xml").getroot()


def names_in(element: ET.Element) -> list[str]:
    return [child.tag.removeprefix(f"{{{CARD_NAMESPACE}}}") for child in element]


def test_the_card_has_the_elements_of_the_published_schema_in_their_order(folder: Path) -> None:
    root = card(folder)
    assert root.tag == f"{{{CARD_NAMESPACE}}}AppliedModelCard"
    assert names_in(root) == list(CARD)
    for element, (name, children) in zip(root, CARD.items(), strict=True):
        assert names_in(element) == children.split(), name
    metrics = root[list(CARD).index("KeyMetrics")]
    for metric in metrics:
        assert names_in(metric) == METRIC
        assert len(metric[1]) >= 1
        for result in metric[1]:
            assert names_in(result) == ["Label", "ValueJson"]
            assert json.loads(result[1].text or "")["kind"] in ("estimate_ci", "single")
    assert all((element.text or "").strip() or len(element) for element in root.iter()), "no element is empty"


def test_the_card_has_the_figures_of_the_run_and_what_people_must_answer(folder: Path) -> None:
    root, metrics = card(folder), measured(tuple(decisions(0.8)))
    assert metrics.intervals is not None
    assert metrics.intervals.accuracy.low is not None
    results = root.find(".//{*}UsefulnessUsabilityEfficacy/{*}Results")
    assert results is not None
    accuracy = json.loads(results[0][1].text or "")
    assert accuracy["estimate"] == pytest.approx(100 * metrics.label.accuracy, abs=1e-4)
    assert accuracy["lower"] == pytest.approx(100 * metrics.intervals.accuracy.low, abs=1e-4)
    assert (accuracy["level"], accuracy["unit"]) == (95.0, "%")
    asked = [element for element in root.iter() if YOU in (element.text or "")]
    assert len(asked) == sum(bool(item.you) for item in read_paper("chai_model_card").items)


@pytest.mark.skipif("CHAI_SCHEMA" not in os.environ, reason="CHAI_SCHEMA names no copy of the published schema.xsd")
def test_the_card_is_valid_by_the_published_schema(folder: Path) -> None:
    etree = pytest.importorskip("lxml.etree")
    text = Path(os.environ["CHAI_SCHEMA"]).read_text(encoding="utf-8")
    unsigned = re.sub(
        r"<xs:import [^>]*/>|<xs:element ref=\"ds:Signature\" [^>]*/>", "", text
    )  # else it asks the network
    schema = etree.XMLSchema(etree.fromstring(unsigned.encode()))
    document = etree.parse(folder / "chai_model_card.xml")
    assert schema.validate(document), schema.error_log
    document.getroot().remove(document.getroot()[0])
    assert not schema.validate(document)
