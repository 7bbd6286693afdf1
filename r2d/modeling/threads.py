"""How many threads compute a model on a CPU."""

from __future__ import annotations

import os

import torch

THREADS_VARIABLE = "OMP_NUM_THREADS"
SMALL = 5_000_000
"""Parameters. Below, the matrices are so small that threads mostly wait for each other: on two free cores a second one
saves a third of the time, and where another process uses a core it multiplies the time, by 16 as measured."""
_lowered_from: int | None = None


def set_threads(num_parameters: int) -> None:
    """One thread for a small model, all for another, unless the user has said how many."""
    global _lowered_from
    if THREADS_VARIABLE in os.environ:
        return
    if num_parameters < SMALL:
        if torch.get_num_threads() > 1:
            _lowered_from = torch.get_num_threads()
            torch.set_num_threads(1)
    elif _lowered_from is not None:
        torch.set_num_threads(_lowered_from)
        _lowered_from = None
