"""The message that a data section ends with, once it is known to quote no note."""

from __future__ import annotations

import traceback

import pytest

from r2d.config.data import DataConfig
from r2d.config.validation import ValidationConfig
from r2d.data.load import load_examples
from r2d.data.validation.validate import validate
from r2d.errors import DataError

CLINICAL = ("Dûrand", "rang at night", "her heart")
"""Parts of the notes and rationales that the tests write."""


def message_of(config: DataConfig) -> str:
    """The error of loading and validating; neither it nor its traceback quotes a note."""
    default = ValidationConfig()
    severities = {name: "off" for name in default.checks() if default.severity(name) != "error"}
    rules = ValidationConfig.model_validate({"min_text_characters": 1, "severities": severities})
    with pytest.raises(DataError) as caught:
        validate(load_examples(config), rules, labels=config.labels).raise_for_errors()
    shown = "".join(traceback.format_exception(caught.value))
    assert not [text for text in CLINICAL if text in shown]
    return str(caught.value)
