"""What is stored comes back equal, with a hash of its content and without notes in its picture."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

import steps.materializers
from r2d.errors import DataError
from r2d.evaluation.predictions import PREDICTIONS_SCHEMA
from r2d.files import folder_hash
from steps.materializers import JsonMaterializer, ModelFolderMaterializer, PredictionsMaterializer, TableMaterializer


def test_a_table_comes_back_equal_with_the_same_hash(examples: pa.Table, tmp_path: Path) -> None:
    stored = TableMaterializer(uri=str(tmp_path))
    stored.save(examples)
    loaded = stored.load(pa.Table)
    assert loaded.equals(examples)
    assert stored.compute_content_hash(loaded) == stored.compute_content_hash(examples)
    assert stored.compute_content_hash(examples.slice(1)) != stored.compute_content_hash(examples)


def test_the_picture_of_examples_counts_rows_and_shows_no_cell(examples: pa.Table, tmp_path: Path) -> None:
    (path,) = TableMaterializer(uri=str(tmp_path)).save_visualizations(examples)
    html = Path(path).read_text(encoding="utf-8")
    assert "120 rows" in html
    assert "<th>train</th><td>72</td>" in html
    assert not any(cell in html for name in ("text", "label") for cell in examples[name].to_pylist())


def test_the_dashboard_shows_decisions_the_surest_mistakes_first_and_no_text(tmp_path: Path) -> None:
    rows = [
        {"id": name, "split": "test", "label": "a", "predicted_label": label, "valid": True, "handed_over": sure < 0.8}
        | {"label_probabilities": [(label, sure)], "rationale": "a gold reason", "predicted_rationale": "a reason"}
        | {"flags": [], "group": "caller"}
        for name, label, sure in [("=r1", "a", 0.9), ("r2", "b", 0.6), ("r3", "b", 0.95)]
    ]
    table = pa.Table.from_pylist(rows, schema=PREDICTIONS_SCHEMA)
    ((path, kind),) = PredictionsMaterializer(uri=str(tmp_path)).save_visualizations(table).items()
    assert kind == "csv"
    assert Path(path).read_text(encoding="utf-8").splitlines()[1:] == [
        "r3,a,b,0.95,False,False", "r2,a,b,0.6,False,True", "'=r1,a,a,0.9,True,False",
    ]  # fmt: skip


def test_a_model_folder_comes_back_file_by_file(stage2_model: Path, tmp_path: Path) -> None:
    stored = ModelFolderMaterializer(uri=str(tmp_path))
    stored.save(stage2_model)
    loaded = stored.load(Path)
    assert stored.compute_content_hash(stage2_model) == folder_hash(loaded) == folder_hash(stage2_model)


@pytest.fixture
def not_cached_again(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The step runs that are no longer taken from the cache, of a ZenML that knows one artifact."""
    expired: list[str] = []
    version = SimpleNamespace(name="r2d_metrics", producer_step_run_id="step-1")

    def update(step_run: str, update: Any) -> None:
        assert update.cache_expires_at is not None
        expired.append(step_run)

    client = SimpleNamespace(
        list_artifact_versions=lambda **_: SimpleNamespace(items=[version]),
        zen_store=SimpleNamespace(update_run_step=update),
    )
    monkeypatch.setattr(steps.materializers, "Client", lambda: client)
    return expired


@pytest.mark.parametrize("kind", ["table", "json", "model"])
@pytest.mark.parametrize("damage", ["none", "byte", "cut", "gone"])
def test_a_damaged_artifact_is_refused_and_its_step_is_no_longer_cached(
    kind: str, damage: str, examples: pa.Table, stage2_model: Path, tmp_path: Path, not_cached_again: list[str]
) -> None:
    store: Any = SimpleNamespace(exists=os.path.exists, open=open)
    content, stored, type_ = {
        "table": (examples, TableMaterializer(uri=str(tmp_path)), pa.Table),
        "json": ({"macro_f1": 0.587}, JsonMaterializer(str(tmp_path), store), dict),
        "model": (stage2_model, ModelFolderMaterializer(uri=str(tmp_path)), Path),
    }[kind]
    stored.save(content)
    stored.expected_content_hash = stored.compute_content_hash(content)
    path = max(tmp_path.iterdir(), key=lambda file: file.stat().st_size)
    damaged = bytearray(path.read_bytes())
    middle = damaged.find(b"587") if kind == "json" else len(damaged) // 2
    damaged[middle] ^= 1
    if damage == "none":
        stored.load(type_)
        return
    if damage == "gone":
        shutil.rmtree(tmp_path)
    else:
        path.write_bytes(damaged if damage == "byte" else damaged[: len(damaged) // 2])
    with pytest.raises(DataError, match=r"r2d_metrics in .*start the same command again, and it is made anew"):
        stored.load(type_)
    assert not_cached_again == ["step-1"]
