"""The prompt: a YAML file of two Jinja templates, known by the hash of its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from r2d.errors import ConfigError

if TYPE_CHECKING:
    from jinja2 import Template

PARTS = ("system", "user")
VARIABLES = ("text", "label", "labels", "examples")
"""What a template may use: the note, its gold label, all labels, and solved examples (each text, label, rationale)."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The two templates of a prompt file."""

    path: Path
    hash: str
    """SHA-256 of the file's bytes, in hexadecimal."""
    variables: frozenset[str]
    """Which of `VARIABLES` the templates use; with `label` in it, the model is told the gold label."""
    templates: Mapping[str, Template]

    def messages(
        self, row: str, *, text: str, label: str, labels: Sequence[str], examples: Sequence[Mapping[str, str]]
    ) -> list[dict[str, str]]:
        """The chat messages for one note. A system message that comes out empty is left out: some models know none.

        Args:
            row: id of the example, for messages of errors only.

        Raises:
            ConfigError: a template fails on this row, or gives no user message.
        """
        values = {"text": text, "label": label, "labels": list(labels), "examples": [dict(one) for one in examples]}
        parts = {part: self._render(part, row, values) for part in PARTS}
        if not parts["user"]:
            raise ConfigError(f"{self.path}: user comes out empty for example {row}; it has to ask something")
        return [{"role": part, "content": content} for part, content in parts.items() if content]

    def _render(self, part: str, row: str, values: Mapping[str, Any]) -> str:
        try:
            return self.templates[part].render(values).strip()
        except Exception as error:  # a template can raise anything, and what it says may quote the note
            raise ConfigError(
                f"{self.path}: {part}, line {_template_line(error)} of the template, fails for example {row} with "
                f"{type(error).__name__}. Allowed are {', '.join(VARIABLES)}; examples have text, label, rationale"
            ) from None


def load_prompt(path: Path) -> Prompt:
    """Read and check a prompt file; its templates run in a sandbox, and see nothing but `VARIABLES`.

    Raises:
        ConfigError: the file is missing, is no YAML, lacks a part, has another key, or a template is faulty.
    """
    from jinja2 import StrictUndefined, TemplateSyntaxError
    from jinja2.meta import find_undeclared_variables
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    content, values = _read(path)
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    templates, used = {}, set[str]()
    for part in PARTS:
        try:
            used |= find_undeclared_variables(environment.parse(values[part]))
            templates[part] = environment.from_string(values[part])
        except TemplateSyntaxError as error:
            raise ConfigError(
                f"{path}: {part}, line {error.lineno} of the template is no Jinja: {error.message}"
            ) from None
    if unknown := sorted(used - set(VARIABLES)):
        raise ConfigError(f"{path}: unknown variables {', '.join(unknown)}; allowed are {', '.join(VARIABLES)}")
    if "text" not in used:
        raise ConfigError(f"{path}: neither template uses text; the model would never see the note. Add {{{{ text }}}}")
    return Prompt(path, hashlib.sha256(content).hexdigest(), frozenset(used), templates)


def _read(path: Path) -> tuple[bytes, dict[str, str]]:
    try:
        content = path.read_bytes()
        values = yaml.safe_load(content.decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: this prompt file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: this prompt file is not UTF-8; save it as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{path}: this prompt file is no YAML{where}; it needs the keys system and user") from None
    found = sorted(map(str, values)) if isinstance(values, dict) else []
    if found != sorted(PARTS) or not all(isinstance(text, str) for text in values.values()):
        raise ConfigError(
            f"{path}: a prompt file has exactly the keys system and user, each a text; found "
            f'{", ".join(found) or type(values).__name__}. Write `system: ""` for a model without one'
        )
    return content, values


def _template_line(error: BaseException) -> int | str:
    """Line within the template; Jinja rewrites the traceback to point there."""
    line: int | str = "?"
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
