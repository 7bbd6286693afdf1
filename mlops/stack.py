"""The ZenML stack of a cluster: `r2d stack apply FILE` compares it with the server, shows the difference, applies it.

`zenml stack import` asks for another name where the stack or a component exists already. It does not show what would
change, fill in environment variables, or refuse a secret in plain text.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from r2d.config.section import Name, Section, list_faults, parse_section
from r2d.errors import ConfigError, RegistryError
from r2d.files import read_yaml

if TYPE_CHECKING:
    from zenml.client import Client
    from zenml.models import StackResponse

LOCAL_ORCHESTRATORS = ("local", "local_docker")
"""Their steps share the files of this machine."""
PLAIN_HTTP = re.compile(r"\bhttp://(?!127\.0\.0\.1\b|localhost\b)", re.IGNORECASE)
"""An address that is asked without TLS, other than of this machine."""
SECRET_REFERENCE = re.compile(r"^\{\{\s*([\w.-]+?)\.(\w[\w-]*)\s*\}\}$")


class StackComponent(Section):
    """One component: its name on the server, its flavour and its configuration."""

    name: Name
    flavor: Name
    configuration: Annotated[dict[str, Any], Field(default_factory=dict)]
    """The keys of the ZenML flavour; a secret only as `{{secret.key}}`."""


class StackFile(Section):
    """A complete stack: a component that it does not name is removed from the server's stack."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    components: dict[Name, StackComponent]
    """Type of component (`orchestrator`, `artifact_store`, ...) -> component."""

    def secrets(self) -> dict[str, set[str]]:
        """Secret -> its keys that the components refer to."""
        keys: dict[str, set[str]] = {}
        for component in self.components.values():
            for value in component.configuration.values():
                if match := SECRET_REFERENCE.match(str(value)):
                    keys.setdefault(match.group(1), set()).add(match.group(2))
        return keys


def read_stack(path: Path) -> StackFile:
    """Read and check the file of a stack; `${NAME}` and `${NAME:-default}` are filled in from the environment."""
    content = read_yaml(path)
    required = set(re.findall(r"\$\{(\w+)\}", json.dumps(content, default=str)))
    unset = sorted(name for name in required if not os.environ.get(name))
    if unset:
        raise ConfigError(f"{path}: not set in the environment: {', '.join(unset)}; set them and try again")
    stack = parse_section(StackFile, content, where=str(path))
    orchestrator, tracker = (stack.components.get(type_) for type_ in ("orchestrator", "experiment_tracker"))
    has_tracker = tracker is not None and tracker.flavor == "mlflow"
    if orchestrator is not None and orchestrator.flavor not in LOCAL_ORCHESTRATORS and not has_tracker:
        raise ConfigError(
            f"{path}: components.experiment_tracker: found {'none' if tracker is None else repr(tracker.flavor)}; "
            f"needed: 'mlflow' with a tracking_uri, because the orchestrator {orchestrator.flavor!r} runs each step in "
            "a pod, and metrics and models would be lost with it"
        )
    plain = sorted(
        f"components.{type_}.configuration.{key}"
        for type_, component in stack.components.items()
        for key, value in component.configuration.items()
        if PLAIN_HTTP.search(json.dumps(value, default=str))
    )
    if plain:
        raise ConfigError(
            f"{path}: {', '.join(plain)}: found http://; needed: https://, because keys, passwords and notes would "
            "cross the network in plain text (only this machine itself, 127.0.0.1, may be asked without TLS)"
        )
    return stack


@dataclass(frozen=True)
class Change:
    """A component that differs from the server's; `old` is None where the server has none of that name."""

    type: str
    component: StackComponent
    old: StackComponent | None

    @property
    def updates(self) -> dict[str, object]:
        """Key -> new value; None removes the key."""
        new, old = self.component.configuration, {} if self.old is None else self.old.configuration
        return {key: new.get(key) for key in sorted({*new, *old}) if new.get(key) != old.get(key)}

    def lines(self) -> list[str]:
        """The difference in the form of a diff, a line for each key."""
        title = f"{self.type} {self.component.name} ({self.component.flavor})"
        if self.old is None:
            return [f"+ {title}", *(f"    + {key}: {value}" for key, value in self.component.configuration.items())]
        lines = [f"~ {title}"]
        for key, value in self.updates.items():
            if key in self.old.configuration:
                lines.append(f"    - {key}: {self.old.configuration[key]}")
            if value is not None:
                lines.append(f"    + {key}: {value}")
        return lines


def changes(stack: StackFile, registered: Mapping[tuple[str, str], StackComponent]) -> list[Change]:
    """The components of the file that differ from the server's, which are given by type and name.

    Raises:
        ConfigError: a component of that name has another flavour, which ZenML cannot change.
    """
    changed = []
    for type_, component in stack.components.items():
        old = registered.get((type_, component.name))
        if old is not None and old.flavor != component.flavor:
            raise ConfigError(
                f"components.{type_}.flavor: found {component.flavor!r}, but {component.name!r} is registered as "
                f"{old.flavor!r}; give the component another name, or delete the registered one"
            )
        change = Change(type_, component, old)
        if old is None or change.updates:
            changed.append(change)
    return changed


