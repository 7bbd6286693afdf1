"""Runs `r2d predict-file` in a process of its own and kills it without warning when a file of that name is written but
not yet renamed.

python -m tests.inference.killed_inference NAME_OR_- ARGUMENTS_OF_PREDICT_FILE...
"""

from __future__ import annotations

import os
import signal
import sys

import typer

from mlops.cli.models import predict_file

bring_to_disk = os.fsync


def fsync_or_die(file: int) -> None:
    """Kill this process where it would bring the fatal file to the disk."""
    if os.path.basename(os.readlink(f"/proc/self/fd/{file}")) == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    bring_to_disk(file)


if __name__ == "__main__":
    fatal, *sys.argv[1:] = sys.argv[1:]
    os.fsync = fsync_or_die
    typer.run(predict_file)
