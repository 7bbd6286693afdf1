"""How our artifacts are stored: safe formats only, each with a content hash, so that equal data keeps the caches."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from zenml.enums import ArtifactType, VisualizationType
from zenml.io import fileio
from zenml.materializers.base_materializer import BaseMaterializer

from r2d.data.examples import SPLITS, content_hash
from r2d.files import folder_hash


class TableMaterializer(BaseMaterializer):
    """An Arrow table (examples, predictions) as Parquet."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (pa.Table,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA
    FILE: ClassVar[str] = "table.parquet"

    def load(self, data_type: type[Any]) -> pa.Table:
        with fileio.open(os.path.join(self.uri, self.FILE), "rb") as file:
            return pq.read_table(pa.BufferReader(file.read()))

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


class ModelFolderMaterializer(BaseMaterializer):
    """A model folder, file by file."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Path,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.MODEL
    SKIP_REGISTRATION: ClassVar[bool] = True

    def load(self, data_type: type[Any]) -> Path:
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
