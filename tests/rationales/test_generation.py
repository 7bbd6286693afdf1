"""Prompts, solved examples and batch input: what is asked, and what is not given away."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from r2d.config.rationales import EndpointSource
from r2d.data.examples import Example, to_table
from r2d.errors import ConfigError, DataError
from r2d.rationales.generation import FewShot, RationaleRequests, load_prompt, write_batch_input
from tests.llm.toy_run import LABELS, notes

PROMPTS = sorted((Path(__file__).resolve().parents[2] / "configs" / "prompts").glob("*.yaml"))
SOLVED = [{"text": "solved note", "label": "self care", "rationale": "solved reason"}]


def source_with(prompt: Path, **changes: Any) -> EndpointSource:
    values = {"format": "endpoint", "base_url": "http://127.0.0.1:1/v1", "model": "toy", "prompt": str(prompt)}
    return EndpointSource.model_validate({**values, **changes})


def written(folder: Path, text: str) -> Path:
    path = folder / "prompt.yaml"
    path.write_text(text)
    return path


def rendered(path: Path, label: str) -> str:
    messages = load_prompt(path).messages(text="a note", label=label, labels=LABELS, examples=SOLVED)
    return "\n".join(message["content"] for message in messages)


@pytest.mark.parametrize("path", PROMPTS, ids=lambda path: path.stem)
def test_a_shipped_prompt_shows_note_labels_and_solved_examples(path: Path) -> None:
    text = rendered(path, "self care")
    assert all(part in text for part in ("a note", "solved note", "solved reason", *LABELS))


def test_the_shipped_prompts_tell_the_gold_label_only_where_they_say_so() -> None:
    blind, told = (
        next(path for path in PROMPTS if path.stem == f"triage_{name}") for name in ("rationale", "explain_label")
    )
    assert "label" not in load_prompt(blind).variables
    assert rendered(blind, "emergency now") == rendered(blind, "self care")
    assert "So the answer is <level>." in rendered(blind, "self care")
    assert rendered(told, "emergency now") != rendered(told, "self care")


def test_a_note_is_no_template_an_empty_system_message_is_left_out_and_the_hash_is_of_the_bytes(tmp_path: Path) -> None:
    prompt = load_prompt(written(tmp_path, "system: ''\nuser: '{{ text }}'\n"))
    note = "{{ label }} {% raw %} <b> &"
    assert prompt.messages(text=note, label="", labels=LABELS, examples=[]) == [{"role": "user", "content": note}]
    assert prompt.hash == hashlib.sha256((tmp_path / "prompt.yaml").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user: '{{ text }}'", "exactly the keys system and user, each a text; found user"),
        ("system: ''\nuser: '{{ text }}'\nassistant: ''", "found assistant, system, user"),
        ("system:\nuser: '{{ text }}'", "each a text"),
        ("- a list", "found list"),
        ("system: 'a: [", "is no YAML"),
        ("system: ''\nuser: '{{ note }} {{ text }}'", "unknown variables note; allowed are text, label,"),
        ("system: ''\nuser: |\n  {{ text }}\n  {% for x in labels %}", "user, line 2 of the template is no Jinja"),
        ("system: 'be brief'\nuser: 'hello'", "neither template uses text"),
    ],
)
def test_a_faulty_prompt_is_refused_with_the_fix(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_prompt(written(tmp_path, content))


@pytest.mark.parametrize(
    "template",
    [
        "{{ labels[text] }}",
        "{% for one in examples %}{{ one.reason }}{% endfor %}{{ text }}",
        "{{ text / 0 }}",
        "{{ text.__class__.__mro__ }}",
        "{{ text.format_map(labels) }}{{ labels.append(text) }}",
    ],
)
def test_a_template_that_fails_names_line_and_row_and_quotes_no_note(tmp_path: Path, template: str) -> None:
    prompt = load_prompt(written(tmp_path, f"system: ''\nuser: |\n  Note:\n  {template}\n"))
    with pytest.raises(ConfigError, match="user, line 2 of the template, fails for an example with") as caught:
        prompt.messages(text="SECRET-NOTE", label="", labels=LABELS, examples=SOLVED)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__


def few_shot(path: Path, **changes: Any) -> EndpointSource:
    return source_with(path, **{"few_shot": 3, "few_shot_source": "nurse", **changes})


def test_solved_examples_are_of_training_never_oneself_nor_the_same_group() -> None:
    table = notes(60)
    rows = {row["text"]: row for row in table.to_pylist()}
    shots = FewShot(table, few_shot(PROMPTS[0]))
    for asked in table.to_pylist():
        shown = [rows[one["text"]] for one in shots.draw(asked["id"], asked["group"], asked["text"])]
        assert len({row["id"] for row in shown}) == 3
        assert all(row["split"] == "train" and row["id"] != asked["id"] for row in shown)
        assert all(row["group"] != asked["group"] for row in shown)


def test_solved_examples_depend_on_seed_and_id_alone() -> None:
    table = notes(60)
    shots, turned = (FewShot(rows, few_shot(PROMPTS[0])) for rows in (table, table.take(list(range(59, -1, -1)))))
    other = FewShot(table, few_shot(PROMPTS[0], seed=7))
    asked = [(row["id"], row["group"], row["text"]) for row in table.to_pylist()]
    assert [shots.draw(*one) for one in asked] == [turned.draw(*one) for one in reversed(asked)][::-1]
    assert sum(shots.draw(*one) != other.draw(*one) for one in asked) > 50


def test_one_more_training_row_changes_few_prompts() -> None:
    """Each changed prompt is paid for again."""
    before, after = (FewShot(notes(count), few_shot(PROMPTS[0])) for count in (600, 601))
    asked = [(row["id"], row["group"], row["text"]) for row in notes(600).to_pylist()]
    assert sum(before.draw(*one) != after.draw(*one) for one in asked) < 30


def test_a_copy_of_the_note_is_no_solved_example_and_too_few_are_refused() -> None:
    rows = [
        Example(id=f"e{place}", text="same note", label="self care", split="train", rationales={"nurse": "reason"})
        for place in range(3)
    ]
    shots = FewShot(
        to_table([*rows, Example(id="e9", text="other", label="self care", split="test")]), few_shot(PROMPTS[0])
    )
    assert len(shots.draw("e9", None, "other")) == 3
    with pytest.raises(DataError, match="one example can be shown 0 solved examples, not 3"):
        shots.draw("e0", None, "same note")
    with pytest.raises(DataError, match="2 training rows have a rationale of few_shot_source 'nurse'"):
        FewShot(notes(6), few_shot(PROMPTS[0]))


def test_equal_requests_have_equal_hashes_and_changed_ones_do_not() -> None:
    base = dict(RationaleRequests(notes(9), source_with(PROMPTS[1]), LABELS).hashes())
    assert base == dict(
        RationaleRequests(notes(9), source_with(PROMPTS[1], timeout_seconds=5, max_retries=1), LABELS).hashes()
    )
    for change in ({"model": "other"}, {"temperature": 0.5}, {"max_output_tokens": 9}, {"seed": 1}):
        changed = dict(RationaleRequests(notes(9), source_with(PROMPTS[1], **change), LABELS).hashes())
        assert all(changed[example_id] != request_hash for example_id, request_hash in base.items())


def test_the_batch_input_holds_one_request_for_each_example_of_the_splits(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    source = source_with(PROMPTS[1], splits=["train", "test"], few_shot=2, few_shot_source="nurse")
    assert write_batch_input(notes(30), source, LABELS, path) == 20
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == [f"e{place:03d}" for place in range(30) if place % 3 != 1]
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    assert all(set(line) == {"custom_id", "method", "url", "body"} for line in lines)
    assert set(lines[0]["body"]) == {"model", "messages", "temperature", "max_tokens", "seed"}
    assert [body["role"] for body in lines[0]["body"]["messages"]] == ["system", "user"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_batch_input_that_openai_would_refuse_and_few_shot_without_a_place_in_the_prompt_warn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("r2d.rationales.generation.BATCH_MAX_REQUESTS", 10)
    write_batch_input(notes(12), source_with(PROMPTS[1]), LABELS, tmp_path / "batch.jsonl")
    assert "12 requests" in caplog.text
    assert "split it before uploading" in caplog.text
    RationaleRequests(notes(30), few_shot(written(tmp_path, "system: ''\nuser: '{{ text }}'\n")), LABELS)
    assert "few_shot 3 has no effect" in caplog.text


def test_ids_that_occur_twice_are_refused() -> None:
    with pytest.raises(DataError, match="1 examples have the id of another"):
        RationaleRequests(notes(3).take([0, 1, 1]), source_with(PROMPTS[0]), LABELS)
