"""Several processes on one step: what they add up, and what they must agree on. With one process nothing happens."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def num_ranks() -> int:
    """As `torch.distributed.run` has set it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def add_over_ranks(gradients: Sequence[Tensor]) -> None:
    """Add up gradients in place, in one message for each kind of number."""
    for dtype in {gradient.dtype for gradient in gradients}:
        some = [gradient for gradient in gradients if gradient.dtype == dtype]
        message = torch.cat([gradient.flatten() for gradient in some])
        torch.distributed.all_reduce(message)
        for gradient, summed in zip(some, message.split([gradient.numel() for gradient in some]), strict=True):
            gradient.copy_(summed.view_as(gradient))


def summed_over_ranks(counts: Mapping[str, float], world_size: int, device: torch.device) -> dict[str, float]:
    """Sums over the ranks, which must have the same names in the same order."""
    if world_size == 1:
        return dict(counts)
    sums = torch.tensor(list(counts.values()), dtype=torch.float64, device=device)
    torch.distributed.all_reduce(sums)
    return dict(zip(counts, sums.tolist(), strict=True))


def true_on_any_rank(fact: bool, world_size: int, device: torch.device) -> bool:
    """Whether it is so on at least one rank, told to all."""
    return summed_over_ranks({"fact": float(fact)}, world_size, device)["fact"] > 0


def joined_over_ranks(figures: Mapping[str, list[float]], world_size: int) -> dict[str, list[float]]:
    """The figures of all ranks, each of which may have noted others."""
    if world_size == 1:
        return dict(figures)
    gathered: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(gathered, dict(figures))
    names = dict.fromkeys(name for one in gathered for name in one)
    return {name: [value for one in gathered for value in one.get(name, [])] for name in names}


def of_first_rank(figures: dict[str, float], world_size: int) -> dict[str, float]:
    """The first rank's figures on every rank, so that all select and stop alike."""
    if world_size == 1:
        return figures
    message = [figures]
    torch.distributed.broadcast_object_list(message)
    return message[0]


def wait_for_all_ranks() -> None:
    """Until every rank has come here."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
