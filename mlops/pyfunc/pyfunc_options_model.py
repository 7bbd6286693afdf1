"""The registered model as MLflow loads it, where each row has options of its own: columns `text` and `options` in.

Like `pyfunc_model.py` it is stored as source together with the `r2d` package and imports nothing else of this project.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext
from pydantic import BaseModel


class Question(BaseModel):
    """A row: a data frame with these columns, a list of such mappings, or JSON."""

    text: str
    options: list[str]


class Reason2DecideOptionsModel(PythonModel):
    """Decides between each row's options and explains; decision support for professionals, not a medical device."""

    def load_context(self, context: PythonModelContext) -> None:
        from r2d.modeling.predictor import Predictor

        self.predictor = Predictor(Path(context.artifacts["model"]))

    def predict(
        self, context: PythonModelContext, model_input: list[Question], params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row a question: label, valid, label_probabilities (option -> probability), rationale, handed_over."""
        texts, options = [row.text for row in model_input], [row.options for row in model_input]
        return pd.DataFrame([decision.as_row() for decision in self.predictor.decide(texts, options)])


mlflow.models.set_model(Reason2DecideOptionsModel())
