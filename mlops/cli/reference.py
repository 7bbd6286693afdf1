"""The page docs/reference.md: every key of a configuration by its schema, and every command by its own help.

`make reference` writes it anew; `tests/test_reference.py` holds the page against the code.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel

from mlops.cli.main import app
from r2d.config.jobs import DriftConfig, InferenceConfig, MonitorConfig, RetentionConfig, WatchConfig
from r2d.config.plan import PlanConfig
from r2d.config.run import RunConfig
from r2d.config.section import sections_in
from r2d.config.serving import ServingConfig

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference.md"
JOBS: dict[str, type[BaseModel]] = {
    "configs/batch_inference.yaml": InferenceConfig,
    "configs/drift.yaml": DriftConfig,
    "configs/monitor.yaml": MonitorConfig,
    "configs/plan.yaml": PlanConfig,
    "configs/retention.yaml": RetentionConfig,
    "configs/serve.yaml": ServingConfig,
    "configs/watch.yaml": WatchConfig,
}
UNITS = {
    "steps": "steps", "characters": "characters", "tokens": "tokens", "seconds": "seconds", "rows": "rows",
    "calls": "calls", "days": "days", "lines": "lines", "requests": "requests", "layers": "layers",
    "resamples": "samples", "retries": "tries", "fraction": "share", "share": "share",
    "coverage": "share", "risk": "share", "noise": "share", "divergence": "bits", "width": "digits", "edges": "words",
}  # fmt: skip
"""Last word of a key -> the unit of its number."""
DISCRIMINATORS = ("format", "rule")
LONGEST_DEFAULT = 120
HEAD = """\
# Reference

`make reference` writes this page from the schema and from the commands' own help: change those. The words are in the
[glossary](glossary.md), and the rules of the gate with examples in [retraining](retraining.md#rules-for-a-triage-line).

- [Keys of a run](#keys-of-a-run): what stands under `parameters: config:` of its YAML
- [Keys of other jobs](#keys-of-other-jobs): batch inference, drift, later labels, plan, retention, the service, watch
- [Commands](#commands)

## Keys of a run
A key with "must be given" has no default. "none" means that the key is left out, as `null` does.
"""
OTHER_JOBS = """
## Keys of other jobs
Each of these is a YAML of its own, whose keys stand under `parameters: config:` too."""


def reference() -> str:
    """The whole page."""
    lines = [HEAD, *_tables(RunConfig, "A run")]
    lines.append(OTHER_JOBS)
    for file, schema in JOBS.items():
        lines += _tables(schema, file)
    lines += ["", "## Commands", *_commands(typer.main.get_command(app))]
    return "\n".join(lines) + "\n"


def described(section: type[BaseModel], key: str) -> str | None:
    """What a key means: its docstring here or in a base, whose field this one may change; else that of the section that
    it holds; None where nothing is said."""
    for base in section.__mro__:
        if issubclass(base, BaseModel) and (text := _docstrings(base).get(key)):
            return text
    inner = list(sections_in(section.model_fields[key].annotation))
    return inspect.getdoc(inner[0]) if inner else None


@cache
def _docstrings(section: type[BaseModel]) -> dict[str, str]:
    """Key -> the docstring below it. Pydantic can find them too, but for every section at each start of a command."""
    body = ast.parse(dedent(inspect.getsource(section))).body[0].body  # type: ignore[attr-defined]
    return {
        ast.unparse(field.target): str(below.value.value)
        for field, below in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    }


def _tables(schema: type[BaseModel], title: str) -> Iterator[str]:
    """Heading and table of a schema, then of each section in it, once, where it first stands."""
    of_file = f" of {title}" if title in JOBS else ""
    waiting, titles = [(title, schema)], {schema: title}
    while waiting:
        title, section = waiting.pop(0)
        prefix = "" if section is schema else title.partition("`:")[0].partition("` of")[0].strip("`") + "."
        found = []
        for key, field in section.model_fields.items():
            several = list(sections_in(field.annotation))
            for inner in several:
                if inner not in titles:
                    titles[inner] = f"`{prefix}{key}`{_kinds(inner) if len(several) > 1 else ''}{of_file}"
                    found.append((titles[inner], inner))
        waiting = found + waiting
        yield from ("", f"### {title}", _one_line(inspect.getdoc(section) or ""), "")
        yield from ("| key | type | default | meaning |", "|---|---|---|---|")
        links = {inner.__name__: _link(titles[inner]) for inner in titles}
        properties = section.model_json_schema(by_alias=True)["properties"]
        for key, field in section.model_fields.items():
            value = properties[field.alias or key]
            unit = UNITS.get(key.split("_")[-1], "")
            cells = (
                f"`{field.alias or key}`",
                _type(value, links) + (f", in {unit}" if unit and "number" in _type(value, links) else ""),
                "must be given" if field.is_required() else _default(value.get("default")),
                _one_line(described(section, key) or "Says which of these sections it is."),
            )
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _kinds(section: type[BaseModel]) -> str:
    """What a section is called where several kinds may stand in one place: `: format text, messages`."""
    key = next((key for key in DISCRIMINATORS if key in section.model_fields), None)
    annotation = None if key is None else section.model_fields[key].annotation
    return "" if get_origin(annotation) is not Literal else f": {key} {', '.join(get_args(annotation))}"


def _link(title: str) -> str:
    anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
    return f"[{title}](#{anchor})"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _type(value: Mapping[str, Any], links: Mapping[str, str]) -> str:
    """A JSON schema in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return links.get(name, "section")
    if several := value.get("anyOf") or value.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(one, links) for one in several))
    if "enum" in value or "const" in value:
        return ", ".join(f"`{one}`" for one in value.get("enum", [value.get("const")]))
    kind = value.get("type")
    if kind == "array":
        return f"list of {_type(value.get('items', {}), links)}"
    if kind == "object":
        return f"mapping of names to {_type(value.get('additionalProperties', {}), links)}"
    if kind in ("integer", "number"):
        bounds = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
        words = [f"{word} {value[bound]:g}" for bound, word in bounds.items() if bound in value]
        return " ".join(["whole number" if kind == "integer" else "number", *words])
    return {"string": "text", "boolean": "`true` or `false`", "null": "none"}.get(str(kind), "any value")


def _default(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict) and value:
        return "its defaults"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if len(text) <= LONGEST_DEFAULT else f"the {len(value)} shipped ones"


# --- commands ---


def _commands(group: Any, words: str = "r2d") -> Iterator[str]:
    """Each command: what it does, its example, its arguments and options."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{words} {name}")
            continue
        yield from ("", f"### {words} {name}", inspect.cleandoc(command.help or ""), "")
        yield from ("```bash", (command.epilog or "").removeprefix("Example: "), "```", "")
        yield from ("| argument | default | meaning |", "|---|---|---|")
        for parameter in command.params:
            names = ", ".join(
                f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-")
            )
            is_flag, default = getattr(parameter, "is_flag", False), parameter.default
            shown = "must be given" if parameter.required else "none" if default is None else f"`{default}`"
            cells = (
                names or f"`{parameter.name.upper()}`",
                "off" if is_flag and not default else shown,
                parameter.help,
            )
            yield "| " + " | ".join(_one_line(str(cell)).replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
