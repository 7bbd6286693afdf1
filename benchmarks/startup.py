"""CPU seconds of short commands, imports and all: `python -m benchmarks.startup [CONFIG] [CHECKOUT ...]`.

The configuration is that of a run which has registered a champion; `make run` runs the default. Of several checkouts of
the sources, each is a column. A command runs once, which warms the disk, what is kept of the registry and the cache of
the steps, then `REPEATS` times, the checkouts in turn; the least counts, for a crowded machine only adds.
`r2d rollback` is asked for a model that is not there, so that nothing moves.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from r2d.config.loading import load_config

BIN = Path(sys.executable).parent
REPEATS = 5
NOTE = "62 yo man with tight chest for 1 hour, sudden onset. No fainting."
REFUSED = 2


def cpu_seconds(command: list[str], checkout: Path) -> float:
    """User and system time of a command and of what it starts."""
    before = os.times()
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run([str(BIN / command[0]), *command[1:]], env=environment, capture_output=True, text=True)
    after = os.times()
    if done.returncode != (REFUSED if "rollback" in command else 0):
        sys.exit(f"{' '.join(command[:2])}: {done.stderr.strip()[-2000:]}; train one first, with `make run`")
    return after.children_user + after.children_system - before.children_user - before.children_system


def main(config: str = "configs/demo.yaml", *checkouts: str) -> None:
    model = load_config(Path(config)).registration.model_name
    commands = [
        ["r2d", "--help"],
        ["r2d", "check", "configs/demo.yaml"],
        ["r2d", "predict", "--model", f"{model}@champion", NOTE],
        ["r2d", "history", model],
        ["r2d", "rollback", f"{model}-missing", "--reason", "measured"],
        ["r2d", "lineage", f"{model}@champion"],
        ["zenml", "--help"],
        ["zenml", "pipeline", "run", "reason2decide", "--config", config],
    ]
    columns = [Path(folder).absolute() for folder in checkouts or (".",)]
    print("| CPU seconds | " + " | ".join(folder.name for folder in columns) + " |")
    print("|---|" + "---:|" * len(columns))
    for command in commands:
        times = [[cpu_seconds(command, folder) for folder in columns] for _ in range(1 + REPEATS)][1:]
        least = [min(column) for column in zip(*times, strict=True)]
        words = " ".join(command[:3] if "run" in command else command[:2])
        print(f"| `{words}` | " + " | ".join(f"{seconds:.1f}" for seconds in least) + " |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
