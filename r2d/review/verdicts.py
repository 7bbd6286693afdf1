"""Where each reviewer stands with each case: the events, folded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from hashlib import blake2b
from typing import Literal

from r2d.config.rationales import QualityConfig
from r2d.rationales.wording import is_refusal
from r2d.review.store import Case, Event

FEWEST_CHARACTERS = QualityConfig().min_characters
"""Of a rationale from which a model learns, unless a run says otherwise."""


@dataclass(frozen=True)
class Verdict:
    """What one reviewer says of one case, as it stands."""

    reviewer: str
    number: int
    """Of the case."""
    outcome: Literal["open", "accepted", "corrected", "declined"] = "open"
    label: str | None = None
    """The reviewer's: given blind at first, then the one accepted or corrected to."""
    blind_label: str | None = None
    """The first label that was given before the model's answer was shown; one that was taken back counts."""
    rationale: str | None = None
    """What the reviewer wrote, or edited."""
    edits_the_model: bool = False
    """Whether the rationale is an edited form of the model's."""
    unsafe: str | None = None
    """Why the answer was flagged as unsafe; empty where no reason was given, None where it was not flagged."""
    skipped: int | None = None
    """Ordinal of the event that last skipped it."""
    sees_model: bool = False
    """Whether the model's answer was shown: a label that is given now is no blind one."""
    at: str = ""
    """When the last event happened that stands."""
    ordinal: int = 0
    """Of that event."""

    @property
    def is_done(self) -> bool:
        return self.outcome != "open"


def verdicts_of(events: Iterable[Event]) -> dict[tuple[str, int], Verdict]:
    """(reviewer, number of the case) -> the verdict; cases that a reviewer did nothing with have none."""
    events = sorted(events, key=lambda event: (event.reviewer, event.ordinal))
    undone = _undone(events)
    verdicts: dict[tuple[str, int], Verdict] = {}
    for event in events:
        if event.kind == "erased":
            continue
        key = (event.reviewer, event.number)
        before = verdicts.get(key) or Verdict(event.reviewer, event.number)
        if event.kind == "label" and before.blind_label is None and not before.sees_model:
            before = replace(before, blind_label=event.value["label"])
        if event.kind in ("label", "accept", "correct"):
            before = replace(before, sees_model=True)
        stands = event.kind != "undo" and (event.reviewer, event.ordinal) not in undone
        verdicts[key] = _after(before, event) if stands else before
    return verdicts


def _undone(events: Iterable[Event]) -> set[tuple[str, int]]:
    """(reviewer, ordinal) of the events that were taken back."""
    return {(event.reviewer, event.value["undone"]) for event in events if event.kind == "undo"}


def _after(verdict: Verdict, event: Event) -> Verdict:
    """The verdict with one more event."""
    value, kind = event.value, event.kind
    verdict = replace(verdict, at=event.at, ordinal=event.ordinal)
    match kind:
        case "label":
            return replace(verdict, label=value["label"], skipped=None)
        case "accept":
            return replace(verdict, outcome="accepted", label=value["label"])
        case "correct":
            rationale, edits = value.get("rationale"), bool(value.get("edits_the_model"))
            return replace(
                verdict, outcome="corrected", label=value["label"], rationale=rationale, edits_the_model=edits
            )
        case "decline":
            return replace(verdict, outcome="declined", label=None)
        case "unsafe":
            return replace(verdict, unsafe=value.get("reason") or "")
        case _:
            return replace(verdict, skipped=event.ordinal)


def is_learnable(rationale: str) -> bool:
    """Whether a training run takes a rationale, by the checks that it makes unless it is told otherwise; an empty one
    is none, and no fault."""
    return not rationale or (len(rationale) >= FEWEST_CHARACTERS and not is_refusal(rationale))


def is_edit_of(text: str, original: str) -> bool:
    """Whether a text keeps, in their order, half of the words of the original, or has half of its words from it."""
    before, words = (re.findall(r"\w+", one.casefold()) for one in (original, text))
    kept = sum(match.size for match in SequenceMatcher(None, before, words, autojunk=False).get_matching_blocks())
    return kept > 0 and kept * 2 >= min(len(words), len(before))


def last_standing(events: Sequence[Event], reviewer: str) -> Event | None:
    """The event that `undo` takes back: the last of the reviewer that is not taken back yet."""
    own = [event for event in events if event.reviewer == reviewer]
    undone = _undone(own)
    standing = [
        event for event in own if event.kind not in ("undo", "erased") and (reviewer, event.ordinal) not in undone
    ]
    return max(standing, key=lambda event: event.ordinal, default=None)


def correction_taken_back(events: Iterable[Event], reviewer: str, number: int) -> Event | None:
    """The correction of a case that its reviewer took back, to go on from; None where the last answer is no such."""
    own = sorted((e for e in events if (e.reviewer, e.number) == (reviewer, number)), key=lambda event: event.ordinal)
    answers = [event for event in own if event.kind in ("accept", "correct", "decline")]
    if not answers or answers[-1].kind != "correct" or (reviewer, answers[-1].ordinal) not in _undone(own):
        return None
    return answers[-1]


def waiting_for(reviewer: str, cases: Sequence[Case], verdicts: Mapping[tuple[str, int], Verdict]) -> list[Case]:
    """The cases that a reviewer has still to do: what was begun, what is for everyone, the others, what was skipped.

    One of the others that another reviewer has done is not shown again. They come to each reviewer in an order of the
    reviewer's own, and those that somebody has begun come last, so that two who work at once seldom do the same.
    """
    others = [verdict for (who, _), verdict in verdicts.items() if who != reviewer]
    done_by_others = {verdict.number for verdict in others if verdict.is_done}
    begun_by_others = {verdict.number for verdict in others if verdict.label is not None}

    def place(case: Case) -> tuple[int, int]:
        verdict = verdicts.get((reviewer, case.number))
        if verdict is not None:
            return (4, verdict.skipped) if verdict.skipped is not None else (0, case.number)
        if case.for_everyone:
            return 1, case.number
        drawn = blake2b(f"{case.number}:{reviewer}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return 3 if case.number in begun_by_others else 2, int.from_bytes(drawn)

    waiting = [
        case
        for case in cases
        if not ((verdict := verdicts.get((reviewer, case.number))) and verdict.is_done)
        and (case.for_everyone or case.number not in done_by_others)
    ]
    return sorted(waiting, key=place)
