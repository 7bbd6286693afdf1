"""A batch is whole or not there, resumed only by what began it, and alike however often it was stopped.

Every call has a row; what the model cannot be asked, or is not sure of, goes to a person with the reason.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from filelock import FileLock

import r2d.inference.infer as infer_module
from r2d.config.jobs import CallsConfig, InferenceConfig
from r2d.errors import DataError
from r2d.inference.calls import Call, read_calls
from r2d.inference.decide import Answerer
from r2d.inference.infer import InferenceResult, Share, begin_shares, infer, infer_share, table_of
from r2d.inference.output import DECISIONS_SCHEMA, InferenceModel
from r2d.modeling.deferral import DEFERRAL_REASONS
from r2d.modeling.model_folder import Calibration
from tests.inference.keyword_predictor import KeywordPredictor, answerer, write_calls

MODEL = InferenceModel("toy/1", "a" * 64)
NUM_ROWS = 50


class StoppedError(RuntimeError):
    """Ends a run in the middle."""


class StoppingPredictor(KeywordPredictor):
    """Stops at the third part."""

    def decide(self, texts: Any, options: Any = None, **_: object) -> Any:
        if len(self.asked) >= 16:
            raise StoppedError
        return super().decide(texts, options)


def calls_of(folder: Path, name: str = "calls.csv", num_rows: int = NUM_ROWS) -> Path:
    rows = [{"id": f"c{n}", "text": "" if n == 3 else f"pain {n}" if n % 2 else f"cough {n}"} for n in range(num_rows)]
    return write_calls(folder / name, rows)


def config_of(calls: Path, output: Path, **values: Any) -> InferenceConfig:
    return InferenceConfig.model_validate(
        {"data": {"path": str(calls)}, "output": str(output), "rows_per_part": 8, **values}
    )


def decided(
    config: InferenceConfig, predictor: KeywordPredictor | None = None, model: InferenceModel = MODEL
) -> InferenceResult:
    return infer(config, model, lambda: answerer(predictor))


def test_every_call_has_a_row_in_order_and_a_row_group_is_a_part(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    result = decided(config_of(calls_of(tmp_path), out))
    table = pq.read_table(out)
    assert table.schema.remove_metadata() == DECISIONS_SCHEMA
    assert table["row"].to_pylist() == list(range(NUM_ROWS))
    assert table["id"].to_pylist() == [f"c{n}" for n in range(NUM_ROWS)]
    assert set(table["model"].to_pylist()) == {"toy/1"}
    assert pq.ParquetFile(out).num_row_groups == 7
    assert (result.num_rows, result.num_handed_over) == (NUM_ROWS, 26)
    assert result.why_handed_over == {"below_threshold": 25, "no_text": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls.csv", "out.parquet"]


def test_a_stopped_run_leaves_no_output_goes_on_though_the_input_moved_and_ends_with_the_same_bytes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = calls_of(tmp_path)
    decided(config_of(calls, tmp_path / "whole.parquet"))
    config = config_of(calls, tmp_path / "out.parquet")
    with pytest.raises(StoppedError):
        decided(config, StoppingPredictor())
    assert not (tmp_path / "out.parquet").exists()
    assert len(list((tmp_path / "out.parquet.parts").glob("part-*.parquet"))) == 3

    rest = KeywordPredictor()
    moved = calls.rename(tmp_path / "moved.csv")
    with caplog.at_level(logging.INFO, logger="r2d"):
        decided(config_of(moved, tmp_path / "out.parquet"), rest)
    assert len(rest.asked) == NUM_ROWS - 24
    assert "50 rows; 24 are decided already" in caplog.text
    assert "50 of 50 rows" in caplog.text
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not (tmp_path / "out.parquet.parts").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": InferenceModel("toy/2", "b" * 64)}, r"model\.name: 'toy/1' then, 'toy/2' now\n  model\.hash"),
        ({"num_rows": NUM_ROWS + 1}, r"input\.num_rows: 50 then, 51 now\n  input\.fingerprint"),
        ({"batch_size": 4}, r"settings\.batch_size: 32 then, 4 now"),
    ],
)
def test_another_model_input_or_setting_neither_resumes_nor_replaces(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model, num_rows = change.pop("model", MODEL), change.pop("num_rows", NUM_ROWS)
    out = tmp_path / "out.parquet"
    begun = config_of(calls_of(tmp_path), out)
    with pytest.raises(StoppedError):
        decided(begun, StoppingPredictor())
    other = config_of(calls_of(tmp_path, "other.csv", num_rows), out, **change)
    with pytest.raises(DataError, match=message) as caught:
        decided(other, model=model)
    assert "remove that folder to begin anew" in str(caught.value)

    decided(begun)
    before = out.read_bytes()
    with pytest.raises(DataError, match=message):
        decided(other, model=model)
    assert out.read_bytes() == before


def test_a_finished_output_is_left_alone_without_loading_a_model(tmp_path: Path) -> None:
    config = config_of(calls_of(tmp_path), tmp_path / "out.parquet")
    first = decided(config)
    stamp = (tmp_path / "out.parquet").stat().st_mtime_ns

    def no_model() -> Answerer:
        raise AssertionError("nothing is left to decide")

    assert infer(config, MODEL, no_model) == first
    assert (tmp_path / "out.parquet").stat().st_mtime_ns == stamp


def test_a_file_that_is_something_else_is_not_overwritten(tmp_path: Path) -> None:
    calls = calls_of(tmp_path, "calls.parquet")
    with pytest.raises(DataError, match="is there and is no output of a batch inference"):
        decided(config_of(calls, calls_of(tmp_path, "other.parquet")))
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(DataError, match="is no whole Parquet file"):
        decided(config_of(calls, tmp_path / "notes"))
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_damaged_part_is_decided_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls = calls_of(tmp_path)
    decided(config_of(calls, tmp_path / "whole.parquet"))
    config = config_of(calls, tmp_path / "out.parquet")
    with pytest.raises(StoppedError):
        decided(config, StoppingPredictor())
    parts = tmp_path / "out.parquet.parts"
    first, second = parts / "part-000000.parquet", parts / "part-000001.parquet"
    first.write_bytes(first.read_bytes()[:-9])
    shutil.copy(parts / "part-000002.parquet", second)
    decided(config)
    assert caplog.text.count("is damaged; its rows are decided again") == 2
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_two_processes_do_not_write_one_output(tmp_path: Path) -> None:
    config = config_of(calls_of(tmp_path), tmp_path / "out.parquet")
    (tmp_path / "out.parquet.parts").mkdir()
    with (
        FileLock(tmp_path / "out.parquet.parts" / "lock"),
        pytest.raises(DataError, match="another run works here: process"),
    ):
        decided(config)


def test_a_file_that_grows_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    calls = calls_of(tmp_path)

    class GrowingCalls(KeywordPredictor):
        def decide(self, texts: Any, options: Any = None, **_: object) -> Any:
            with calls.open("a", encoding="utf-8") as file:
                file.write('"late","pain"\n')
            return super().decide(texts, options)

    with pytest.raises(DataError, match="changed while it was read"):
        decided(config_of(calls, tmp_path / "out.parquet"), GrowingCalls())
    assert not (tmp_path / "out.parquet").exists()


def rows_of(calls: list[Call], predictor: KeywordPredictor, first_row: int = 0) -> list[dict[str, Any]]:
    answers = answerer(predictor).answer(calls, batch_size=8)
    table = table_of(calls, answers, first_row=first_row, model_name="toy/1")
    assert table.schema == DECISIONS_SCHEMA
    return table.to_pylist()


def test_a_sure_label_is_shown_and_an_unsure_one_handed_over_with_the_label_as_a_second_opinion() -> None:
    sure, unsure = rows_of([Call("a", "chest pain"), Call("b", "cough")], KeywordPredictor(0.7), first_row=40)
    assert sure == {
        "row": 40, "id": "a", "label": "emergency now", "label_probability": 0.9,
        "label_probabilities": [("emergency now", 0.9), ("self care", pytest.approx(0.1))], "rationale": "because",
        "handed_over": False, "why": None, "text_characters": 10, "model": "toy/1",
        "contradicted_findings": [], "unmentioned_findings": [], "other_labels_stated": [], "remarks": [],
    }  # fmt: skip
    assert (unsure["row"], unsure["label"], unsure["handed_over"], unsure["why"]) == (
        41, "self care", True, "below_threshold",
    )  # fmt: skip


@pytest.mark.parametrize(("otherwise", "of_unknown"), [(None, "no_attribute"), (0.5, None)])
def test_a_call_is_held_against_the_threshold_of_its_site_and_one_without_a_site_goes_where_it_was_declared(
    otherwise: float | None, of_unknown: str | None, tmp_path: Path
) -> None:
    predictor = KeywordPredictor()
    parts = {"north": {"threshold": 0.7}, "south": {"threshold": 0.95}, "west": {"threshold": None}}
    selective = {"threshold": None, "per": "site", "parts": parts, "otherwise": otherwise}
    predictor.calibration = Calibration.of({"value": 1.0}, selective)
    rows = [{"id": name, "text": "chest pain", "ward": f" {name}"} for name in ("north", "south", "west", "east", "")]
    columns = {"attributes": {"site": "ward"}}
    for ending in ("csv", "parquet"):
        calls = CallsConfig(path=str(write_calls(tmp_path / f"calls.{ending}", rows)), columns=columns)
        why = [row["why"] for row in rows_of(list(read_calls(calls)), predictor)]
        assert why == [None, "below_threshold", "no_threshold", of_unknown, of_unknown]


class SayingPredictor(KeywordPredictor):
    """Gives one rationale for every call."""

    rationale = "Chest pain with fainting: the right level is self care."

    def decide(self, *arguments: Any, **options: Any) -> Any:
        return [replace(decision, rationale=self.rationale) for decision in super().decide(*arguments, **options)]


def test_a_rationale_beside_the_note_and_beside_the_label_is_remarked_on_and_counted(tmp_path: Path) -> None:
    denied, reported = rows_of([Call("a", "Chest pain. No fainting."), Call("b", "Fainted.")], SayingPredictor())
    assert denied["contradicted_findings"] == ["fainting"]
    assert denied["other_labels_stated"] == ["self care"]
    assert denied["remarks"] == [
        'the rationale says "fainting", the note denies it',
        'the rationale states "self care", the label shown is "emergency now"',
    ]
    assert (reported["label"], reported["unmentioned_findings"]) == ("self care", ["chest pain"])
    assert reported["remarks"] == ['the rationale says "chest pain", the note does not mention it']
    rows = [{"id": "a", "text": "Chest pain. No fainting."}, {"id": "b", "text": "Fainted."}, {"id": "c", "text": ""}]
    calls = write_calls(tmp_path / "calls.csv", rows)
    result = decided(config_of(calls, tmp_path / "out.parquet"), SayingPredictor())
    assert (result.num_contradicted, result.num_unmentioned, result.num_other_label) == (1, 1, 1)


def test_a_call_without_a_text_does_not_fail_the_others_and_the_model_never_sees_it() -> None:
    predictor = KeywordPredictor()
    calls = [Call("a", None), Call("b", " \n"), Call(None, "chest pain"), Call("d", "half \ud83d")]
    rows = rows_of(calls, predictor)
    assert predictor.asked == ["chest pain"]
    assert [row["why"] for row in rows] == ["no_text", "no_text", None, "damaged_text"]
    for row in (rows[0], rows[1], rows[3]):
        assert row["handed_over"]
        assert [row[name] for name in ("label", "label_probability", "rationale")] == [None] * 3
        assert row["label_probabilities"] == []
    assert rows_of([Call("a", "")], predictor)[0]["why"] == "no_text"


@pytest.mark.parametrize(
    ("predictor", "text", "why"),
    [
        (KeywordPredictor(None), "chest pain", "no_threshold"),
        (KeywordPredictor(evaluated=False), "chest pain", "never_evaluated"),
        (KeywordPredictor(0.0), "nonsense", "no_declared_label"),
    ],
)
def test_without_a_threshold_or_a_declared_label_a_person_decides(
    predictor: KeywordPredictor, text: str, why: str
) -> None:
    (row,) = rows_of([Call("a", text)], predictor)
    assert (row["why"], row["handed_over"]) == (why, True)
    if text == "nonsense":
        assert (row["label"], row["label_probability"]) == ("nonsense", None)


def test_options_of_a_row_are_judged_one_by_one() -> None:
    calls = [
        Call("a", "pain", ["yes", "no"]),
        Call("b", "pain", ["yes", " YES"]),
        Call("c", "pain", None),
        Call("d", "pain", ["yes", "unwritable"]),
    ]
    rows = rows_of(calls, KeywordPredictor(per_row=True))
    assert [row["why"] for row in rows] == [None, "no_options", "no_options", "unusable_options"]
    assert dict(rows[0]["label_probabilities"]).keys() == {"yes", "no"}


def test_every_reason_is_explained() -> None:
    assert all(text and text[0].islower() for text in DEFERRAL_REASONS.values())


def test_shares_in_any_order_with_one_that_was_stopped_give_the_bytes_of_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = calls_of(tmp_path)
    whole = decided(config_of(calls, tmp_path / "whole.parquet"))
    predictor = KeywordPredictor()
    monkeypatch.setattr("r2d.inference.infer._checked_model", lambda config, folder: MODEL)
    monkeypatch.setattr("r2d.inference.infer.Answerer.of_model", lambda folder: answerer(predictor))
    config = config_of(calls, tmp_path / "shared.parquet", shares=2)
    shares = begin_shares(config, tmp_path)
    assert shares == [Share(0, 2), Share(1, 2)]
    read = Counter[str]()
    read_calls = infer_module.read_calls
    for module in ("infer", "calls"):
        monkeypatch.setattr(f"r2d.inference.{module}.read_calls", lambda *a: read.update(["times"]) or read_calls(*a))
    assert infer_share(config, tmp_path, shares[1]) == 24
    assert read["times"] == 1, "a share decides, and does not scan again what was scanned for all"
    monkeypatch.setattr("r2d.inference.infer.Answerer.of_model", lambda folder: answerer(StoppingPredictor()))
    with pytest.raises(StoppedError):
        infer_share(config, tmp_path, shares[0])
    monkeypatch.setattr("r2d.inference.infer.Answerer.of_model", lambda folder: answerer(predictor))
    assert infer_share(config, tmp_path, shares[0]) == 2, "three parts were whole"
    assert infer_share(config, tmp_path, shares[1]) == 0
    result = decided(config, predictor)
    assert Path(result.output).read_bytes() == Path(whole.output).read_bytes()
    assert begin_shares(config, tmp_path) == []


def test_more_shares_than_parts_are_no_more_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r2d.inference.infer._checked_model", lambda config, folder: MODEL)
    assert len(begin_shares(config_of(calls_of(tmp_path), tmp_path / "out.parquet", shares=99), tmp_path)) == 7
