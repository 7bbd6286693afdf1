"""Everything that is registered of a model, written as one folder, and what it needs to load elsewhere."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import yaml

from mlops.code import ROOT, code_state, lock_hash, model_code_hash
from mlops.registry.versions import CARD, CONFIG, METRICS, ORIGIN, PROVENANCE
from mlops.run_record import RunRecord
from r2d.data.examples import content_hash, shown_splits, split_of
from r2d.evaluation.calibration import calibration_of
from r2d.evaluation.looks import TestSetUse
from r2d.evaluation.metrics import Metrics
from r2d.files import write_json, write_parquet, write_text
from r2d.lineage.records import Origin
from r2d.model_card import CardFacts, model_card
from r2d.modeling.manifest import model_hash, model_hashes, verify_model, write_manifest
from r2d.modeling.model_folder import write_calibration
from r2d.modeling.reference import reference_of, write_reference
from r2d.rationales.claims import FINDINGS_FILE, NEGATION_FILE
from r2d.rationales.provenance import trained_on
from r2d.signing import Keys, key_id_of, sign_folder

MODEL = "model"
REQUIREMENTS = (
    "torch", "transformers", "tokenizers", "sentencepiece", "safetensors", "pydantic", "pyyaml", "pyarrow", "pandas",
    "mlflow",
)  # fmt: skip
SIGNING_REQUIREMENTS = ("model-signing", "pyopenssl")
"""Of a signed model besides; model-signing 1.1.1 imports the second without asking for it."""


@dataclass(frozen=True)
class TrainedModel:
    """A trained and evaluated model, as a run hands it to the registry."""

    folder: Path
    record: RunRecord
    metrics: Metrics
    """Those of the champion on the same rows among them."""
    examples: pa.Table
    """Of Stage 2, all splits."""
    provenance: pa.Table
    """Where every rationale comes from, with the column `stages`."""
    predictions: pa.Table | None = None
    """Of the test rows; the reference of `r2d drift` is made of them."""


@dataclass(frozen=True)
class Package:
    """A folder of what is registered: weights, tokenizer, label set and calibration in `model/`, and beside it the
    configuration, the metrics, the card, the origin, and the provenance of the rationales."""

    folder: Path
    origin: Origin
    card: str

    def files(self) -> dict[str, Path]:
        """Name without its ending -> file, or the folder of the model."""
        return {path.stem if path.is_file() else path.name: path for path in sorted(self.folder.iterdir())}


def write_package(folder: Path, trained: TrainedModel, test_set: TestSetUse | None = None) -> Package:
    """Fill an empty folder.

    Args:
        test_set: how often the test set was looked at until now, for the card.

    Raises:
        ModelError: files of the trained model are damaged.
    """
    verify_model(trained.folder)
    record, metrics, examples = trained.record, trained.metrics, trained.examples
    run, model = record.run, folder / MODEL
    shutil.copytree(trained.folder, model, copy_function=_link)
    calibration = calibration_of(metrics)
    if calibration is not None:
        write_calibration(model, calibration)
    claims = run.evaluation.claims
    for declared, name in ((claims.findings_file, FINDINGS_FILE), (claims.negation_file, NEGATION_FILE)):
        if declared is not None:
            shutil.copyfile(declared, model / name)
    if trained.predictions is not None:
        reference = reference_of(
            examples,
            trained.predictions,
            per_row=run.data.labels.per_row,
            out_of_scope=run.evaluation.out_of_scope,
        )
        write_reference(model, reference)
    write_manifest(model)
    signed_by = None
    if (private := Keys.declared(run.registration.signing).private) is not None:
        sign_folder(model, private)
        signed_by = key_id_of(private)
    seeds = {"split": run.data.split.seed, "stage2": run.stage2.seed, "intervals": run.evaluation.intervals.seed}
    commit, dirty = code_state(ROOT)
    origin = Origin(
        code_commit=commit,
        code_dirty=dirty,
        lock_sha256=lock_hash(ROOT),
        data_sha256=record.data_sha256,
        rationales_sha256=content_hash(trained.provenance),
        model_sha256=model_hash(model),
        seeds=seeds | ({"stage1": run.stage1.seed} if run.method.has_stage1 else {}),
        files_sha256=record.files_sha256,
        sources_sha256=model_code_hash(),
        num_rows=len(examples),
        files_read=record.files_read,
        model_files=model_hashes(model),
        signed_by=signed_by,
    )
    rows = {split: len(split_of(examples, split)) for split in shown_splits(examples["split"].to_pylist())}
    card = model_card(CardFacts(run, metrics, origin, rows, trained_on(trained.provenance), test_set))
    # As a file that runs it again; an endpoint is stored with the variable of its key, never with the key.
    config = {"parameters": {"config": run.model_dump(mode="json", exclude_none=True)}}
    write_parquet(folder / PROVENANCE, trained.provenance)
    write_json(folder / METRICS, metrics.to_json())
    write_text(folder / CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    write_json(folder / ORIGIN, asdict(origin))
    write_text(folder / CARD, card)
    return Package(folder, origin, card)


def _link(source: str, target: str) -> None:
    """Link a file where the file system allows it, because weights are gigabytes; nobody writes into either."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def pinned_requirements(*, is_signed: bool) -> Iterator[list[str]]:
    """Yield the requirements of a registered model as MLflow takes them: each pinned, and all that they pull in
    constrained to the installed versions by a file that exists until the context ends."""
    names = (*REQUIREMENTS, *(SIGNING_REQUIREMENTS if is_signed else ()))
    with TemporaryDirectory() as folder:
        installed = installed_versions(names)
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("".join(f"{name}=={installed[name]}\n" for name in sorted(installed)), encoding="utf-8")
        yield [*(f"{name}=={installed[name]}" for name in names), f"-c {constraints}"]


@cache
def installed_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Name -> version of each installed package that the named ones need, directly or through others.

    Without the local part of a version, as in `2.13.0+cpu`: an index has only the public one. Extras are left out.
    """
    versions: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in versions:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:  # of another platform
            continue
        versions[name] = package.version.split("+")[0]
        needed = [line for line in package.requires or () if not re.search(r"\bextra\b", line)]
        waiting += [match.group() for line in needed if (match := re.match(r"[A-Za-z0-9._-]+", line))]
    return versions
