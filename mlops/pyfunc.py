"""The registered model as MLflow loads it: notes in; label, label probabilities and rationale out.

MLflow stores this file as source and runs it ("models from code"), so that no object is pickled. It is stored together
with the `r2d` package, and so imports nothing else of this project.
"""

from __future__ import annotations

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
        from r2d.modeling.predictor import Predictor

        self.predictor = Predictor(Path(context.artifacts["model"]))


class NoteModel(Reason2DecideModel):
    """Takes a list of notes and decides among the declared labels."""

    def predict(
        self, context: PythonModelContext, model_input: list[str], params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row a note: label, valid, label_probabilities (label -> probability), rationale, handed_over."""
        return pd.DataFrame([decision.as_row() for decision in self.predictor.decide(list(model_input))])


class QuestionModel(Reason2DecideModel):
    """Takes a data frame with the columns `text` and `options`, or a list of such mappings, and decides among the
    options of each row."""

    def predict(
        self, context: PythonModelContext, model_input: list[Question], params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row a question: label, valid, label_probabilities (option -> probability), rationale, handed_over."""
        texts, options = [row.text for row in model_input], [row.options for row in model_input]
        return pd.DataFrame([decision.as_row() for decision in self.predictor.decide(texts, options)])


config = ModelConfig(development_config={"options_per_row": False})
mlflow.models.set_model(QuestionModel() if config.get("options_per_row") else NoteModel())
