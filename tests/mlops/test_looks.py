"""The ledger of looks at test sets."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlops.registry.looks import Look, look_counter, read_looks, write_look
from mlops.registry.versions import registry_client
from r2d.data.examples import with_columns
from r2d.evaluation.looks import hash_of_test_set
from tests.gate.measured import decisions, examples
from tests.mlops.conftest import Register, Typed, metrics, run_config

HASH = "0123456789abcdef" * 4


def test_the_order_and_the_ids_of_rows_do_not_make_another_test_set_but_a_label_does() -> None:
    rows = examples()
    assert hash_of_test_set(rows.take(list(range(len(rows)))[::-1])) == hash_of_test_set(rows)
    renamed = with_columns(rows, id=pa.array([f"other {row}" for row in range(len(rows))]))
    assert hash_of_test_set(renamed) == hash_of_test_set(rows)
    relabelled = with_columns(rows, label=pc.replace_substring(rows["label"], "self care", "same day"))
    assert len({hash_of_test_set(rows), hash_of_test_set(relabelled), hash_of_test_set(rows.slice(1))}) == 3


def test_writers_at_the_same_moment_lose_no_look_and_a_model_counts_once(store: str, tmp_path: Path) -> None:
    folders = []
    for number in range(4):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        (folders[-1] / "model.safetensors").write_text(str(number))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda folder: look_counter(f"triage/{folder.name}", folder)(HASH, None), folders))
    (folders[0] / "calibration.json").write_text("{}")
    use = look_counter("triage/0", folders[0])(HASH, None)
    assert (use.num_looks, use.num_models) == (5, 4), "what an evaluation leaves makes no other model"
    use = look_counter("triage/0", folders[0])(HASH, "triage/1")
    assert (use.num_looks, use.num_models) == (6, 4)
    with registry_client("reading") as client:
        assert sorted(look.number for look in read_looks(client, HASH)) == [1, 2, 3, 4, 5, 6]
        assert read_looks(client, HASH[::-1]) == []


def test_a_decision_of_the_gate_is_written_down_and_carries_the_use_of_the_test_set(
    register: Register, typed: Typed, test_rows: pa.Table
) -> None:
    first = register(run_config("looked-at"), metrics(decisions(0.9)))
    with registry_client("looking elsewhere") as client:
        look = Look(first.decision.test_set.sha256, "evaluation", "other/1", "another", "me")
        write_look(client, look)
    again = register(run_config("looked-at"), metrics(decisions(0.9)))
    before, use = first.decision.test_set, again.decision.test_set
    assert before.sha256 == use.sha256 == hash_of_test_set(test_rows)
    assert (use.num_looks - before.num_looks, use.num_models - before.num_models) == (1, 1), "others look as well"
    sentence = use.sentence()
    assert (
        f"{use.num_models} models; if all were equally good, the macro-F1 of the best would be too high by 0.0"
        in sentence
    )
    assert sentence in again.to_json()["gate_reasons"]
    counted = f"{use.num_looks} looks at it (evaluations and decisions of the gate), with {use.num_models} models"
    assert counted in sentence
    assert f"{use.num_looks} looks at it" in again.card
    assert again.decision.to_json()["test_set"]["optimism"] == pytest.approx(again.decision.test_set.optimism)
    code, printed, _ = typed("looks")
    assert code == 0
    assert "gate of looked-at/1 by gate: passed" in printed
    assert "evaluation of other/1 by me" in printed
    assert "models; were all" not in printed, "of all metrics, none is known here"
    code, of_model, _ = typed("looks", "looked-at")
    assert (code, "evaluation of other/1 by me" in of_model) == (0, True), "it was measured on the same test set"
    assert set(of_model.splitlines()) <= set(printed.splitlines())
    code, _, errors = typed("looks", "nobody")
    assert (code, "no model named 'nobody' is registered" in errors) == (2, True)
    code, printed, _ = typed("looks", "--json")
    assert {"other/1", "looked-at/1"} <= {json.loads(line)["model"] for line in printed.splitlines()}
