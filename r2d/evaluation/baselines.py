"""Baselines that a model must beat: the most frequent label, and a linear model over words; where each row has options
of its own, an option at random and the one that was most often right in training."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from r2d.evaluation.label_metrics import label_metrics, without_classes
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.labels import Comparator, LabelMetrics
from r2d.text import normalise_label

logger = logging.getLogger(__name__)

REGULARISATION_GRID = (0.1, 0.5, 2.0, 10.0)
NUM_FOLDS = 3
MAX_SEARCH_ROWS = 2_000
"""Rows on which C is chosen; the final fit sees every row. On the demo and on 20 invented labels 10,000 rows choose the
same C in 2 to 3 times the time."""
MAX_TERMS = 100_000


class Baselines(NamedTuple):
    """The baselines that fit the labels; all empty without training rows."""

    metrics: dict[Comparator, LabelMetrics]
    predictions: dict[Comparator, Predictions]
    """Of declared labels."""
    chances: dict[Comparator, list[float]]
    """Of options in the rows: probability of each test row that the baseline is right."""


def evaluate_baselines(train: pa.Table, test: pa.Table, predictions: Predictions) -> Baselines:
    """Measure the baselines on the test rows.

    Args:
        train: the training rows; without them there are no baselines.
        test: the test rows, and predictions of any model for them.
    """
    if not len(train):
        return Baselines({}, {}, {})
    train_labels = train["label"].to_pylist()
    if not predictions.labels:
        seen_labels = {Comparator.RANDOM_OPTION: [], Comparator.FREQUENT_OPTION: train_labels}
        chances = {
            name: frequent_option_chances(labels, predictions.gold_labels, predictions.options)
            for name, labels in seen_labels.items()
        }
        return Baselines({name: without_classes(of_rows) for name, of_rows in chances.items()}, {}, chances)
    labels = {
        Comparator.MAJORITY_CLASS: majority_baseline(train_labels, len(test)),
        Comparator.LINEAR_MODEL: linear_baseline(train["text"].to_pylist(), train_labels, test["text"].to_pylist()),
    }
    predicted = {name: predictions.with_labels(of_rows) for name, of_rows in labels.items()}
    return Baselines({name: label_metrics(of_rows) for name, of_rows in predicted.items()}, predicted, {})


def majority_baseline(train_labels: Sequence[str], num_rows: int) -> list[str]:
    """The most frequent training label for every row; of equally frequent ones the first by name."""
    counts = Counter(train_labels)
    return [min(counts, key=lambda label: (-counts[label], label))] * num_rows


def linear_baseline(
    train_texts: Sequence[str], train_labels: Sequence[str], test_texts: Sequence[str], seed: int = 42
) -> list[str]:
    """Labels of the test texts from a `LinearModel` of the training texts."""
    return LinearModel(train_texts, train_labels, seed)(test_texts)


class LinearModel:
    """TF-IDF (words and word pairs) and logistic regression, tuned for macro-F1 on the training rows alone, unless the
    inverse strength of its regularisation, C, is given.

    One class against the rest, solved in the dual: for sparse text tens of times faster than the multinomial fit, and
    as good.
    """

    def __init__(
        self, texts: Sequence[str], labels: Sequence[str], seed: int = 42, *, regularisation: float | None = None
    ) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV, StratifiedKFold
        from sklearn.multiclass import OneVsRestClassifier

        self._only_label = labels[0] if len(set(labels)) < 2 else None
        if self._only_label is not None:
            return
        self._vectorizer = TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=MAX_TERMS, token_pattern=r"(?u)\b\w+\b"
        )
        try:
            train = self._vectorizer.fit_transform(texts)
        except ValueError:  # no word occurs twice
            self._vectorizer.set_params(min_df=1)
            train = self._vectorizer.fit_transform(texts)
        # C is chosen by cross-validation, unless too few rows are labelled to tell.
        self._classifier = OneVsRestClassifier(
            LogisticRegression(
                C=regularisation or REGULARISATION_GRID[len(REGULARISATION_GRID) // 2], class_weight="balanced",
                solver="liblinear", dual=True, tol=1e-2, max_iter=1000, random_state=seed,
            )
        )  # fmt: skip
        rows = np.random.default_rng(seed).permutation(train.shape[0])[:MAX_SEARCH_ROWS]
        searched = [labels[row] for row in rows]
        if regularisation is None and sum(count >= NUM_FOLDS for count in Counter(searched).values()) >= 2:
            search = GridSearchCV(
                self._classifier,
                {"estimator__C": REGULARISATION_GRID},
                scoring="f1_macro",
                cv=StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=seed),
                refit=False,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a rare class may be missing from a fold
                search.fit(train[rows], searched)
            self._classifier.set_params(**search.best_params_)
        self._classifier.fit(train, list(labels))
        logger.info("linear model: %d rows, %d terms, C = %g", *train.shape, self._classifier.estimator.C)

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """The label of each text."""
        if self._only_label is not None:
            return [self._only_label] * len(texts)
        return [str(label) for label in self._classifier.predict(self._vectorizer.transform(texts))]


def frequent_option_chances(
    train_labels: Sequence[str], gold: Sequence[str], options: Sequence[Sequence[str]]
) -> list[float]:
    """Probability of each row of being right when its option is taken that most training rows have as their label, and
    of equally frequent options each equally often."""
    counts = Counter(normalise_label(label) for label in train_labels)
    chances = []
    for label, row_options in zip(gold, options, strict=True):
        frequencies = {option: counts[option] for option in map(normalise_label, row_options)}
        highest = max(frequencies.values())
        best = [option for option, count in frequencies.items() if count == highest]
        chances.append((normalise_label(label) in best) / len(best))
    return chances
