"""A predictor that answers at once, and files of calls for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from r2d.config.data import LabelsConfig
from r2d.errors import ModelError
from r2d.inference.decide import Answerer
from r2d.modeling.model_folder import Calibration
from r2d.modeling.predictor import Decision, Predictor
from r2d.modeling.prompts import LabelSet
from r2d.rationales.claims import ClaimChecker

LABELS = LabelsConfig(names=("emergency now", "self care"), ordered=True)


def calibration(threshold: float | None) -> Calibration:
    return Calibration({"temperature": {"value": 1.0}, "selective": {"threshold": threshold}})


class OptionSets:
    """Label sets of rows with options of their own; one option is unusable."""

    declared = None

    def of(self, options: Sequence[str]) -> LabelSet:
        if "unwritable" in options:
            raise ModelError("an option of a row has 99 tokens")
        return LabelSet(tuple(options), tuple((place,) for place in range(len(options))))


class KeywordPredictor:
    """Says `emergency now` where a text holds "pain", with 0.9, else `self care`, surer the longer the text."""

    def __init__(self, threshold: float | None = 0.7, *, evaluated: bool = True, per_row: bool = False) -> None:
        self.calibration = calibration(threshold) if evaluated else None
        self.labels: Any = OptionSets() if per_row else type("Declared", (), {"declared": LabelSet(LABELS.names, ())})
        self.asked: list[str] = []

    def decide(
        self, texts: Sequence[str], options: Sequence[Sequence[str]] | None = None, **_: object
    ) -> list[Decision]:
        self.asked += texts
        chosen = options or [LABELS.names] * len(texts)
        return [self._decision(text, names) for text, names in zip(texts, chosen, strict=True)]

    def _decision(self, text: str, names: Sequence[str]) -> Decision:
        pain = "pain" in text
        sure = 0.9 if pain else min(0.95, 0.5 + len(text) / 100)
        label = "nonsense" if "nonsense" in text else names[0 if pain else 1]
        shares = {name: sure if name == label else 1 - sure for name in names}
        return Decision(label, label in names, shares, "because")


def answerer(predictor: KeywordPredictor | None = None) -> Answerer:
    """That predictor, or a new one, with what an answer needs beside it."""
    return Answerer(cast("Predictor", predictor or KeywordPredictor()), ClaimChecker.of())


def write_calls(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Rows as a file of the kind that its ending names."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=7)
    elif path.suffix == ".csv":
        names = list(rows[0])
        lines = [",".join('"' + str(row[name] or "").replace('"', '""') + '"' for name in names) for row in rows]
        path.write_text("\n".join([",".join(names), *lines]) + "\n", encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
