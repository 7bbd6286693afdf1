"""The registered model as MLflow loads it: texts in; label, label probabilities and rationale out.

MLflow stores this file as source and runs it ("models from code"), so that no object is pickled. It is stored together
with the `r2d` package and imports nothing else of this project.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext


class Reason2DecideModel(PythonModel):
    """Decides and explains; decision support for professionals, not a medical device."""

    def load_context(self, context: PythonModelContext) -> None:
        from r2d.modeling.predictor import Predictor

        self.predictor = Predictor(Path(context.artifacts["model"]))

    def predict(
        self, context: PythonModelContext, model_input: list[str], params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row a text: label, valid, label_probabilities (label -> probability), rationale, handed_over."""
        return pd.DataFrame([decision.as_row() for decision in self.predictor.decide(list(model_input))])


mlflow.models.set_model(Reason2DecideModel())
