"""Whoever reads a message on the screen finds its entry in the runbook by the words: each quotes what the code says."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUNBOOK = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
INCIDENTS = dict(re.findall(r"^\*\*(\d+)\. (.*?)(?=^\*\*\d+\. |^## )", RUNBOOK, flags=re.MULTILINE | re.DOTALL))
TABLE = RUNBOOK.split("## Other messages")[1]
NOT_OURS = (
    "Connection refused",
    "Read timed out",
    "No space left on device",
    "Read-only file system",
    "Permission denied",
)
"""What the system or a library says."""
COMMAND = r"\S*(r2d|zenml|kubectl|curl|du|df) |\S+$"
"""Begins a command, or is a single word: a file, an option, an artifact."""
FILLED_IN = (
    r"\bnan\b|\bCtrl-C\b|\bSIGTERM\b|\bhttp_\d+|\btrain_stage\d|\.\.\.|`|"
    r"\b(?:N|M|X|Y|URL|FILE|FOLDER|HOST|TIME|NAME(?:/\d)?|version \d)(?![\w.])"
)
"""What stands in the runbook in place of a value."""


@cache
def messages() -> str:
    """Every text of our code, one a line; `{}` for what is filled in."""
    texts = []
    for package in ("r2d", "steps", "pipelines", "mlops"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values]
                    texts.append("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(re.sub(r"%[sd]", "{}", node.value))
    return "\n".join(" ".join(text.split()) for text in texts)


def missing(quote: str) -> list[str]:
    """The words of a quote that no message has, between the values that are filled in."""
    if any(words in quote for words in NOT_OURS):
        return []
    pieces = [piece.strip(" ()/:,;") for piece in re.split(FILLED_IN, " ".join(quote.split()))]
    return [piece for piece in pieces if len(piece) > 2 and piece not in messages()]


def test_there_are_ten_incidents() -> None:
    assert list(INCIDENTS) == [str(number) for number in range(1, 11)]


@pytest.mark.parametrize("number", INCIDENTS)
def test_an_incident_is_found_by_the_words_that_the_screen_shows(number: str) -> None:
    """Of its first paragraph, of what else is seen, and of the recovery."""
    paragraphs = re.split(r"\n- ", INCIDENTS[number])
    shown = [paragraphs[0], *(text for text in paragraphs[1:] if text.startswith(("You see", "Recovery")))]
    quotes = [quote for text in shown for quote in re.findall(r"`([^`]+)`", text) if not re.match(COMMAND, quote)]
    assert {quote: missing(quote) for quote in quotes if missing(quote)} == {}
    assert quotes or number == "4", "a quality drop is seen on the ward"


def test_every_other_message_is_found_by_the_words_that_the_screen_shows() -> None:
    cells = re.findall(r"^\| (.+?) \|", TABLE, flags=re.MULTILINE)
    quotes = [quote for cell in cells for quote in re.findall(r"`([^`]+)`", cell) if not re.match(COMMAND, quote)]
    assert len(quotes) > 10
    assert {quote: missing(quote) for quote in quotes if missing(quote)} == {}
