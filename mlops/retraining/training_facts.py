"""What a model is made of, as facts that can be held against those of another moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops.code import lock_hash
from r2d.config.loading import parse_config
from r2d.config.run import RunConfig
from r2d.data.fingerprint import data_fingerprint, files_fingerprint
from r2d.errors import ConfigError
from r2d.rationales.sources import source_files

JUDGING = {"registration", "comparison", "retraining"}
"""Sections that neither weights nor figures depend on."""
MOVABLE = ("data.path", "model.name", "model.revision")
"""Where the data lie, which have a hash of their own, and the start, which is a fact of its own."""


@dataclass(frozen=True)
class TrainingFacts:
    """None stands for what is not known."""

    config: Mapping[str, Any] | None
    """Key, as `stage2.max_steps` -> value; without what only judges a model, and without its start."""
    start: str | None
    """`model.name`: a hub name, a folder, `scratch` or a registered version."""
    data_sha256: str | None
    files_sha256: str | None
    """Of rationales, prompts and the reference of the contract."""
    sources_sha256: str | None
    lock_sha256: str | None
    num_rows: int | None = None
    """Valid rows of all splits."""


def files_beside(run: RunConfig) -> list[tuple[str, str]]:
    """Config key and path of every file that a run reads beside its data."""
    return [*run.validation.files(), *source_files(run.rationales.sources)]


def facts_of_run(run: RunConfig, *, code_root: Path, code_sha256: str) -> TrainingFacts:
    """What a run would be made of now. Its rows are not counted: that needs the data, not their hash alone.

    Args:
        code_root: the folder of this project's code, for its lock file.
        code_sha256: of the code that weights and figures depend on.

    Raises:
        DataError: a file is missing.
    """
    return TrainingFacts(
        config=_comparable(run),
        start=run.model.name,
        data_sha256=data_fingerprint(run.data),
        files_sha256=files_fingerprint(files_beside(run)),
        sources_sha256=code_sha256,
        lock_sha256=lock_hash(code_root),
    )


def facts_of_version(config: Any, origin: Mapping[str, Any]) -> TrainingFacts:
    """What a registered version was made of.

    Args:
        config: the mapping of its `config.yaml`. One that the code of today cannot read becomes None.
        origin: its `origin.json`; what an older version did not keep is None.
    """
    try:
        run = parse_config(config)
    except ConfigError:
        run = None
    kept = ("data_sha256", "files_sha256", "sources_sha256", "lock_sha256", "num_rows")
    return TrainingFacts(
        config=None if run is None else _comparable(run),
        start=None if run is None else run.model.name,
        **{name: origin.get(name) for name in kept},
    )


def count_rows(run: RunConfig) -> int:
    """The valid rows of the data as they are now.

    Raises:
        DataError: the data cannot be read, or break their contract, so that no run could use them.
    """
    from r2d.data.load import load_examples
    from r2d.data.validation import validate

    validation = validate(load_examples(run.data), run.validation, labels=run.data.labels, model=run.model)
    validation.raise_for_errors()
    return len(validation.examples)


def _comparable(run: RunConfig) -> dict[str, Any]:
    flat = _flat(run.model_dump(mode="json", exclude=JUDGING))
    if run.stage2.alpha is None:
        flat["stage2.alpha"] = run.method.default_alpha
    return {key: value for key, value in flat.items() if key not in MOVABLE}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return found
