"""Rubrics: the shipped ones are right, and every fault of a wrong one is named at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from r2d.errors import ConfigError
from r2d.evaluation.judge.rubric import load_rubric
from tests.evaluation.judge.judged import SHIPPED, criterion, write_rubric

RUBRICS = sorted(SHIPPED.parent.glob("*.yaml"))


@pytest.mark.parametrize("path", RUBRICS, ids=lambda path: path.stem)
def test_a_shipped_rubric_is_right(path: Path) -> None:
    rubric = load_rubric(path)
    assert all(list(one.anchors) == [1, 2, 3, 4, 5] for one in rubric.criteria)


def test_the_shipped_rubric_asks_all_in_one_request_and_shows_no_reference() -> None:
    rubric = load_rubric(SHIPPED)
    ids = [criterion.id for criterion in rubric.criteria]
    assert ids == ["correctness", "completeness", "faithfulness", "agreement", "safety"]
    assert list(rubric.by_sees()) == [("note", "decision", "rationale")]


def test_the_hash_follows_what_is_asked_and_not_how_it_is_laid_out(tmp_path: Path) -> None:
    path = write_rubric(tmp_path, criterion("clear"))
    before = load_rubric(path).hash
    path.write_text("# a comment\n" + path.read_text())
    assert load_rubric(path).hash == before
    path.write_text(path.read_text().replace("meaning 3", "a meaning 3"))
    assert load_rubric(path).hash != before


def test_every_fault_is_named_at_once_with_key_found_and_allowed(tmp_path: Path) -> None:
    path = write_rubric(
        tmp_path,
        criterion("Not a key", sees=["note", "refrence"], anchors={1: "a", 3: "b"}),
        criterion("unseen", sees=["note"], passes_from=1),
        criterion("asked", queston="?"),
        criterion("score", anchors={1: "a", 2: ""}, passes_from=2),
    )
    path.write_text(path.read_text().replace("name: toy", "title: toy"))
    with pytest.raises(ConfigError, match=r"rubric.yaml: 10 faults") as caught:
        load_rubric(path)
    for part in (
        "  name: missing; add it",
        "  title: unknown key; allowed: name, instructions, criteria",
        "  criteria.0.id: found 'Not a key'; string should match pattern",
        "  criteria.0.sees.1: found 'refrence' (did you mean 'reference'?); allowed: 'note', 'decision'",
        "  criteria.0.anchors: found scores [1, 3]; allowed: two or more consecutive whole numbers",
        "  criteria.1.sees: found ['note']; allowed: each of note, decision, rationale, reference once, and rationale",
        "  criteria.1.passes_from: found 1; allowed: 2 to 5",
        "  criteria.2.queston: unknown key (did you mean 'question'?)",
        "  criteria.3.id: found 'score'; allowed: any other name",
        "  criteria.3.anchors.2: found ''",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("criteria: [", "no YAML, faulty on line 1"),
        ("- a", "expected a mapping of sections ['name', 'instructions', 'criteria'], found"),
        ("name: a\ninstructions: b\ncriteria: []", "criteria: found none; name at least one criterion"),
    ],
)
def test_a_file_that_is_no_rubric_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "rubric.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"rubric\.yaml") as caught:
        load_rubric(path)
    assert message in str(caught.value)
    path = write_rubric(tmp_path, criterion("twice"), criterion("once"), criterion("twice"))
    with pytest.raises(ConfigError, match=r"criteria: .*id 'twice' occurs more than once; name each once"):
        load_rubric(path)
