"""docs/reference.md says what the schema and the commands say, and all of it."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.main import get_group

from mlops.cli.main import MODULES, app
from mlops.cli.reference import DISCRIMINATORS, JOBS, PAGE, described, reference
from r2d.config.gate import GateConfig, Rule
from r2d.config.loading import load_config
from r2d.config.run import RunConfig
from r2d.config.section import Section, sections_in

ROOT = Path(__file__).resolve().parents[1]


def schemas() -> list[type[Section]]:
    """Every section of a run and of the other jobs."""
    found: dict[type[Section], None] = {}
    waiting: list[Any] = [RunConfig, *JOBS.values()]
    while waiting:
        section = waiting.pop()
        found[section] = None
        inner = [one for field in section.model_fields.values() for one in sections_in(field.annotation)]
        waiting += [one for one in inner if one not in found]
    return list(found)


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "the schema or a command has changed: `make reference`"


@pytest.mark.parametrize("section", schemas(), ids=lambda section: section.__name__)
def test_every_key_and_every_section_says_what_it_means(section: type[Section]) -> None:
    silent = [key for key in section.model_fields if key not in DISCRIMINATORS and not described(section, key)]
    assert silent == []
    assert inspect.getdoc(section)


def test_each_command_of_a_module_is_named_where_it_is_loaded() -> None:
    defined = {name: set(get_group(import_module(f"mlops.cli.{name}").app).commands) for name in MODULES}
    assert defined == {name: set(names) for name, names in MODULES.items()}


EVERY_COMMAND = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", EVERY_COMMAND, ids=" ".join)
def test_every_command_has_an_example_that_it_understands(words: tuple[str, ...]) -> None:
    example = shlex.split(EVERY_COMMAND[words].epilog.removeprefix("Example: "))
    assert tuple(example[: len(words) + 1]) == ("r2d", *words)
    context = EVERY_COMMAND[words].make_context(words[-1], example[len(words) + 1 :])
    assert not context.args


def test_the_rules_for_a_triage_line_are_rules_of_every_kind_that_the_demo_can_be_asked() -> None:
    page = (ROOT / "docs" / "retraining.md").read_text(encoding="utf-8")
    _, _, chapter = page.partition("### Rules for a triage line")
    block = yaml.safe_load(chapter.partition("```yaml\n")[2].partition("```")[0])
    gate = GateConfig.model_validate(block["registration"]["gate"])
    demo = load_config(ROOT / "configs" / "demo.yaml")
    assert gate.faults(demo.data.labels, demo.method) == []
    kinds = {type(rule) for rule in gate.for_labels(demo.data.labels).rules}
    assert kinds == set(sections_in(Rule))
