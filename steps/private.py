"""Keeps cells of the data out of what ZenML stores of a failed step: it writes the message and the traceback of every
exception to its log and its database, and libraries quote the value that they could not read."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from r2d.errors import R2DError, describe_unexpected

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def private(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """The function of a step, whose unforeseen errors become an `R2DError` with their types and places alone."""

    @wraps(function)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except R2DError:
            raise  # its message quotes nothing
        except Exception as error:
            raise R2DError(describe_unexpected(error)) from None

    return run
