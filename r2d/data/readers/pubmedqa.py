"""PubMedQA as published (`ori_pqal.json`): an object from PubMed id to question, abstract, conclusion and answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from r2d.config.data import DataConfig
from r2d.data.readers.files import existing_file, text_of
from r2d.data.readers.rows import Rows, text_array
from r2d.errors import DataError
from r2d.text import first_of

ID_PREFIX = "pubmedqa-"
COLUMNS = {
    "id": "(its key)",
    "text": "QUESTION and CONTEXTS",
    "label": "final_decision",
    "rationales.human": "LONG_ANSWER",
}


def read_pubmedqa(config: DataConfig) -> Rows:
    """Read every question: the rationale source `human` is the abstract's own conclusion, the label the expert's.

    Raises:
        DataError: the file is no such object, or entries lack a field.
    """
    file = existing_file(config.path or "")
    values: dict[str, list[str]] = {key: [] for key in COLUMNS}
    broken: list[str] = []
    for pubmed_id, entry in _entries(file).items():
        try:
            contexts = " ".join(entry["CONTEXTS"])
            texts = [
                f"Question: {entry['QUESTION']}\nContext: {contexts}",
                entry["final_decision"],
                entry["LONG_ANSWER"],
            ]
        except (KeyError, TypeError) as error:
            fault = f"lacks {error}" if isinstance(error, KeyError) else "is no object of texts"
            broken.append(f"entry {ID_PREFIX}{pubmed_id} {fault}")
            continue
        for key, text in zip(COLUMNS, [ID_PREFIX + pubmed_id, *texts], strict=True):
            values[key].append(text)
    if broken:
        raise DataError(
            f"{file}: {len(broken)} entries are faulty: {first_of(broken)}; download the published file again"
        )
    return Rows(
        pa.table({key: text_array(values[key], str(file), COLUMNS[key]) for key in COLUMNS}), str(file), COLUMNS
    )


def _entries(file: Path) -> dict[str, dict[str, Any]]:
    with text_of(file, "utf-8") as stream:
        try:
            content = json.load(stream)
        except (json.JSONDecodeError, RecursionError) as error:
            line = f" on line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise DataError(f"{file}: is no JSON{line}; give PubMedQA's ori_pqal.json as published") from None
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise DataError(
            f"{file}: expected an object from PubMed id to {{QUESTION, CONTEXTS, LONG_ANSWER, final_decision}}; give "
            "PubMedQA's ori_pqal.json as published, or use data.format: jsonl"
        )
    return content
