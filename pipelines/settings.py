"""What ZenML is told beside our configuration: values in the YAML of a run, and variables that select a stack."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import ValidationError
from zenml import constants
from zenml.config.pipeline_run_configuration import PipelineRunConfiguration
from zenml.config.step_configurations import StepConfigurationUpdate

from r2d.config.loading import read_zenml_file
from r2d.config.section import expand_environment, list_faults
from r2d.errors import ConfigError
from r2d.text import did_you_mean


def require_zenml_values(path: Path) -> None:
    """Refuse what ZenML would end on with an error that names no key, and keys of a step that it would leave out.

    Raises:
        ConfigError: also as `read_zenml_file`; names each key.
    """
    content = expand_environment({key: value for key, value in read_zenml_file(path).items() if key != "parameters"})
    try:
        PipelineRunConfiguration.model_validate(content)
    except ValidationError as error:
        faults = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ConfigError(list_faults(str(path), faults)) from None
    known = StepConfigurationUpdate.model_fields
    faults = [
        f"  steps.{name}.{key}: unknown key{did_you_mean(str(key), known)}"
        for name, values in (content.get("steps") or {}).items()
        for key in values
        if key not in known
    ]
    if faults:
        raise ConfigError(list_faults(str(path), faults))


def refuse_unread_stack() -> None:
    """Refuse a variable that seems to select a stack and that ZenML does not read, and so would run on another one.

    Raises:
        ConfigError: there is one; names that which ZenML reads.
    """
    read = list(vars(constants).values())
    named = [name for name, value in os.environ.items() if value and re.fullmatch(r"ZENML_\w*STACK(_ID|_NAME)?", name)]
    unread = [name for name in named if name not in read]
    if unread:
        raise ConfigError(
            f"{', '.join(unread)}: ZenML does not read it, and the stack would be another; set "
            f"{constants.ENV_ZENML_ACTIVE_STACK_ID} to the name or id of the stack, and unset this"
        )
