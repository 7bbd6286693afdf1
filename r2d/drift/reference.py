"""What later calls are held against: how the training texts read, and what the model said of its test rows.

The file `drift_reference.json` of a model folder. It holds counts and frequent words, and no text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from r2d.data.examples import split_of
from r2d.drift.words import unfamiliar_share, vocabulary_of, words_of
from r2d.errors import ModelError
from r2d.evaluation.decided_rows import FloatArray

REFERENCE_FILE = "drift_reference.json"
FORMAT_VERSION = 1
MAX_VALUES = 5_000
"""Of a distribution: more are thinned to that many, evenly in order of size."""
DECIMALS = 6
NO_DECLARED_LABEL = "(no declared label)"


@dataclass(frozen=True)
class DriftReference:
    """The content of `drift_reference.json`."""

    num_texts: int
    """Training texts."""
    vocabulary: dict[str, int]
    """Word -> training texts that hold it, the most frequent first."""
    lengths: list[float]
    """Characters of the training texts, rising."""
    unfamiliar: list[float]
    """Share of words out of the vocabulary in each validation and test text, rising. Not of training texts, whose own
    words the vocabulary is."""
    labels: dict[str, int] | None
    """Predicted label -> test rows; None where each row has labels of its own."""
    confidences: list[float]
    """Probability of the predicted label of each test row, rising."""

    @property
    def num_decided(self) -> int:
        """Test rows."""
        return sum(self.labels.values()) if self.labels is not None else len(self.confidences)


def reference_of(examples: pa.Table, predictions: pa.Table, *, per_row: bool = False) -> DriftReference:
    """The reference that goes with a model.

    Args:
        examples: table of `EXAMPLES_SCHEMA` that the model was trained on.
        predictions: those of `r2d.evaluation.evaluate` on its test rows, with probabilities as inference gives them:
            columns predicted_label, valid, label_probabilities.
        per_row: whether each row has labels of its own.
    """
    train = split_of(examples, "train")
    held_out = examples.filter(pc.not_equal(examples["split"], "train"))
    vocabulary = vocabulary_of(train["text"].to_pylist())
    rows = predictions.select(["predicted_label", "valid", "label_probabilities"]).to_pylist()
    said = Counter(row["predicted_label"] if row["valid"] else NO_DECLARED_LABEL for row in rows)
    sure = [dict(row["label_probabilities"])[row["predicted_label"]] for row in rows if row["valid"]]
    return DriftReference(
        num_texts=len(train),
        vocabulary=vocabulary,
        lengths=_thinned(pc.utf8_length(train["text"]).to_numpy()),
        unfamiliar=_thinned([unfamiliar_share(words_of(text), vocabulary) for text in held_out["text"].to_pylist()]),
        labels=None if per_row else dict(sorted(said.items())),
        confidences=_thinned(sure),
    )


def write_reference(folder: Path, reference: DriftReference) -> Path:
    """Write the file into a folder: aside first, then renamed."""
    path = folder / REFERENCE_FILE
    aside = folder / f"{REFERENCE_FILE}.partial"
    facts = {"format_version": FORMAT_VERSION, **asdict(reference)}
    aside.write_text(json.dumps(facts, ensure_ascii=False) + "\n", encoding="utf-8")
    aside.replace(path)
    return path


def read_reference(path: Path) -> DriftReference:
    """The reference in a file.

    Raises:
        ModelError: there is none, or it is damaged or of another format.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        found = facts.pop("format_version")
        if found != FORMAT_VERSION:
            raise ModelError(f"{path}: is of format {found}, this version reads {FORMAT_VERSION}; register it again")
        return DriftReference(**facts)
    except FileNotFoundError:
        raise ModelError(
            f"{path}: no such file; the model keeps no reference to hold calls against: evaluate and register it "
            "again, or give the reference of another run"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path}: is damaged ({type(error).__name__}); evaluate and register the model again"
        ) from None


def _thinned(values: Sequence[float] | FloatArray) -> list[float]:
    """The values in rising order; of many, every so-manieth."""
    rising = np.sort(np.asarray(values, dtype=np.float64))
    if len(rising) > MAX_VALUES:
        rising = rising[np.linspace(0, len(rising) - 1, MAX_VALUES).round().astype(int)]
    return in_reference_digits(rising).tolist()


def in_reference_digits(values: Sequence[float] | FloatArray) -> FloatArray:
    """Values with as many digits as the file has: 0.99999994 and 1 are one confidence, and must stay one."""
    return np.asarray(np.round(values, DECIMALS), dtype=np.float64)
