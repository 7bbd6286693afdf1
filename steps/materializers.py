"""How our artifacts are stored: safe formats only, each with a content hash, so that equal data keeps the caches, and a
damaged artifact is refused and not served from the cache again."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from zenml.client import Client
from zenml.enums import ArtifactType, VisualizationType
from zenml.io import fileio
from zenml.materializers.base_materializer import BaseMaterializer
from zenml.materializers.built_in_materializer import BuiltInContainerMaterializer
from zenml.models import StepRunUpdate
from zenml.utils.time_utils import utc_now

from r2d.data.examples import SPLITS, content_hash
from r2d.errors import DataError
from r2d.files import folder_hash
from r2d.text import no_formula

Content = TypeVar("Content")


def read_whole(stored: BaseMaterializer, read: Callable[[], Content]) -> Content:
    """What `read` returns, held against the content hash that ZenML recorded when the artifact was stored.

    Raises:
        DataError: it is missing, cannot be read or has changed; from now on its step is not taken from the cache.
    """
    try:
        content, expected = read(), stored.expected_content_hash
        is_changed = expected is not None and stored.compute_content_hash(content) != expected
        fault = "was changed since it was stored" if is_changed else ""
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        fault = f"is missing or cannot be read ({type(error).__name__})"
    if not fault:
        return content
    versions = Client().list_artifact_versions(uri=stored.uri, hydrate=True).items
    for step_run_id in {version.producer_step_run_id for version in versions} - {None}:
        Client().zen_store.update_run_step(step_run_id, StepRunUpdate(cache_expires_at=utc_now()))
    name = versions[0].name if versions else "an artifact"
    raise DataError(
        f"{name} in {stored.uri} {fault}. Its step will not be taken from the cache again: start the same command "
        "again, and it is made anew; if it happens twice, have the disk looked at"
    )


class TableMaterializer(BaseMaterializer):
    """An Arrow table (examples, predictions) as Parquet."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (pa.Table,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA
    FILE: ClassVar[str] = "table.parquet"

    def load(self, data_type: type[Any]) -> pa.Table:
        return read_whole(self, self._read)

    def _read(self) -> pa.Table:
        with fileio.open(os.path.join(self.uri, self.FILE), "rb") as file:
            content = file.read()
        try:
            return pq.read_table(pa.BufferReader(content))
        except OSError as error:  # as Arrow calls a damaged page
            raise ValueError("damaged") from error

    def save(self, data: pa.Table) -> None:
        with fileio.open(os.path.join(self.uri, self.FILE), "wb") as file:
            pq.write_table(data, file)

    def save_visualizations(self, data: pa.Table) -> dict[str, VisualizationType]:
        """Rows of each split. No cell is shown, labels neither: which of them are declared is not known here."""
        if not {"split", "label"} <= set(data.column_names):
            return {}
        counts = Counter(data["split"].to_pylist())
        rows = "".join(f"<tr><th>{split}</th><td>{counts[split]:,}</td></tr>" for split in SPLITS if counts[split])
        path = os.path.join(self.uri, "counts.html")
        with fileio.open(path, "w") as file:
            file.write(f"<style>* {{font-family: system-ui}}</style><p>{len(data):,} rows</p><table>{rows}</table>")
        return {path: VisualizationType.HTML}

    def extract_metadata(self, data: pa.Table) -> dict[str, Any]:
        return {"num_rows": data.num_rows, "columns": data.column_names}

    def compute_content_hash(self, data: pa.Table) -> str:
        return content_hash(data)


class PredictionsMaterializer(TableMaterializer):
    """The table `r2d_predictions`; the dashboard shows its decisions, the wrong ones first, without any text."""

    SKIP_REGISTRATION: ClassVar[bool] = True
    MOST_ROWS_SHOWN: ClassVar[int] = 500

    def save_visualizations(self, data: pa.Table) -> dict[str, VisualizationType]:
        shown = [
            {
                "id": no_formula(row["id"]),
                "label": no_formula(row["label"]),
                "predicted_label": no_formula(row["predicted_label"]),
                "probability": round(dict(row["label_probabilities"]).get(row["predicted_label"], 0.0), 3),
                "right": row["label"] == row["predicted_label"],
                "for a person": row["handed_over"],
            }
            for row in data.to_pylist()
        ]
        shown.sort(key=lambda row: (row["right"], -row["probability"]))
        path = os.path.join(self.uri, "decisions.csv")
        with fileio.open(path, "w") as file:
            table = csv.DictWriter(file, list(shown[0]) if shown else ["id"], lineterminator="\n")
            table.writeheader()
            table.writerows(shown[: self.MOST_ROWS_SHOWN])
        return {path: VisualizationType.CSV}


class JsonMaterializer(BuiltInContainerMaterializer):
    """A dict of JSON values that a later step decides by, such as metrics."""

    SKIP_REGISTRATION: ClassVar[bool] = True

    def load(self, data_type: type[Any]) -> Any:
        return read_whole(self, lambda: super(JsonMaterializer, self).load(data_type))


class ModelFolderMaterializer(BaseMaterializer):
    """A model folder, file by file."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Path,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.MODEL
    SKIP_REGISTRATION: ClassVar[bool] = True

    def load(self, data_type: type[Any]) -> Path:
        return read_whole(self, self._folder)

    def _folder(self) -> Path:
        if Path(self.uri).is_dir():
            return Path(self.uri)
        with self.get_temporary_directory(delete_at_exit=False) as folder:
            for name in fileio.listdir(self.uri):
                fileio.copy(os.path.join(self.uri, str(name)), os.path.join(folder, str(name)))
            return Path(folder)

    def save(self, data: Path) -> None:
        for path in sorted(data.iterdir()):
            fileio.copy(str(path), os.path.join(self.uri, path.name))

    def extract_metadata(self, data: Path) -> dict[str, Any]:
        return {"num_bytes": sum(path.stat().st_size for path in data.iterdir())}

    def compute_content_hash(self, data: Path) -> str:
        return folder_hash(data)
