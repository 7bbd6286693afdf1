"""Reviews as files that a training run reads, and cases as tasks of Label Studio.

| file | what reads it |
|---|---|
| `reviewed.csv` | `data.reviewed`: labels, one row a case and reviewer |
| `nurse.csv` | a rationale source of format `csv`: rationales that reviewers wrote |
| `nurse_post_processed.csv` | the same, edited from the model's; `edits` points into `model.csv` |
| `model.csv` | the same: the model's rationales that were edited or accepted, and that nobody flagged as unsafe |
| `reviews.jsonl` | anything: every verdict with its events, those that were taken back too |
| `agreement.json` | people: kappa of each pair of reviewers, and of each and the model, with its interval |
| `tasks.json` | Label Studio's import, without the model's answers |

A cell of a CSV that a spreadsheet would take for a formula has an apostrophe before it (`r2d.text.no_formula`), which
the readers take away.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from r2d.files import partial_file, write_json
from r2d.review.agreement import agreements
from r2d.review.store import Case, Event, ReviewStore
from r2d.review.verdicts import Verdict, verdicts_of
from r2d.text import no_formula

WRITTEN, EDITED, MODELS = "nurse", "nurse_post_processed", "model"
"""Rationale sources; the file of each has its name."""

LABELING_CONFIG = """\
<View>
  <Text name="text" value="$text"/>
  <Choices name="label" toName="text" choice="single" required="true">
{choices}
  </Choices>
  <TextArea name="rationale" toName="text" rows="4" editable="true" maxSubmissions="1"/>
</View>
"""


class ReviewedRow(NamedTuple):
    """The cells of a row of `reviewed.csv`, by column."""

    id: str
    text: str
    label: str | None
    author: str
    time: str
    outcome: str
    blind_label: str | None
    model_label: str | None
    model: str
    unsafe: str
    """Why it was flagged, `yes` without a reason; empty where it was not flagged."""

    @classmethod
    def of(cls, case: Case, verdict: Verdict) -> ReviewedRow:
        unsafe = "" if verdict.unsafe is None else verdict.unsafe or "yes"
        return cls(
            case.case_id, case.text, verdict.label, verdict.reviewer, verdict.at, verdict.outcome, verdict.blind_label,
            case.answer["label"], case.model, unsafe,
        )  # fmt: skip


class RationaleRow(NamedTuple):
    """The cells of a row of a rationale source, by column."""

    example_id: str
    text: str
    rationale: str | None
    id: str
    edits: str
    """Id of the model's rationale that this one was made of; empty where there is none."""
    label: str | None
    author: str
    time: str

    @classmethod
    def written(cls, case: Case, verdict: Verdict, *, edits: str) -> RationaleRow:
        """The rationale of a reviewer."""
        who = hashlib.sha256(verdict.reviewer.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return cls(
            case.case_id, case.text, verdict.rationale, f"review-{case.number}-{who}", edits, verdict.label,
            verdict.reviewer, verdict.at,
        )  # fmt: skip

    @classmethod
    def of_model(cls, case: Case) -> RationaleRow:
        """The rationale of the model."""
        label, rationale = case.answer["label"], case.answer["rationale"]
        return cls(case.case_id, case.text, rationale, _model_id(case), "", label, case.model, "")


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    folder: Path
    num_reviewed: int
    """Rows of `reviewed.csv`."""
    num_disagreements: int
    """Cases to which reviewers gave different labels."""
    num_erased: int
    """Cases whose people were forgotten; they are in none of the files."""
    sources: Mapping[str, int]
    """Rationale source -> rows of its file."""

    def config(self) -> dict[str, Any]:
        """Keys of a run configuration that read the files."""
        columns = {f"{name}_column": name for name in RationaleRow._fields if name not in ("example_id", "rationale")}
        sources = {
            name: {"format": "csv", "paths": [str(self.folder / f"{name}.csv")], **columns}
            for name, count in self.sources.items()
            if count
        }
        return {"data": {"reviewed": str(self.folder / "reviewed.csv")}, "rationales": {"sources": sources}}


def export_reviews(store: ReviewStore, folder: Path) -> Exported:
    """Write the files of the table above into a folder; files of an earlier export are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = {case.number: case for case in store.cases()}
    events = store.events()
    standing = verdicts_of(events)
    verdicts = sorted(standing.values(), key=lambda verdict: (verdict.number, verdict.reviewer))
    judged = [verdict for verdict in verdicts if verdict.is_done and verdict.label is not None]
    unsafe = {verdict.number for verdict in verdicts if verdict.unsafe is not None}
    rationales: dict[str, list[RationaleRow]] = {WRITTEN: [], EDITED: [], MODELS: []}
    for verdict in judged:
        case = cases[verdict.number]
        if verdict.rationale:
            edits = _model_id(case) if verdict.edits_the_model and verdict.number not in unsafe else ""
            name = EDITED if verdict.edits_the_model else WRITTEN
            rationales[name].append(RationaleRow.written(case, verdict, edits=edits))
    of_model = {v.number for v in judged if v.outcome == "accepted" or v.edits_the_model} - unsafe
    explained = [cases[number] for number in sorted(of_model) if cases[number].answer["rationale"]]
    rationales[MODELS] = [RationaleRow.of_model(case) for case in explained]
    _write_csv(folder / "reviewed.csv", ReviewedRow._fields, [ReviewedRow.of(cases[v.number], v) for v in judged])
    for name, rows in rationales.items():
        _write_csv(folder / f"{name}.csv", RationaleRow._fields, rows)
    events_of: dict[tuple[str, int], list[Event]] = {}
    for event in events:
        events_of.setdefault((event.reviewer, event.number), []).append(event)
    with partial_file(folder / "reviews.jsonl") as aside, aside.open("w", encoding="utf-8") as file:
        for verdict in verdicts:
            own = [asdict(event) for event in events_of[verdict.reviewer, verdict.number]]
            line = asdict(verdict) | {"case": asdict(cases[verdict.number]), "events": own}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    found = agreements(list(cases.values()), standing)
    write_json(folder / "agreement.json", [asdict(agreement) for agreement in found])
    tasks = [{"data": {"id": case.case_id, "text": case.text}} for case in cases.values()]
    write_json(folder / "tasks.json", tasks)
    labels = Counter(number for number, _ in {(verdict.number, verdict.label) for verdict in judged})
    return Exported(
        folder,
        len(judged),
        sum(count > 1 for count in labels.values()),
        store.num_erased,
        {name: len(rows) for name, rows in rationales.items()},
    )


def labeling_config(labels: Iterable[str]) -> str:
    """The labeling interface of a Label Studio project for these tasks."""
    from xml.sax.saxutils import quoteattr  # nosec B406 # it escapes, and parses nothing

    return LABELING_CONFIG.format(choices="\n".join(f"    <Choice value={quoteattr(label)}/>" for label in labels))


def _model_id(case: Case) -> str:
    return f"model-{case.number}"


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str | None]]) -> None:
    with partial_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([no_formula(cell or "") for cell in row] for row in rows)
