"""Where the time of an evaluation goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

OF_THE_MODEL = ("generation", "validation_labels", "labels_of_rationales", "flipped_rationales")
"""What the model is asked. `generation`: labels, under both decodings, and rationales of the test rows; then labels of
the validation rows, of rationales alone, and rationales for another label."""
PARTS = (
    *OF_THE_MODEL, "champion", "baselines", "label_figures", "bertscore", "rationale_figures", "judge", "report",
)  # fmt: skip

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


class Clock:
    """Wall time by part; while an inner part runs, the outer one stands still."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._parts = dict.fromkeys(PARTS, 0.0)
        self._inner = 0.0

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        started, outer, self._inner = time.perf_counter(), self._inner, 0.0
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self._parts[part] += spent - self._inner
            self._inner = outer + spent

    def timed(self, part: str, function: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
        """The function, with its time counted for a part."""

        def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
            with self(part):
                return function(*args, **kwargs)

        return call

    def seconds(self) -> dict[str, float]:
        """Of each part, and `total` until now."""
        return self._parts | {"total": time.perf_counter() - self._started}
