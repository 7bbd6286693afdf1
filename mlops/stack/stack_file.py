"""The file of a ZenML stack: its schema, and what of a server differs from it. Knows no ZenML."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from r2d.config.section import Name, Section, fault_lines
from r2d.errors import ConfigError

LOCAL = ("local", "local_docker")
"""Orchestrators whose steps share the files of this machine."""
SECRET_REFERENCE = re.compile(r"^\{\{\s*([\w.-]+?)\.(\w[\w-]*)\s*\}\}$")


class StackComponent(Section):
    """One component: how it is called on the server, what it is, and its configuration."""

    name: Name
    flavor: Name
    configuration: Annotated[dict[str, Any], Field(default_factory=dict)]
    """As ZenML's flavour takes it; a secret only as `{{secret.key}}`."""


class StackFile(Section):
    """A stack, complete: what it does not name is taken off the server's."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    components: dict[Name, StackComponent]
    """Type of component (`orchestrator`, `artifact_store`, ...) -> component."""

    def secrets(self) -> dict[str, set[str]]:
        """Secret -> keys of it that the components refer to."""
        found: dict[str, set[str]] = {}
        for component in self.components.values():
            for value in component.configuration.values():
                if match := SECRET_REFERENCE.match(str(value)):
                    found.setdefault(match.group(1), set()).add(match.group(2))
        return found


@dataclass(frozen=True)
class Registered:
    """A component as the server has it."""

    name: str
    flavor: str
    configuration: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """What has to be done to one component; `old` is None where it is not there yet."""

    type: str
    component: StackComponent
    old: Registered | None

    @property
    def updates(self) -> dict[str, Any]:
        """Key -> new value; None takes the key away."""
        new, old = self.component.configuration, {} if self.old is None else self.old.configuration
        return {key: new.get(key) for key in sorted({*new, *old}) if new.get(key) != old.get(key)}

    def lines(self) -> list[str]:
        """The difference for people, a line a key."""
        called = f"{self.type} {self.component.name} ({self.component.flavor})"
        if self.old is None:
            return [f"+ {called}", *(f"    + {key}: {value}" for key, value in self.component.configuration.items())]
        shown = [f"~ {called}"]
        for key, value in self.updates.items():
            if key in self.old.configuration:
                shown.append(f"    - {key}: {self.old.configuration[key]}")
            if value is not None:
                shown.append(f"    + {key}: {value}")
        return shown


def read_stack(path: Path) -> StackFile:
    """Read and check the file of a stack; `${NAME}` and `${NAME:-default}` are filled in from the environment.

    Raises:
        ConfigError: names every fault of the file, or every variable that is not set.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is no YAML in UTF-8: {error}") from None
    unset: set[str] = set()
    filled = _filled(content, unset)
    if unset:
        raise ConfigError(f"{path}: not set in the environment: {', '.join(sorted(unset))}; set them and try again")
    try:
        stack = StackFile.model_validate(filled)
    except ValidationError as error:
        raise ConfigError("\n".join([f"{path}: no stack", *fault_lines(error, StackFile)])) from None
    _require_tracker(stack, path)
    return stack


def _require_tracker(stack: StackFile, path: Path) -> None:
    """Without a server of MLflow, pods would keep figures and models in a file that ends with them."""
    orchestrator, tracker = (stack.components.get(type_) for type_ in ("orchestrator", "experiment_tracker"))
    if orchestrator is None or orchestrator.flavor in LOCAL or (tracker is not None and tracker.flavor == "mlflow"):
        return
    found = "none" if tracker is None else repr(tracker.flavor)
    raise ConfigError(
        f"{path}: components.experiment_tracker: found {found}; needed: 'mlflow' with a tracking_uri, because the "
        f"orchestrator {orchestrator.flavor!r} runs each step in a pod, and figures and models would be lost with it"
    )


def changes(stack: StackFile, registered: Mapping[tuple[str, str], Registered]) -> list[Change]:
    """What has to be done so that the server's components are those of the file; nothing where they are.

    Args:
        registered: (type, name) -> component on the server.

    Raises:
        ConfigError: a component of that name has another flavour, which ZenML cannot change.
    """
    found = []
    for type_, component in stack.components.items():
        old = registered.get((type_, component.name))
        if old is not None and old.flavor != component.flavor:
            raise ConfigError(
                f"components.{type_}.flavor: found {component.flavor!r}, but {component.name!r} is registered as "
                f"{old.flavor!r}; give the component another name, or delete the registered one"
            )
        change = Change(type_, component, old)
        if old is None or change.updates:
            found.append(change)
    return found


def _filled(value: Any, unset: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, unset) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, unset) for item in value]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        if (os.environ.get(name) or default) is None:
            unset.add(name)
        return os.environ.get(name) or default or ""

    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", variable, value)
