"""The stack of a cluster, through whatever orchestrator is installed beside `r2d`, which itself knows none."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from r2d.errors import ConfigError


def stack_door(name: str) -> Callable[..., Any]:
    """`apply` brings a server to the stack of a file; `examine` says whether a run could start on one.

    Raises:
        ConfigError: no orchestrator is installed.
    """
    for door in entry_points(group="r2d.stacks", name=name):
        found: Callable[..., Any] = door.load()
        return found
    raise ConfigError("no orchestrator is installed beside r2d; install the project with its steps")
