"""From a YAML to a checked run: every fault in one message, with its key, what was found and what is allowed."""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Collection, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml

from r2d.config.files import RowColumns
from r2d.config.run import RunConfig
from r2d.config.section import SectionT, parse_section, sections_in, show_value
from r2d.errors import ConfigError
from r2d.files import read_yaml
from r2d.text import did_you_mean

logger = logging.getLogger(__name__)

SHIPPED = Path(__file__).resolve().parents[2] / "configs"
"""Complete runs that another one may extend by name."""

# ZenML reads a run configuration with these keys; ours is the pipeline parameter `config`.
ZENML_RUN_KEYS = (
    "run_name", "enable_cache", "enable_artifact_metadata", "enable_artifact_visualization", "enable_step_logs",
    "schedule", "build", "steps", "settings", "environment", "secrets", "tags", "extra", "model", "parameters", "retry",
    "failure_hook_source", "success_hook_source", "substitutions", "cache_policy", "execution_mode",
)  # fmt: skip


def parse_config(values: Any, *, where: str = "config") -> RunConfig:
    """Check the values of one run and return them as the schema.

    Args:
        values: the mapping under `parameters.config` of a YAML; with a key `extends`, what it changes of another run.
        where: how to call its origin in a message.

    Raises:
        ConfigError: lists every fault with its key, what was found, what is allowed and the fix.
    """
    run = parse_section(RunConfig, extended(values, where), where=where)
    for key, why in run.keys_without_effect().items():
        logger.warning("%s: %s has no effect, because %s; remove it", where, key, why)
    return run


def extended(values: Any, where: str) -> Any:
    """The values of a run together with those of the run that its key `extends` names, which it changes.

    Mappings are merged key by key, everything else is replaced. A null removes an inherited mapping, such as a source
    or a section, and an inherited name, such as a column of rationales; elsewhere it is a value. The file is looked for
    in the working directory, then among the shipped configurations.

    Raises:
        ConfigError: the other file cannot be read, or extends this one.
    """
    chain: list[Path] = []
    layers = [values]
    while isinstance(values, dict) and "extends" in values:
        values = dict(values)
        name = values.pop("extends")
        places = [Path(str(name)), SHIPPED / str(name)]
        base = next((place.resolve() for place in places if place.is_file()), None)
        if base is None:
            looked = ", ".join(map(str, places))
            raise ConfigError(f"{where}: extends: no file {show_value(name)}; looked for {looked}")
        if base in chain:
            raise ConfigError(f"{where}: extends: {base} extends itself; remove `extends` from one of the files")
        chain.append(base)
        layers[-1], values = values, read_parameters(base)
        layers.append(values)
    return reduce(_merge, reversed(layers))


def _merge(base: Any, changes: Any, annotation: Any = RunConfig) -> Any:
    """Args: annotation: the type of both in the schema."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    of_names = [get_args(part)[1] for part in (annotation, *get_args(annotation)) if get_origin(part) is dict]
    fields = {
        name: field.annotation for section in sections_in(annotation) for name, field in section.model_fields.items()
    }
    merged = dict(base)
    for key, value in changes.items():
        if value is None and key in base and (of_names or isinstance(base[key], dict)):
            del merged[key]
        else:
            merged[key] = _merge(base.get(key), value, of_names[0] if of_names else fields.get(key))
    return merged


def load_config(path: Path) -> RunConfig:
    """Read a run configuration, the file that `zenml pipeline run reason2decide --config` takes, and check all of it.

    Raises:
        ConfigError: the file cannot be read or is faulty.
    """
    return parse_config(read_parameters(path), where=str(path))


def read_zenml_file(path: Path) -> dict[str, Any]:
    """The content of a file that `zenml pipeline run --config` takes.

    Raises:
        ConfigError: the file is missing, is no YAML, or has a key at the top that ZenML would not know.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping with `parameters: config: ...`, found {show_value(content)}")
    unknown = [key for key in content if key not in ZENML_RUN_KEYS]
    if unknown:
        lines = [f"  {key}: unknown key at the top{did_you_mean(str(key), ZENML_RUN_KEYS)}" for key in unknown]
        raise ConfigError("\n".join([f"{path}: the sections of a run stand under `parameters: config:`", *lines]))
    return content


def read_parameters(path: Path) -> dict[str, Any]:
    """The unchecked mapping under `parameters.config` of a run configuration.

    Raises:
        ConfigError: as `read_zenml_file`, or there is no such mapping.
    """
    parameters = read_zenml_file(path).get("parameters")
    if not isinstance(parameters, dict) or list(parameters) != ["config"]:
        raise ConfigError(
            f"{path}: `parameters` must hold the one key `config` with the sections {list(RunConfig.model_fields)}, "
            f"found {show_value(sorted(map(str, parameters)) if isinstance(parameters, dict) else parameters)}"
        )
    values = parameters["config"]
    if not isinstance(values, dict):  # of an empty one ZenML would run the default
        raise ConfigError(f"{path}: expected a mapping of sections under `config`, found {show_value(values)}")
    return values


def load_job(schema: type[SectionT], path: Path) -> SectionT:
    """Read the YAML of a job that is no run, such as a batch inference, and check all of it.

    Raises:
        ConfigError: the file cannot be read or is faulty.
    """
    return parse_section(schema, read_parameters(path), where=str(path))


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Keys and values of a section from texts such as `data.quoting=none`, nested as in a YAML.

    Raises:
        ConfigError: a text is no `data.KEY=VALUE`.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, mark, text = setting.partition("=")
        section, *path = key.strip().split(".")
        if not (mark and path and section == "data"):
            raise ConfigError(
                f"--set {show_value(setting)}: a key of section data is wanted, such as data.quoting=none"
            )
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):  # a mark of YAML, such as a delimiter; a date that there is not
            value = None
        inner = values
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = text if value is None else value
    return values


def as_settings(columns: RowColumns, keys: Sequence[str], names: Collection[str] | None = None) -> str:
    """Options of a command, ` --set data.columns.text=note`, that declare these columns.

    Args:
        keys: of the columns; one without a value is left out.
        names: columns that a file has; keys that name others are left out too.
    """
    values = columns.model_dump(mode="json", by_alias=True, exclude_none=True)
    options = ""
    for key in keys:
        value = values.get(key)
        needed = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        if value is not None and (names is None or key == "text_template" or set(needed) <= set(names)):
            is_word = isinstance(value, str) and re.fullmatch(r"\w+", value) and yaml.safe_load(value) == value
            text = value if is_word else json.dumps(value, ensure_ascii=False)
            options += f" --set {shlex.quote(f'data.columns.{key}={text}')}"
    return options
