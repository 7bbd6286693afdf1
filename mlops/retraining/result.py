"""What `r2d retrain` leaves: the decision, and what came of the run, as files for people and machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops.retraining.triggers import RetrainingDecision
from r2d.errors import DataError


@dataclass(frozen=True)
class RetrainingResult:
    """The decision, and what was registered where it trained."""

    decision: RetrainingDecision
    registration: Mapping[str, Any] | None = None
    """What the registration step leaves; None where nothing was trained."""
    pages: Mapping[str, str] = field(default_factory=dict)
    """File name -> HTML."""

    def lines(self) -> list[str]:
        """All of it as plain text."""
        made = self.registration
        if made is None:
            return self.decision.lines()
        return [
            *self.decision.lines(),
            f"{made['name']} version {made['version']} ({'new' if made['is_new'] else 'registered before'}), "
            f"compared with {made['compared_with']}",
            *(f"  gate: {reason}" for reason in made["gate_reasons"]),
            f"  so: {made['what_follows']}",
        ]

    def markdown(self) -> str:
        """The same for the summary of a job and a comment."""
        head, *facts = self.decision.lines()
        text = [f"### Retraining: {_plain(head)}", "", "| fact | then | now | finding |", "|---|---|---|---|"]
        for one in self.decision.compared:
            text.append("| " + " | ".join(_plain(cell) for cell in (one.name, one.then, one.now, one.finding)) + " |")
        made = [_plain(line.strip()) for line in self.lines()[1 + len(facts) :]]
        return "\n".join([*text, "", *(f"- {line}" for line in made)]) + "\n"


def write_result(result: RetrainingResult, out: Path | None) -> None:
    """`summary.md`, the pages and, last, `decision.json`, each aside and renamed; nothing where no folder is given."""
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    facts = result.decision.as_facts() | {"registration": result.registration}
    files = {
        **result.pages,
        "summary.md": result.markdown(),
        "decision.json": json.dumps(facts, indent=2, ensure_ascii=False) + "\n",
    }
    for name, text in files.items():
        aside = out / f"{name}.partial"
        aside.write_text(text, encoding="utf-8")
        aside.replace(out / name)


def read_drift(path: str | None) -> dict[str, Any] | None:
    """The facts of a `drift.json`; None where none is named.

    Raises:
        DataError: the file is missing or is no drift report.
    """
    if path is None:
        return None
    fix = "give a drift.json that `r2d drift` wrote, or remove retraining.drift"
    try:
        facts = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"retraining.drift: {path} cannot be read ({error.strerror}); {fix}") from None
    except ValueError:
        raise DataError(f"retraining.drift: {path} is no JSON; {fix}") from None
    keys = ("drifted", "reasons", "model")
    if not isinstance(facts, dict) or any(key not in facts for key in keys) or "hash" not in facts["model"]:
        raise DataError(f"retraining.drift: {path} has not the keys {', '.join(keys)}; {fix}")
    return facts


def _plain(text: str) -> str:
    """Text that Markdown and GitHub take as it is: no table cell, mention or tag begins in it."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("@", "@\u200b")