def apply_stack(path: Path, *, dry_run: bool = False) -> list[str]:
    """Apply the stack of a file to the ZenML server, make it the active stack, and return the difference as lines.

    A component that the server's stack has and the file has not is removed from the stack, and stays registered.

    Args:
        dry_run: only compare.

    Raises:
        ConfigError: the file is wrong, holds a secret in plain text, or names one that the server has not.
        RegistryError: the server refused a component.
    """
    from zenml.client import Client
    from zenml.enums import StackComponentType

    stack, client = read_stack(path), Client()
    faults = [line for type_ in stack.components for line in _component_faults(stack, type_)]
    if faults:
        raise ConfigError(list_faults(str(path), faults))
    registered = {
        (type_, found.name): StackComponent(
            name=found.name, flavor=found.flavor_name, configuration=found.configuration
        )
        for type_, component in stack.components.items()
        for found in client.list_stack_components(type=type_, name=component.name).items
    }
    changed = changes(stack, registered)
    old_stack = next(iter(client.list_stacks(name=stack.name).items), None)
    stack_lines = _stack_difference(stack, old_stack)
    difference = [line for change in changed for line in change.lines()] + stack_lines
    if dry_run:
        return difference

    _require_secrets(stack, client)
    for change in changed:
        component, kind = change.component, StackComponentType(change.type)
        try:
            if change.old is None:
                client.create_stack_component(component.name, component.flavor, kind, component.configuration)
            else:
                client.update_stack_component(component.name, kind, configuration=change.updates)
        except Exception as error:  # ZenML raises many kinds; none of them names the component of the file
            raise RegistryError(f"components.{change.type}: the server refused {component.name!r}: {error}") from error
    names: dict[Any, str] = {StackComponentType(type_): part.name for type_, part in stack.components.items()}
    if old_stack is None:
        client.create_stack(stack.name, names)
    elif stack_lines:
        removed: dict[Any, list[str]] = {type_: [] for type_ in old_stack.components if type_ not in names}
        client.update_stack(stack.name, component_updates=names | removed)
    client.activate_stack(stack.name)
    return difference


def _component_faults(stack: StackFile, type_: str) -> Iterator[str]:
    """Unknown types, flavours and keys, and secrets in plain text."""
    from zenml.client import Client
    from zenml.enums import StackComponentType
    from zenml.stack import Flavor
    from zenml.utils.secret_utils import is_secret_field

    component, key = stack.components[type_], f"  components.{type_}"
    if type_ not in StackComponentType.values():
        yield f"{key}: unknown type of component; allowed: {', '.join(StackComponentType.values())}"
        return
    try:
        model = Client().get_flavor_by_name_and_type(component.flavor, StackComponentType(type_))
    except KeyError:
        yield f"{key}.flavor: found {component.flavor!r}; `zenml {type_.replace('_', '-')} flavor list` names them"
        return
    fields = Flavor.from_model(model).config_class.model_fields
    for name, value in component.configuration.items():
        if name not in fields:
            yield f"{key}.configuration.{name}: unknown key; allowed: {', '.join(sorted(fields))}"
        elif is_secret_field(fields[name]) and not SECRET_REFERENCE.match(str(value)):
            yield (
                f"{key}.configuration.{name}: is a secret in plain text; keep it on the server (`zenml secret create "
                f"NAME --values=@FILE`, with the key {name!r}) and write {{{{NAME.{name}}}}} here"
            )


def _stack_difference(stack: StackFile, old_stack: StackResponse | None) -> list[str]:
    """How the list of components of the server's stack differs from that of the file, a line for each type."""
    if old_stack is None:
        return [f"+ stack {stack.name}"]
    new = {type_: component.name for type_, component in stack.components.items()}
    old = {
        type_.value: ", ".join(sorted(component.name for component in components))
        for type_, components in old_stack.components.items()
    }
    return [
        f"~ stack {stack.name}: {type_} {old.get(type_) or 'none'} -> {new.get(type_) or 'none'}"
        for type_ in sorted({*new, *old})
        if new.get(type_) != old.get(type_)
    ]


def _require_secrets(stack: StackFile, client: Client) -> None:
    missing = []
    for name, keys in sorted(stack.secrets().items()):
        content = json.dumps(dict.fromkeys(sorted(keys), "..."))
        try:
            existing = set(client.get_secret(name, allow_partial_name_match=False).values)
        except KeyError:
            missing.append(
                f"  no secret {name!r}; make it: zenml secret create {name} --values=@FILE, which holds {content}"
            )
            continue
        missing += [
            f"  secret {name!r} has no key {key!r}; add it: zenml secret update {name} --values=@FILE, with that key"
            for key in sorted(keys - existing)
        ]
    if missing:
        raise ConfigError("\n".join(["the ZenML server lacks what the stack refers to:", *missing]))
