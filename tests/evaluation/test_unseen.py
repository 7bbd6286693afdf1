"""That a model had not seen its test rows is looked up, said, and refused where it is not so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow.csv import write_csv
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from mlops.cli.main import app
from mlops.code import source_files
from r2d.config.data import DataConfig, LabelsConfig
from r2d.config.evaluation import EvaluationConfig, IntervalsConfig, SeenRowsPolicy
from r2d.config.run import RunConfig
from r2d.config.training import MethodConfig, Stage2Config
from r2d.data.examples import Example, split_of, to_table, with_columns
from r2d.errors import DataError, ModelError
from r2d.evaluation.evaluate import Champion, evaluate
from r2d.evaluation.looks import TestSetUse
from r2d.evaluation.metrics import ChampionMetrics, Metrics
from r2d.evaluation.sections.labels import Comparator
from r2d.modeling.manifest import write_manifest
from r2d.modeling.model_folder import FACTS_FILE
from r2d.modeling.seen_rows import require_unseen_test, seen_by, seen_in
from r2d.modeling.trained_rows import TRAINED_ROWS_FILE, TrainedRows, read_trained_rows
from r2d.training.stage2 import train_stage2
from r2d.training.work import StageWork
from r2d.workflows import check_files
from tests.conftest import TOY_LABELS, TOY_MODEL

DATA = DataConfig(format="csv", path="toy.csv", labels=TOY_LABELS)
LABELS = TOY_LABELS.names


def notes(num_rows: int, *, first: int = 0, seed: int = 0, split: str = "train", noise: float = 0.3) -> pa.Table:
    """Notes that differ in their numbers, two of a caller; the label hangs on one word, and is wrong for some."""
    generator, rows = np.random.default_rng(seed), []
    for number in range(first, first + num_rows):
        absent = bool(generator.random() < 0.5)
        label = absent if generator.random() >= noise else not absent
        text = f"pt {number} {'denies' if absent else 'reports'} fever"
        group = f"caller {number // 2}"
        rows.append(Example(f"n{number}", text, LABELS[label], "because", "llm", group, split, row=number))
    return to_table(rows)


def trained(
    folder: Path, train: pa.Table, validation: pa.Table, start: Path | None = None, steps: int = 30, width: int = 16
) -> Path:
    """The folder of a model that was trained on those rows."""
    examples = pa.concat_tables([train, with_columns(validation, split=["validation"] * len(validation))])
    by_heart = width != TOY_MODEL.scratch.d_model
    config = Stage2Config(
        max_steps=steps, eval_every_steps=steps, learning_rate=3e-3 if by_heart else 1e-2,
        batch_size=64 if by_heart else 32, precision="fp32", validation_rationales=0,
    )  # fmt: skip
    model = TOY_MODEL if start is None else TOY_MODEL.model_copy(update={"name": str(start)})
    if by_heart:  # wide enough, and without dropout, to learn rows by heart
        sizes = {
            "vocab_size": 2_000,
            "d_model": width,
            "d_kv": 16,
            "d_ff": 2 * width,
            "num_heads": 4,
            "dropout_rate": 0.0,
        }
        model = model.model_copy(update={"scratch": model.scratch.model_copy(update=sizes)})
    work = StageWork(
        examples=examples,
        config=config,
        model=model,
        labels=TOY_LABELS,
        work_dir=folder,
        method=MethodConfig(name="sft"),
    )
    return train_stage2(work).model_folder


def config(policy: SeenRowsPolicy = "refuse") -> EvaluationConfig:
    return EvaluationConfig(intervals=IntervalsConfig(num_resamples=1_000), seen_rows=policy)


VALIDATION = notes(20, first=5_000, seed=1)
TEST = notes(80, seed=2, split="test")
"""The rows 0 to 79: `champion` is trained on the first 68 of them, `model` on none."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("model"), notes(60, first=1_000), VALIDATION)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    seen = with_columns(TEST.slice(0, 68), split=["train"] * 68)
    return trained(tmp_path_factory.mktemp("champion"), seen, VALIDATION)


