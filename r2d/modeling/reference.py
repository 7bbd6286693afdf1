"""The reference that later calls are compared with: a model's training texts, predicted labels and confidence.

`r2d.modeling.scope` holds single calls against it, `r2d drift` many of them. It is the file `drift_reference.json` of a
model folder, and holds counts and frequent words, but no text.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from r2d.config.evaluation import OutOfScope
from r2d.data.examples import groups_of, split_of
from r2d.errors import ModelError
from r2d.files import write_json

REFERENCE_FILE = "drift_reference.json"
FORMAT_VERSION = 1
MAX_VALUES = 5_000
"""Of a distribution; more are thinned evenly."""
DECIMALS = 6
NO_DECLARED_LABEL = "(no declared label)"
MAX_VOCABULARY = 20_000

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class DriftReference:
    """The content of `drift_reference.json`."""

    num_texts: int
    """Training texts."""
    vocabulary: dict[str, int]
    """Word -> training texts that hold it, the most frequent first."""
    lengths: list[float]
    """Characters of the training texts, ascending."""
    unfamiliar: list[float]
    """Share of words outside the vocabulary in each validation and test text, ascending. Training texts are left out:
    the vocabulary is made of their words."""
    labels: dict[str, int] | None
    """Predicted label -> test rows; None where each row has labels of its own."""
    confidences: list[float]
    """Probability of the predicted label of each test row, ascending."""
    out_of_scope: OutOfScope = "hand_over"
    """What is done with a call that is unlike the training texts."""

    @property
    def num_decided(self) -> int:
        """Test rows."""
        return sum(self.labels.values()) if self.labels is not None else len(self.confidences)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without numbers."""
    return _WORD.findall(text.casefold())


def vocabulary_of(texts: Sequence[str], groups: Sequence[str]) -> dict[str, int]:
    """Word -> texts that hold it, the most frequent first, without words that may identify somebody.

    Args:
        groups: of each text: the patient or caller that it is about.
    """
    from r2d.privacy.words import shared_words  # a registered model decides without its libraries

    kept = {word.casefold() for word in shared_words(texts, groups, _WORD.findall).kept}
    counts = Counter(word for text in texts for word in set(words_of(text)))
    frequent = [(word, count) for word, count in counts.items() if word in kept]
    return dict(sorted(frequent, key=lambda item: (-item[1], item[0]))[:MAX_VOCABULARY])


def unfamiliar_share(words: Sequence[str], vocabulary: Container[str]) -> float:
    """Share of a text's words that are not in the vocabulary; 0 for a text without words."""
    return sum(word not in vocabulary for word in words) / len(words) if words else 0.0


def reference_of(
    examples: pa.Table, predictions: pa.Table, *, per_row: bool = False, out_of_scope: OutOfScope = "hand_over"
) -> DriftReference:
    """The reference of a model.

    Args:
        examples: that the model was trained on.
        predictions: on its test rows, with probabilities as inference gives them: columns predicted_label, valid,
            label_probabilities.
        per_row: whether each row has labels of its own.
    """
    train = split_of(examples, "train")
    held_out = examples.filter(pc.not_equal(examples["split"], "train"))["text"].to_pylist()
    vocabulary = vocabulary_of(train["text"].to_pylist(), groups_of(train))
    rows = predictions.select(["predicted_label", "valid", "label_probabilities"]).to_pylist()
    labels = Counter(row["predicted_label"] if row["valid"] else NO_DECLARED_LABEL for row in rows)
    confidences = [dict(row["label_probabilities"])[row["predicted_label"]] for row in rows if row["valid"]]
    return DriftReference(
        num_texts=len(train),
        vocabulary=vocabulary,
        lengths=_thin(pc.utf8_length(train["text"]).to_numpy()),
        unfamiliar=_thin([unfamiliar_share(words_of(text), vocabulary) for text in held_out]),
        labels=None if per_row else dict(sorted(labels.items())),
        confidences=_thin(confidences),
        out_of_scope=out_of_scope,
    )


def write_reference(folder: Path, reference: DriftReference) -> Path:
    """Write the reference into a model folder."""
    write_json(folder / REFERENCE_FILE, {"format_version": FORMAT_VERSION, **asdict(reference)}, indent=None)
    return folder / REFERENCE_FILE


def read_reference(path: Path) -> DriftReference:
    """The reference in a file.

    Raises:
        ModelError: the file is missing, damaged or of another format.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        version = facts.pop("format_version")
        if version != FORMAT_VERSION:
            raise ModelError(f"{path}: is of format {version}, this version reads {FORMAT_VERSION}; register it again")
        return DriftReference(**facts)
    except FileNotFoundError:
        raise ModelError(
            f"{path}: no such file; the model keeps no reference to hold calls against: evaluate and register it "
            "again, or give the reference of another run"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        fault = f"is damaged ({type(error).__name__})"
        raise ModelError(f"{path}: {fault}; evaluate and register the model again") from None


def round_values(values: Sequence[float] | FloatArray) -> FloatArray:
    """Values with as many decimals as the file holds: 0.99999994 and 1 are the same confidence."""
    return np.asarray(np.round(values, DECIMALS), dtype=np.float64)


def _thin(values: Sequence[float] | FloatArray) -> list[float]:
    """The rounded values, ascending, thinned evenly to at most `MAX_VALUES`."""
    ascending = np.sort(np.asarray(values, dtype=np.float64))
    if len(ascending) > MAX_VALUES:
        ascending = ascending[np.linspace(0, len(ascending) - 1, MAX_VALUES).round().astype(int)]
    return round_values(ascending).tolist()
