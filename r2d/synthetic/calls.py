"""Invented calls: from a configuration to rows with notes, labels and rationales, or to the raw output of an LLM batch.

Labels follow from the text by a readable rule (`facts.decide`), and keywords alone do not settle them: a finding is a
warning in one complaint and harmless in another, and is denied about as often as it is asserted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from r2d.config.data import SyntheticTriageConfig
from r2d.files import write_text
from r2d.synthetic.facts import Facts, Reason, age_band, decide, facts_of, neighbour, patient_of
from r2d.synthetic.vocabulary import FAMILIES
from r2d.synthetic.wording import add_typos, write_note, write_rationales

FAULTS = {
    "failed": 0.006,
    "expired": 0.004,
    "refused": 0.003,
    "empty": 0.004,
    "truncated": 0.008,
    "no_label": 0.006,
    "invented_label": 0.006,
    "other_level": 0.03,
    "reasoning": 0.1,
    "run_on": 0.1,
    "odd_spelling": 0.05,
}
"""Kind of fault -> share (invented) of the answers of a batch that have it; an answer has at most one."""
INVENTED_LABELS = ("see a pharmacist", "urgent", "call back later", "level 3")
SITES = {"North": 40, "South": 30, "Harbour": 20, "Hills": 10}
"""Invented site -> weight. Sites and times are drawn apart from all else: differences by them are chance."""
SITE_MISSING = 0.02
FIRST_DAY, FIRST_TEST_DAY, NUM_DAYS = datetime(2024, 1, 1), datetime(2025, 1, 1), 365
"""Fresh test calls came in the year after the others."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call, and what a reader of the note is not told: its facts, and what the rule decides about them."""

    id: str
    text: str
    label: str
    group: str  # the caller
    attributes: Mapping[str, str]  # `age_band`, `sex`, `family` and, in most calls, `site`: the same for a caller
    time: datetime
    rationales: Mapping[str, str]
    """Source (`llm`, `nurse`, `nurse_post_processed`) -> text. They argue for `disposition`."""
    facts: Facts
    disposition: str  # what the rule says; `label` is a neighbour of it in some calls
    reasons: Sequence[Reason]
    is_test: bool = False  # one of `num_test_calls`


def generate_calls(config: SyntheticTriageConfig) -> list[Call]:
    """`num_calls` calls, the same for the same seed, and `num_test_calls` fresh ones of other callers; call i of either
    kind does not depend on their number."""
    return [generate_call(config, index) for index in range(config.num_calls + config.num_test_calls)]


def generate_call(config: SyntheticTriageConfig, index: int) -> Call:
    """Call `index`; from `num_calls` on, a test call. With probability `label_noise` its label is a neighbour of the
    disposition."""
    is_test = index >= config.num_calls
    seed, number, prefix = _place(config, index)
    facts = facts_of(seed, number)
    disposition, reasons = decide(facts)
    random = Random(f"{seed} words {number}")
    text = add_typos(write_note(facts, random), random)
    rationales = write_rationales(facts, disposition, reasons, random)
    random = Random(f"{seed} label {number}")
    label = neighbour(disposition, random) if random.random() < config.label_noise else disposition
    caller, random = patient_of(seed, number).caller, Random(f"{seed} time {number}")
    minutes = random.randrange(NUM_DAYS * 24 * 60)
    attributes = {
        "age_band": age_band(facts.age_months),
        "sex": facts.sex,
        "family": FAMILIES[facts.family].names[0],
    }
    if random.random() >= SITE_MISSING:
        attributes["site"] = Random(f"{seed} site {caller}").choices(list(SITES), list(SITES.values()))[0]
    return Call(
        id=_id(prefix, number),
        text=text,
        label=label,
        group=f"{prefix}{caller}",
        attributes=attributes,
        time=(FIRST_TEST_DAY if is_test else FIRST_DAY) + timedelta(minutes=minutes),
        rationales=rationales,
        facts=facts,
        disposition=disposition,
        reasons=reasons,
        is_test=is_test,
    )


