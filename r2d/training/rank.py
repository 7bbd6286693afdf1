"""One rank of a stage: `torch.distributed.run ... -m r2d.training.rank WORK_DIR`, as `start_ranks` starts it.

The first rank prints its metrics and writes the result; each rank that fails writes the reason.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from r2d.errors import R2DError
from r2d.failures import unexpected
from r2d.files import write_json
from r2d.training.distributed import FAILURE_FILE, METRICS_PREFIX
from r2d.training.stage1 import train_stage1
from r2d.training.stage2 import train_stage2
from r2d.training.work import ranks_folder, read_work, write_result


def main() -> None:
    work_dir, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, format="%(message)s")

    def print_metrics(step: int, metrics: Mapping[str, float]) -> None:
        print(METRICS_PREFIX + json.dumps([step, dict(metrics)]), flush=True)

    try:
        work = read_work(work_dir)
        train = train_stage1 if work.stage == "stage 1" else train_stage2
        result = train(work, print_metrics)
    except Exception as error:
        failure = error if isinstance(error, R2DError) else unexpected(error)
        told = {"kind": type(failure).__name__, "message": str(failure)}
        write_json(ranks_folder(work_dir) / FAILURE_FILE.format(rank), told)
        raise failure from None
    if rank == 0:
        write_result(work_dir, result)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # not while the interpreter ends, where its threads may abort


if __name__ == "__main__":
    main()
