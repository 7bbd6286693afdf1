"""The optimiser of several ranks: a file of its own, because its import takes time that one process saves."""

from __future__ import annotations

from typing import Any

from torch.distributed.optim import ZeroRedundancyOptimizer


class ShardedOptimizer(ZeroRedundancyOptimizer):
    """Each rank keeps the optimiser's state of its share of the parameters, and sends them to the others after a step.

    A checkpoint holds the whole state, as one optimiser would write it, so that any number of ranks may go on from it.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.state.clear()  # this rank's share is in its own optimiser, `self.optim`
        for group in self.param_groups:
            group["fused"] = None  # one process steps so, with its counts of steps on the GPU; here they are on the CPU

    def state_dict(self) -> dict[str, Any]:
        """The state that was gathered last, which is not kept a second time."""
        state = super().state_dict()
        self._all_state_dicts: list[dict[str, Any]] = []
        return state
