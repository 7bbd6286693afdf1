"""Everything that is registered of a model, as one folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops.code import code_state, lock_hash
from mlops.run_record import auxiliary_files
from r2d.config.run import RunConfig
from r2d.data.examples import SPLITS, content_hash, split_of
from r2d.data.fingerprint import files_fingerprint
from r2d.evaluation.calibration import calibration_of
from r2d.evaluation.metrics import Metrics
from r2d.files import file_hashes, folder_hash, write_parquet
from r2d.lineage.origin import Origin
from r2d.model_card import CardFacts, model_card
from r2d.modeling.calibration_file import write_calibration
from r2d.rationales.provenance import trained_on

MODEL, PROVENANCE = "model", "rationale_provenance.parquet"
METRICS, CONFIG, ORIGIN, CARD = "metrics.json", "config.yaml", "origin.json", "README.md"


@dataclass(frozen=True)
class Package:
    """A folder of what is registered: weights, tokenizer, label set and calibration in `model/`, and beside it the
    configuration, the metrics, the card, the origin, and where every rationale comes from."""

    folder: Path
    origin: Origin
    card: str

    def files(self) -> dict[str, Path]:
        """Name without its ending -> file, or the folder of the model."""
        return {path.stem if path.is_file() else path.name: path for path in sorted(self.folder.iterdir())}


def make_package(
    folder: Path,
    *,
    model_folder: Path,
    run: RunConfig,
    metrics: Mapping[str, Any],
    examples: pa.Table,
    provenance: pa.Table,
    predictions: pa.Table | None = None,
    data_sha256: str,
    files_read: Mapping[str, str] | None = None,
    code_root: Path,
    code_sha256: str,
) -> Package:
    """Fill an empty folder.

    Args:
        examples: those of Stage 2, whose rows the card counts.
        predictions: of the evaluation; with them goes what later calls are held against (`r2d drift`).
        data_sha256: of what the run read, `r2d.data.fingerprint.data_fingerprint`.
        files_read: path -> SHA-256 of each file that the run read, `r2d.data.fingerprint.file_hashes`.
        code_root: the folder of this project's code.
        code_sha256: of the code that weights and figures depend on.
    """
    shutil.copytree(model_folder, folder / MODEL, copy_function=_link)
    measured = Metrics.from_json(metrics)
    calibration = calibration_of(measured)
    if calibration is not None:
        write_calibration(folder / MODEL, calibration)
    if predictions is not None:
        from r2d.drift.reference import reference_of, write_reference

        write_reference(folder / MODEL, reference_of(examples, predictions, per_row=run.data.labels.per_row))
    commit, dirty = code_state(code_root)
    origin = Origin(
        code_commit=commit,
        code_dirty=dirty,
        lock_sha256=lock_hash(code_root),
        data_sha256=data_sha256,
        rationales_sha256=content_hash(provenance),
        model_sha256=folder_hash(folder / MODEL),
        seeds=_seeds(run),
        files_sha256=files_fingerprint(auxiliary_files(run)),
        sources_sha256=code_sha256,
        num_rows=len(examples),
        files_read=None if files_read is None else dict(files_read),
        model_files=file_hashes(folder / MODEL),
    )
    rows = {split: len(split_of(examples, split)) for split in SPLITS}
    card = model_card(CardFacts(run, measured, origin, rows, trained_on(provenance)))
    write_parquet(folder / PROVENANCE, provenance)
    (folder / METRICS).write_text(_json(metrics), encoding="utf-8")
    (folder / CONFIG).write_text(_yaml(run), encoding="utf-8")
    (folder / ORIGIN).write_text(_json(origin.as_facts()), encoding="utf-8")
    (folder / CARD).write_text(card, encoding="utf-8")
    return Package(folder, origin, card)


def without_champion(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the model itself: the same whatever champion it was compared with."""
    own = {name: value for name, value in metrics.items() if name not in ("champion", "champion_slices")}
    differences = metrics.get("differences") or {}
    return own | {"differences": {name: found for name, found in differences.items() if name != "champion"}}


def _seeds(run: RunConfig) -> dict[str, int]:
    seeds = {"split": run.data.split.seed, "stage2": run.stage2.seed, "intervals": run.evaluation.intervals.seed}
    return seeds | ({"stage1": run.stage1.seed} if run.method.has_stage1 else {})


def _link(source: str, target: str) -> None:
    """Weights are gigabytes: a second name for them where the file system allows it. Nobody writes into either."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _yaml(run: RunConfig) -> str:
    """What the run was, as a file that runs it again; endpoints name the variable of their key, never the key."""
    import yaml

    config = run.model_dump(mode="json", exclude_none=True)
    return yaml.safe_dump({"parameters": {"config": config}}, sort_keys=False, allow_unicode=True)