def _place(config: SyntheticTriageConfig, index: int) -> tuple[int | str, int, str]:
    """Seed of a call, its number among those of this seed, and what its id and caller begin with."""
    if index < config.num_calls:
        return config.seed, index, ""
    return f"{config.seed} test", index - config.num_calls, "test-"


def _id(prefix: str, number: int) -> str:
    return f"{prefix}call-{number:06d}"


def rule_labels(config: SyntheticTriageConfig) -> dict[str, str]:
    """Id of each call -> what the rule says about its facts. A perfect reader would say so: `label` is right by chance
    where it differs."""
    places = (_place(config, index) for index in range(config.num_calls + config.num_test_calls))
    return {_id(prefix, number): decide(facts_of(seed, number))[0] for seed, number, prefix in places}


def write_llm_batch(config: SyntheticTriageConfig, folder: Path) -> tuple[Path, Path]:
    """Write `output.jsonl` and `errors.jsonl` for the calls of `generate_calls`, in the format of an OpenAI batch.

    The same config gives the same bytes, out of order and with the faults of real batch files: one answer in 300
    appears twice, three belong to no call, and `FAULTS`.
    """
    answers: list[str] = []
    errors: list[str] = []
    for index in range(config.num_calls + config.num_test_calls):
        random = Random(f"{config.seed} llm {index}")
        remaining = random.random()
        fault = ""
        for kind, share in FAULTS.items():
            remaining -= share
            if remaining < 0:
                fault = kind
                break
        line = _batch_line(generate_call(config, index), index, fault, random)
        (errors if fault in ("failed", "expired") else answers).append(line)
    random = Random(f"{config.seed} order")
    answers += random.sample(answers, len(answers) // 300)
    stray = json.loads(answers[0])
    answers += [json.dumps(stray | {"custom_id": f"call-of-another-batch-{number}"}) for number in range(3)]
    random.shuffle(answers)
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "output.jsonl", folder / "errors.jsonl"
    for path, lines in zip(paths, (answers, errors), strict=True):
        write_text(path, "".join(f"{line}\n" for line in lines))
    return paths


def _batch_line(call: Call, index: int, fault: str, random: Random) -> str:
    """The JSON line of a request: its answer, or its failure."""
    level, rationale = call.disposition, call.rationales["llm"]
    if fault == "other_level":
        level = neighbour(level, random)
        rationale = write_rationales(call.facts, level, call.reasons, random)["llm"]
    whole = f"{rationale} So the answer is {level}."
    contents = {
        "empty": " \n",
        "truncated": " ".join(rationale.split()[: random.randint(4, 9)]),
        "no_label": rationale,
        "invented_label": f"{rationale} So the answer is {random.choice(INVENTED_LABELS)}.",
        "reasoning": f"<think>Red flags first. Then onset, age and vitals.</think>\n{whole}",
        "run_on": f"{whole}\n\nNote: 33 yo with a sprained ankle.\nThe pain is mild and so the answer is",
        "odd_spelling": f"{rationale} So the answer is **{level.upper()}**.",
    }
    is_refused = fault == "refused"
    message = {
        "role": "assistant",
        "content": None if is_refused else contents.get(fault, whole),
        "refusal": "I cannot help with that." if is_refused else None,
    }
    finish_reason = "length" if fault in ("truncated", "run_on") else "stop"
    body: dict[str, object] = {
        "id": f"chatcmpl-{index:06d}",
        "object": "chat.completion",
        "created": 1_750_000_000 + index,
        "model": "invented-llm",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
    }
    if fault == "failed":
        failure = {"message": "The server had an error.", "type": "server_error", "param": None, "code": None}
        body = {"error": failure}
    response = {"status_code": 500 if fault == "failed" else 200, "request_id": f"req_{index:06d}", "body": body}
    expired = "This request could not be executed before the completion window expired."
    line = {
        "id": f"batch_req_{index:06d}",
        "custom_id": call.id,
        "response": None if fault == "expired" else response,
        "error": {"code": "batch_expired", "message": expired} if fault == "expired" else None,
    }
    return json.dumps(line, ensure_ascii=False)
