"""Configurations of jobs that are no run: one section under `parameters: config:`, checked like a run."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from r2d.config.reading import parse_as, read_parameters
from r2d.config.section import Section

Job = TypeVar("Job", bound=Section)


def parse_job(schema: type[Job], values: object, *, where: str = "config") -> Job:
    """Check the values of a job and return them as its schema.

    Args:
        values: the mapping under `parameters.config` of a YAML.
        where: how to call its origin in a message.

    Raises:
        ConfigError: lists every fault with its key, what was found, what is allowed and the fix.
    """
    return parse_as(schema, values, where=where)


def load_job(schema: type[Job], path: Path) -> Job:
    """Read the YAML that `zenml pipeline run ... --config` takes, and check all of it.

    Raises:
        ConfigError: the file cannot be read or is faulty.
    """
    return parse_job(schema, read_parameters(path), where=str(path))
