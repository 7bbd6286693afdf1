"""From a YAML to a checked run: every fault in one message, with its key, what was found and what is allowed."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from r2d.config.run import RunConfig
from r2d.errors import ConfigError

Schema = TypeVar("Schema", bound=BaseModel)

# ZenML reads a run configuration with these keys; ours is the pipeline parameter `config`.
ZENML_RUN_KEYS = (
    "run_name", "enable_cache", "enable_artifact_metadata", "enable_artifact_visualization", "enable_step_logs",
    "schedule", "build", "steps", "settings", "environment", "secrets", "tags", "extra", "model", "parameters", "retry",
    "failure_hook_source", "success_hook_source", "substitutions", "cache_policy", "execution_mode",
)  # fmt: skip


def parse_config(values: Any, *, where: str = "config") -> RunConfig:
    """Check the values of one run and return them as the schema.

    Args:
        values: the mapping under `parameters.config` of a YAML.
        where: how to call its origin in a message.

    Raises:
        ConfigError: lists every fault with its key, what was found, what is allowed and the fix.
    """
    return parse_as(RunConfig, values, where=where)


def parse_as(schema: type[Schema], values: Any, *, where: str) -> Schema:
    """`parse_config` for any schema.

    Raises:
        ConfigError: lists every fault.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected a mapping of sections {_field_names(schema)}, found {_shown(values)}")
    try:
        return schema.model_validate(expand_environment(values))
    except ValidationError as error:
        faults = fault_lines(error, schema)
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError("\n".join([f"{where}: {count}", *faults])) from None


def load_config(path: Path) -> RunConfig:
    """Read a run configuration, the file that `zenml pipeline run reason2decide --config` takes, and check all of it.

    Raises:
        ConfigError: the file cannot be read or is faulty.
    """
    return parse_config(read_parameters(path), where=str(path))


def read_parameters(path: Path) -> Any:
    """The unchecked mapping under `parameters.config` of a run configuration.

    Raises:
        ConfigError: the file is missing, is no YAML, or has a key at the top that ZenML would not know.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is no YAML in UTF-8: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping with `parameters: config: ...`, found {_shown(content)}")
    unknown = [key for key in content if key not in ZENML_RUN_KEYS]
    if unknown:
        lines = [f"  {key}: unknown key at the top{_nearest(str(key), ZENML_RUN_KEYS)}" for key in unknown]
        raise ConfigError("\n".join([f"{path}: the sections of a run stand under `parameters: config:`", *lines]))
    parameters = content.get("parameters")
    if not isinstance(parameters, dict) or list(parameters) != ["config"]:
        raise ConfigError(
            f"{path}: `parameters` must hold the one key `config` with the sections {_field_names(RunConfig)}, "
            f"found {_shown(sorted(map(str, parameters)) if isinstance(parameters, dict) else parameters)}"
        )
    return parameters["config"]


def expand_environment(values: Any) -> Any:
    """Replace `${NAME}` and `${NAME:-default}` in every text of a nested value."""
    if isinstance(values, dict):
        return {key: expand_environment(value) for key, value in values.items()}
    if isinstance(values, list):
        return [expand_environment(value) for value in values]
    if isinstance(values, str):
        return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", _environment_value, values)
    return values


def _environment_value(match: re.Match[str]) -> str:
    name, default = match.group(1), match.group(2)
    value = os.environ.get(name) or default
    if value is None:
        raise ConfigError(f"config: ${{{name}}} is not set in the environment; set it or write ${{{name}:-default}}")
    return value


def fault_lines(error: ValidationError, schema: type[BaseModel]) -> list[str]:
    """A line for each fault of a file that was held against the schema."""
    return [_fault(item, schema) for item in error.errors()]


def _fault(item: Any, schema: type[BaseModel]) -> str:
    """One line for one Pydantic error: key, found, allowed, nearest name, fix."""
    location = [part for part in item["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    key = ".".join(str(part) for part in location) or "(the whole)"
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        names = _field_names(_section_at(location[:-1], schema))
        return f"  {key}: unknown key{_nearest(str(location[-1]), names)}; allowed: {', '.join(names)}"
    if kind == "missing":
        return f"  {key}: missing; add it"
    if kind == "value_error":
        return f"  {key}: {context['error']}"
    if kind == "literal_error":
        allowed = context["expected"].replace(" or ", ", ")
        nearest = _nearest(str(item["input"]), re.findall(r"'([^']*)'", allowed))
        return f"  {key}: found {_shown(item['input'])}{nearest}; allowed: {allowed}"
    hint = ""
    if isinstance(item["input"], bool) and kind.startswith("string"):
        hint = '; YAML reads an unquoted yes, no, on or off as true or false: put it in quotes ("yes")'
    return f"  {key}: found {_shown(item['input'])}; {_lower_first(item['msg'])}{hint}"


def _section_at(location: list[Any], schema: type[BaseModel]) -> type[BaseModel]:
    """The section that a location leads to; where several may stand, the one whose kind is named in it."""
    section: type[BaseModel] = schema
    allowed: list[type[BaseModel]] = []
    for part in location:
        field = section.model_fields.get(str(part))
        if field is None:
            section = next((one for one in allowed if part in _kinds(one)), section)
            continue
        allowed = list(_sections_in(field.annotation))
        if len(allowed) == 1:
            section = allowed[0]
    return section


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every section that a type names, however deep."""
    if get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections_in(inner)


def _kinds(section: type[BaseModel]) -> set[Any]:
    """What a section may be called where several kinds stand in one place, as `format` calls a source."""
    annotations = [field.annotation for field in section.model_fields.values()]
    return {kind for annotation in annotations if get_origin(annotation) is Literal for kind in get_args(annotation)}


def _field_names(section: type[BaseModel]) -> list[str]:
    return list(section.model_fields)


def _nearest(name: str, allowed: Any) -> str:
    close = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