def test_a_model_is_said_not_to_have_seen_rows_that_it_has_not_seen(model: Path) -> None:
    result = evaluate(TEST, model, config=config(), data=DATA)
    sentence = (
        "the model had seen none of the 80 test rows in training (compared by the letters and digits of their text "
        "and, for 80 of them, by patient or caller; a reworded text is not found)"
    )
    assert result.metrics.seen_sentences() == [sentence]
    assert f"{sentence[:1].upper()}{sentence[1:]}." in result.report
    assert result.metrics.num_rows == 80


def test_rows_that_it_was_trained_on_or_selected_by_are_refused_dropped_or_measured_as_asked(champion: Path) -> None:
    both = pa.concat_tables([TEST, with_columns(VALIDATION, split=["test"] * 20)])
    with pytest.raises(DataError) as error:
        evaluate(both, champion, config=config(), data=DATA)
    assert "had seen 88 of the 100 test rows in training (88 by text, 88 of these with the same id; 88 by" in str(error)
    assert "evaluation.seen_rows" in str(error.value)
    assert "`drop`, which measures the other 12" in str(error.value)

    dropped = evaluate(both, champion, config=config("drop"), data=DATA)
    assert dropped.metrics.num_rows == 12
    assert dropped.predictions["id"].to_pylist() == [f"n{number}" for number in range(68, 80)]
    assert "88 test rows that had been seen were left out of all figures" in dropped.metrics.seen_sentences()
    assert Metrics.from_json(json.loads(json.dumps(dropped.metrics.to_json()))) == dropped.metrics

    allowed = evaluate(both, champion, config=config("allow"), data=DATA).metrics
    assert allowed.num_rows == 100
    assert allowed.seen_rows.model.num_seen == 88
    with pytest.raises(DataError, match="leaves none"):
        evaluate(TEST.slice(0, 10), champion, config=config("drop"), data=DATA)


def test_a_champion_that_was_trained_on_most_test_rows_is_not_compared_on_them(model: Path, champion: Path) -> None:
    given = Champion("toy/1", champion)
    compared_with = []

    def count_look(test_set: str, other: str | None) -> TestSetUse:
        compared_with.append(other)
        return TestSetUse(test_set, 1, 1)

    refused = evaluate(TEST, model, config=config(), data=DATA, champion=given, count_look=count_look).metrics
    assert refused.champion.label is None
    assert "had seen 68 of the 80 test rows in training" in refused.champion.not_compared
    assert "12 are new to both" in refused.champion.not_compared
    assert Comparator.CHAMPION not in refused.differences
    assert refused.num_rows == 80, "the model itself is measured on all"
    assert any(sentence.startswith("champion toy/1 had seen 68 of") for sentence in refused.seen_sentences())

    dropped = evaluate(TEST, model, config=config("drop"), data=DATA, champion=given, count_look=count_look).metrics
    assert compared_with == [None, "toy/1"], "the ledger is told only of a comparison that is made"
    assert (dropped.num_rows, dropped.seen_rows.num_dropped) == (12, 68)
    assert dropped.champion.label.num_rows == dropped.differences[Comparator.CHAMPION].num_groups * 2 == 12
    allowed = evaluate(TEST, model, config=config("allow"), data=DATA, champion=given).metrics
    assert allowed.num_rows == allowed.champion.label.num_rows == 80


