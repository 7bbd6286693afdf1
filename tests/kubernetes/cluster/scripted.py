"""Containers that do nothing: the test says when and how each one ends. And a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.kubernetes.cluster.launches import Launch


@dataclass
class ScriptedContainer:
    """A container that runs until `exit_code` is set; it ends on SIGTERM unless it is deaf."""

    launch: Launch
    exit_code: int | None = None
    is_deaf: bool = False
    signals: list[str] = field(default_factory=list)

    def poll(self) -> int | None:
        return self.exit_code

    def terminate(self) -> None:
        self.signals.append("SIGTERM")
        if not self.is_deaf:
            self.exit_code = 143

    def kill(self) -> None:
        self.signals.append("SIGKILL")
        self.exit_code = 137


@dataclass
class Scripted:
    """What stands in for bubblewrap and for the time of day."""

    seconds: float = 1_800_000_000.0
    containers: list[ScriptedContainer] = field(default_factory=list)

    def start(self, launch: Launch) -> ScriptedContainer:
        self.containers.append(ScriptedContainer(launch))
        return self.containers[-1]

    def now(self) -> float:
        return self.seconds
