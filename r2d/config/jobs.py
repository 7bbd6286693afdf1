"""Configurations of jobs that are no run: one section under `parameters: config:`, checked like a run."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from r2d.config.reading import expand_environment, fault_lines, read_parameters
from r2d.config.section import Section
from r2d.errors import ConfigError

Job = TypeVar("Job", bound=Section)


def parse_job(schema: type[Job], values: object, *, where: str = "config") -> Job:
    """Check the values of a job and return them as its schema.

    Args:
        values: the mapping under `parameters.config` of a YAML.
        where: how to call its origin in a message.

    Raises:
        ConfigError: lists every fault with its key, what was found, what is allowed and the fix.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected a mapping of {list(schema.model_fields)}, found {type(values).__name__}")
    try:
        return schema.model_validate(expand_environment(values))
    except ValidationError as error:
        faults = fault_lines(error, schema)
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError("\n".join([f"{where}: {count}", *faults])) from None


def load_job(schema: type[Job], path: Path) -> Job:
    """Read the YAML that `zenml pipeline run ... --config` takes, and check all of it.

    Raises:
        ConfigError: the file cannot be read or is faulty.
    """
    return parse_job(schema, read_parameters(path), where=str(path))