def test_a_champion_of_other_labels_is_named_and_not_compared(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(model, other)
    facts = json.loads((other / FACTS_FILE).read_text())
    facts["labels"] = LabelsConfig(names=("routine", *LABELS)).model_dump(mode="json")
    (other / FACTS_FILE).write_text(json.dumps(facts))
    write_manifest(other)
    refused = evaluate(TEST, model, config=config(), data=DATA, champion=Champion("toy/1", other)).metrics
    reason = f"it decides between other labels (routine, {', '.join(LABELS)})"
    assert refused.champion == ChampionMetrics(reference="toy/1", not_compared=reason)
    assert Comparator.CHAMPION not in refused.differences


@pytest.mark.slow
def test_a_champion_that_has_learnt_the_test_rows_by_heart_no_longer_looks_better_than_it_is(tmp_path: Path) -> None:
    """The audit's case, in the same share: its champion was trained on 680 of 800 test rows and was found better."""
    test = notes(120, seed=2, split="test", noise=0.35)
    seen = with_columns(test.slice(0, 102), split=["train"] * 102)
    by_heart = trained(tmp_path / "champion", seen, VALIDATION, steps=700, width=64)
    honest = trained(tmp_path / "model", notes(400, first=1_000, seed=5, noise=0.1), VALIDATION, steps=150, width=64)
    given = Champion("toy/1", by_heart)

    believed = evaluate(test, honest, config=config("allow"), data=DATA, champion=given).metrics
    assert believed.champion.label.accuracy > believed.label.accuracy + 0.2
    assert believed.differences[Comparator.CHAMPION].mcnemar.p_value < 0.005
    assert "champion toy/1 had seen 102 of the 120 test rows" in " ".join(believed.seen_sentences())

    refused = evaluate(test, honest, config=config(), data=DATA, champion=given).metrics
    assert refused.champion.label is None
    fresh = notes(400, first=90_000, seed=9, split="test", noise=0.35)
    truth = evaluate(fresh, honest, config=config(), data=DATA, champion=given).metrics
    assert truth.num_rows == 400
    assert truth.champion.label.accuracy < truth.label.accuracy


def test_a_champion_that_was_trained_on_few_test_rows_is_compared_on_the_others(model: Path, champion: Path) -> None:
    test = pa.concat_tables([TEST.slice(60), notes(60, first=2_000, split="test")])
    metrics = evaluate(test, model, config=config(), data=DATA, champion=Champion("toy/1", champion)).metrics
    assert (metrics.num_rows, metrics.champion.label.num_rows, metrics.seen_rows.num_dropped) == (72, 72, 8)
    assert set(metrics.differences) == {Comparator.CHAMPION}


@pytest.mark.parametrize(
    ("change", "by"),
    [
        (lambda text: text.upper().replace(" ", "  ") + "\n", "num_same_text"),
        (lambda text: text + " and cough", "num_same_group"),
    ],
    ids=["case and spaces do not count", "a patient whose other note was trained on"],
)
def test_a_row_is_seen_by_its_text_or_its_patient(change: Callable[[str], str], by: str, champion: Path) -> None:
    table = with_columns(TEST, text=[change(text) for text in TEST["text"].to_pylist()])
    overlap = seen_by(champion, table).overlap
    assert overlap.num_seen == getattr(overlap, by) == 68
    without_groups = with_columns(table, group=[None] * 80, id=[f"other {row}" for row in range(80)])
    overlap = seen_by(champion, without_groups).overlap
    assert overlap.num_seen == overlap.num_same_text == (68 if by == "num_same_text" else 0)
    assert overlap.num_same_row == overlap.num_with_group == 0


LONG = "Called about a rash on the left arm since 5 am; no fever, temp 36.8 - sent a photo"


@pytest.mark.parametrize(
    ("test", "is_seen"),
    [
        ("CALLED about a rash on the left-arm, since 5am. No fever (temp 36.8): sent a photo!", True),
        ("Triage note: " + LONG, True),
        (LONG + " -- end of note", True),
        (LONG.replace("rash", "ｒａｓｈ"), True),
        (LONG.replace("36.8", "37.8"), False),
        (LONG.replace("no fever", "fever"), False),
        ("One two three four five " + LONG, False),  # the stated limit: four words
    ],
)
def test_a_near_copy_of_a_trained_text_is_seen(test: str, is_seen: bool) -> None:
    def row(text: str, split: str, row_id: str) -> pa.Table:
        return to_table([Example(row_id, text, LABELS[0], "because", "llm", None, split, row=0)])

    record = TrainedRows.of(row(LONG, "train", "a"), None, seed="s")
    assert seen_in(record, row(test, "test", "b")).overlap.num_same_text == is_seen


def test_groups_are_compared_without_case_and_signs_but_never_run_together() -> None:
    def rows(groups: list[str], split: str) -> pa.Table:
        return to_table([
            Example(f"{split} {n}", f"{split} note {n}", LABELS[0], "because", "llm", group, split, row=n)
            for n, group in enumerate(groups)
        ])  # fmt: skip

    record = TrainedRows.of(rows(["P-001", "caller 11", "ärztin"], "train"), None, seed="s")
    found = seen_in(record, rows(["p 001", "P001", "Caller-11", "caller 1 1", "ÄRZTIN"], "test")).mask.tolist()
    assert found == [True, False, True, False, True]


def test_texts_of_other_scripts_differ_by_their_marks_and_signs_alone_are_a_text_too() -> None:
    def rows(texts: list[str], split: str) -> pa.Table:
        return to_table([
            Example(f"{split} {n}", text, LABELS[0], "because", "llm", None, split, row=n)
            for n, text in enumerate(texts)
        ])  # fmt: skip

    record = TrainedRows.of(rows(["की खांसी", "???"], "train"), None, seed="s")
    found = seen_in(record, rows(["की, खांसी!", "का खांसी", "???", "!!!"], "test")).mask.tolist()
    assert found == [True, False, True, False]


def test_a_record_of_an_earlier_version_is_read_and_says_what_it_cannot_find(model: Path, tmp_path: Path) -> None:
    """Its hashes as that version made them, of texts in lower case with single spaces."""
    old = tmp_path / "old"
    shutil.copytree(model, old)
    key, texts = bytes(range(16)), TEST["text"].to_pylist()

    def hashes(values: list[str], kind: bytes) -> np.ndarray:
        digests = [blake2b(value.encode(), digest_size=8, key=key, person=kind).digest() for value in values]
        return np.unique(np.frombuffer(b"".join(digests), "<u8"))

    rows = [f"{row_id}\0{text}" for row_id, text in zip(TEST["id"].to_pylist(), texts, strict=True)]
    tensors = {
        "key": np.frombuffer(key, np.uint8), "is_complete": np.array([1], np.uint8), "rows": hashes(rows, b"row"),
        "texts": hashes(texts, b"text"), "groups": hashes(TEST["group"].to_pylist(), b"group"),
    }  # fmt: skip
    save_file(tensors, old / TRAINED_ROWS_FILE, metadata={"format_version": "1"})
    write_manifest(old)

    overlap = seen_by(old, TEST).overlap
    assert (overlap.num_same_row, overlap.num_same_text, overlap.num_same_group) == (80, 80, 80)
    marked = with_columns(TEST, text=[f"{text}!" for text in texts], group=[None] * 80)
    overlap = seen_by(old, marked).overlap
    assert overlap.num_seen == 0
    assert "earlier version, which finds no copies with other signs" in overlap.sentence("the model")

    warm = trained(tmp_path / "warm", notes(60, first=1_000), VALIDATION, start=old, steps=2)
    assert seen_by(warm, TEST).overlap.num_seen == 80
    assert not seen_by(warm, TEST).overlap.finds_near_copies
    assert seen_by(warm, notes(60, first=1_000, split="test")).overlap.num_same_text == 60

    save_file(tensors, old / TRAINED_ROWS_FILE, metadata={"format_version": "3"})
    write_manifest(old)
    with pytest.raises(ModelError, match="is of format 3, this version reads 1 and 2"):
        seen_by(old, TEST)


def test_a_row_is_seen_although_the_privacy_policy_has_changed_its_text_before_training(tmp_path: Path) -> None:
    raw = [f"pt {number} has fever, call 416-555-01{number:02d}" for number in range(40)]
    train = with_columns(notes(40), group=[None] * 40, text=[text[:-12] + "[PHONE_1]" for text in raw])
    folder = trained(tmp_path, train, VALIDATION, steps=2)
    test = with_columns(train, text=raw, split=["test"] * 40)
    assert seen_by(folder, test).overlap.num_seen == 0
    with pytest.raises(DataError, match="had seen 40 of the 40 test rows"):
        evaluate(test, folder, config=config(), data=DATA)


def test_what_a_start_model_had_seen_is_inherited_and_refused_before_training(champion: Path, tmp_path: Path) -> None:
    examples = pa.concat_tables([notes(60, first=1_000), TEST])
    with pytest.raises(DataError) as error:
        require_unseen_test(examples, None, name=str(champion), refuse=True)
    assert "the model of this run will have seen 68 of the 80 test rows" in str(error.value)
    assert f"68 of them by model.name {str(champion)!r}" in str(error.value)
    require_unseen_test(examples, None, name=str(champion), refuse=False)
    require_unseen_test(examples, None, name="google-t5/t5-small", refuse=True)
    columns = ["id", "text", "label", "group", "split"]
    rows = pa.concat_tables([examples, with_columns(VALIDATION, split=["validation"] * len(VALIDATION))])
    write_csv(rows.select(columns), tmp_path / "rows.csv")
    data = DATA.model_dump() | {"path": str(tmp_path / "rows.csv"), "columns": {name: name for name in columns}}
    run = RunConfig.model_validate({"data": data, "model": {"name": str(champion)}, "method": {"name": "sft"}})
    with pytest.raises(DataError, match="will have seen 68 of the 80 test rows"):
        check_files(run)
    with pytest.raises(DataError, match="will have seen 80 of the 80 test rows"):
        require_unseen_test(pa.concat_tables([notes(80, seed=2), TEST]), None, name="scratch", refuse=True)

    warm = trained(tmp_path / "warm", notes(60, first=1_000), VALIDATION, start=champion, steps=2)
    assert seen_by(warm, TEST).overlap.num_seen == 68
    assert read_trained_rows(warm).key == read_trained_rows(champion).key
    with pytest.raises(DataError, match="had seen 68 of the 80"):
        evaluate(TEST, warm, config=config(), data=DATA)


def test_a_model_without_a_record_is_unknown_and_so_is_part_of_what_starts_from_it(model: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(model, old)
    (old / TRAINED_ROWS_FILE).unlink()
    sentences = evaluate(
        TEST, old, config=config(), data=DATA, champion=Champion("toy/1", old)
    ).metrics.seen_sentences()
    assert [sentence.split(":")[0] for sentence in sentences] == [
        "whether the model had seen test rows in training is unknown",
        "whether champion toy/1 had seen test rows in training is unknown",
    ]
    warm = trained(tmp_path / "warm", notes(60, first=1_000), VALIDATION, start=old, steps=2)
    sentence = seen_by(warm, TEST).overlap.sentence("the model")
    assert sentence.startswith("as far as is known, the model had seen none of the 80 test rows")
    assert "keeps no record" in sentence
    before = replace(evaluate(TEST, model, config=config(), data=DATA).metrics, seen_rows=None)
    assert "unknown" in before.seen_sentences()[0]


def test_the_record_is_small_names_nothing_is_the_same_each_time_and_damage_is_an_error(
    model: Path, tmp_path: Path
) -> None:
    path = model / TRAINED_ROWS_FILE
    assert path.stat().st_size < 80 * 2 * 8 + 40 * 8 + 600, "8 bytes for each row, text and caller"
    assert {name: len(values) for name, values in load_file(path).items()} == {
        "key": 16, "rows": 80, "texts": 80, "groups": 40, "is_complete": 1, "finds_near_copies": 1
    }  # fmt: skip
    content = path.read_bytes()
    assert not any(word in content for word in (b"fever", b"caller", b"n1000"))
    again = trained(tmp_path / "again", notes(60, first=1_000), VALIDATION, steps=2)
    assert (again / TRAINED_ROWS_FILE).read_bytes() == content
    other = trained(tmp_path / "other", notes(61, first=1_000), VALIDATION, steps=2)
    assert not set(read_trained_rows(other).hashes.texts) & set(read_trained_rows(model).hashes.texts), "another key"

    (again / TRAINED_ROWS_FILE).write_bytes(content[:40])
    with pytest.raises(ModelError, match=r"its files are damaged: trained_rows\.safetensors has SHA-256"):
        evaluate(TEST, again, config=config(), data=DATA)


def test_the_command_refuses_seen_rows_of_any_labelled_file_and_measures_them_when_told(
    champion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = tmp_path / "notes.csv", tmp_path / "out"
    split_of(TEST, "test").select(["text", "label", "group", "id"]).to_pandas().to_csv(path, index=False)
    command = ["evaluate", "--model", str(champion), "--data", str(path), "--out", str(out)]
    with pytest.raises(DataError, match="had seen 68 of the 80 test rows"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert not out.exists()
    done = CliRunner().invoke(app, [*command, "--seen-rows", "drop"], catch_exceptions=False)
    assert "68 test rows that had been seen were left out of all figures" in done.output
    assert "\n12 rows: " in done.output


@pytest.mark.parametrize("user", ["r2d.inference.infer", "r2d.modeling.predictor"])
def test_what_decides_and_serves_never_reads_the_record(user: str) -> None:
    names = {path.name for path in source_files(user)}
    assert "model_folder.py" in names
    assert names.isdisjoint({"trained_rows.py", "seen_rows.py"})
