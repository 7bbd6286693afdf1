"""`r2d stack apply FILE`: bring a ZenML stack to what its file says, and show the difference first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops.stack.stack_file import SECRET_REFERENCE, Change, Registered, StackFile, changes, read_stack
from r2d.errors import ConfigError, RegistryError

if TYPE_CHECKING:
    from zenml.client import Client
    from zenml.models import StackResponse


def apply_stack(path: Path, *, dry_run: bool = False) -> list[str]:
    """Compare the stack of a file with the ZenML server, bring the server to it, and make it the active stack.

    A second call changes nothing. What the server's stack has and the file has not is taken off the stack; the
    component itself stays registered.

    Args:
        dry_run: only compare.

    Returns:
        The difference, a line each; empty where there is none.

    Raises:
        ConfigError: the file is wrong, holds a secret in plain text, or names one that the server has not.
        RegistryError: the server refused a component.
    """
    from zenml.client import Client

    stack, client = read_stack(path), Client()
    _refuse_faults(stack, path)
    wanted = changes(stack, _registered(stack, client))
    there = _stack_on_server(stack, client)
    rewired = _rewired(stack, there)
    difference = [line for change in wanted for line in change.lines()] + rewired
    if dry_run:
        return difference
    _require_secrets(stack, client)
    for change in wanted:
        _bring(change, client)
    names: dict[Any, str] = {_type(type_): component.name for type_, component in stack.components.items()}
    if there is None:
        client.create_stack(stack.name, names)
    elif rewired:
        gone: dict[Any, list[str]] = {type_: [] for type_ in there.components if type_ not in names}
        client.update_stack(stack.name, component_updates=names | gone)
    client.activate_stack(stack.name)
    return difference


def _refuse_faults(stack: StackFile, path: Path) -> None:
    faults = [line for type_ in stack.components for line in _component_faults(stack, type_)]
    if faults:
        raise ConfigError("\n".join([f"{path}: {len(faults)} faults", *faults]))


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
                f"NAME --{name}=...`) and write {{{{NAME.{name}}}}} here"
            )


def _require_secrets(stack: StackFile, client: Client) -> None:
    missing = []
    for name, keys in sorted(stack.secrets().items()):
        options = " ".join(f"--{key}=..." for key in sorted(keys))
        try:
            has = set(client.get_secret(name, allow_partial_name_match=False).values)
        except KeyError:
            missing.append(f"  no secret {name!r}; make it: zenml secret create {name} {options}")
        else:
            missing += [
                f"  secret {name!r} has no key {key!r}; add it: zenml secret update {name} --{key}=..."
                for key in sorted(keys - has)
            ]
    if missing:
        raise ConfigError("\n".join(["the ZenML server lacks what the stack refers to:", *missing]))


def _type(type_: str) -> Any:
    from zenml.enums import StackComponentType

    return StackComponentType(type_)


def _registered(stack: StackFile, client: Client) -> dict[tuple[str, str], Registered]:
    found = {}
    for type_, component in stack.components.items():
        for there in client.list_stack_components(type=type_, name=component.name).items:
            found[type_, component.name] = Registered(there.name, there.flavor_name, there.configuration)
    return found


def _stack_on_server(stack: StackFile, client: Client) -> StackResponse | None:
    return next(iter(client.list_stacks(name=stack.name).items), None)


def _rewired(stack: StackFile, there: StackResponse | None) -> list[str]:
    """How the stack's list of components differs from the file's."""
    if there is None:
        return [f"+ stack {stack.name}"]
    new = {type_: {component.name} for type_, component in stack.components.items()}
    old = {type_.value: {component.name for component in there.components[type_]} for type_ in there.components}
    return [
        f"~ stack {stack.name}: {type_} {_named(old.get(type_))} -> {_named(new.get(type_))}"
        for type_ in sorted({*new, *old})
        if new.get(type_) != old.get(type_)
    ]


def _named(names: set[str] | None) -> str:
    return ", ".join(sorted(names)) if names else "none"


def _bring(change: Change, client: Client) -> None:
    component = change.component
    try:
        if change.old is None:
            client.create_stack_component(component.name, component.flavor, _type(change.type), component.configuration)
        else:
            client.update_stack_component(component.name, _type(change.type), configuration=change.updates)
    except Exception as error:  # ZenML raises many kinds; none of them says which component of the file it was
        raise RegistryError(f"components.{change.type}: the server refused {component.name!r}: {error}") from error
