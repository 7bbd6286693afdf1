"""The registered model as MLflow loads it: notes in; label, label probabilities and rationale out.

MLflow stores this file as source and runs it ("models from code"), so that no object is pickled. It is stored together
with the `r2d` package, and so imports nothing else of this project.
"""

from __future__ import annotations

from itertools import repeat
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import ModelConfig
from mlflow.pyfunc import PythonModel, PythonModelContext
from pydantic import BaseModel


class Question(BaseModel):
    """A note with its own options."""

    text: str
    options: list[str]


class Reason2DecideModel(PythonModel):
    """Decides and explains; decision support for professionals, not a medical device."""

    def load_context(self, context: PythonModelContext) -> None:
        from r2d.inference.decide import Answerer
        from r2d.signing import Keys, require_signed

        folder = Path(context.artifacts["model"])
        require_signed(folder, str(folder), Keys.declared())
        self.answerer = Answerer.of_model(folder)

    def rows(self, texts: list[str], options: list[list[str]] | None = None) -> pd.DataFrame:
        """Answers as a table, each with why a person should decide and what a reader is to be told."""
        from r2d.inference.calls import Call

        calls = [Call(None, text, of_row) for text, of_row in zip(texts, options or repeat(None), strict=False)]
        return pd.DataFrame([answer.as_row() for answer in self.answerer.answer(calls)])


class NoteModel(Reason2DecideModel):
    """Takes a list of notes and decides among the declared labels."""

    def predict(
        self, context: PythonModelContext, model_input: list[str], params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row a note: label, valid, label_probabilities (label -> probability), rationale, handed_over,
        why, contradicted_findings, unmentioned_findings, other_labels_stated, remarks."""
        return self.rows(list(model_input))


class QuestionModel(Reason2DecideModel):
    """Takes a data frame with the columns `text` and `options`, or a list of such mappings, and decides among the
    options of each row."""

    def predict(
        self, context: PythonModelContext, model_input: list[Question], params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row a question: the columns of a note, label_probabilities with an entry for each option."""
        return self.rows([row.text for row in model_input], [row.options for row in model_input])


config = ModelConfig(development_config={"options_per_row": False})
mlflow.models.set_model(QuestionModel() if config.get("options_per_row") else NoteModel())
