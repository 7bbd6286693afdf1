"""What is stored comes back equal, with a hash of its content and without notes in its picture."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from r2d.files import folder_hash
from steps.materializers import ModelFolderMaterializer, TableMaterializer


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


def test_a_model_folder_comes_back_file_by_file(stage2_model: Path, tmp_path: Path) -> None:
    stored = ModelFolderMaterializer(uri=str(tmp_path))
    stored.save(stage2_model)
    loaded = stored.load(Path)
    assert stored.compute_content_hash(stage2_model) == folder_hash(loaded) == folder_hash(stage2_model)
