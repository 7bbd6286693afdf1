"""The demo's LLM rationales as an LLM delivers them: raw batch output, out of order, with real faults.

The shares of the faults are made up; their kinds are those met in real batch files.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from r2d.config.data import SyntheticTriageConfig
from r2d.synthetic.generate import Call, draw_call
from r2d.synthetic.rationales import write_rationales
from r2d.synthetic.rule import DISPOSITIONS

MODEL = "invented-llm"
CREATED = 1_750_000_000

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
"""Kind of fault -> share of the answers that have it; an answer has at most one."""


INVENTED_LABELS = ("see a pharmacist", "urgent", "call back later", "level 3")


def write_llm_batch(config: SyntheticTriageConfig, folder: Path) -> tuple[Path, Path]:
    """Write `output.jsonl` and `errors.jsonl` for the calls of `generate_calls`, in the shape of an OpenAI batch.

    The same config gives the same bytes. One answer in 300 stands there twice, and three belong to no call.
    """
    answers: list[str] = []
    errors: list[str] = []
    for index in range(config.num_calls):
        line = _answer(config, draw_call(config, index), index)
        (errors if _failed(line) else answers).append(json.dumps(line, ensure_ascii=False))
    random = Random(f"{config.seed} order")
    answers += random.sample(answers, len(answers) // 300)
    stray = json.loads(answers[0])
    answers += [json.dumps(stray | {"custom_id": f"call-of-another-batch-{number}"}) for number in range(3)]
    random.shuffle(answers)
    folder.mkdir(parents=True, exist_ok=True)
    return _written(folder / "output.jsonl", answers), _written(folder / "errors.jsonl", errors)


def _answer(config: SyntheticTriageConfig, call: Call, index: int) -> dict[str, Any]:
    random = Random(f"{config.seed} llm {index}")
    fault = _drawn_fault(random)
    envelope = {"id": f"batch_req_{index:06d}", "custom_id": call.example.id, "response": None, "error": None}
    if fault == "expired":
        message = "This request could not be executed before the completion window expired."
        return envelope | {"error": {"code": "batch_expired", "message": message}}
    if fault == "failed":
        failure = {
            "error": {"message": "The server had an error.", "type": "server_error", "param": None, "code": None}
        }
        return envelope | {"response": {"status_code": 500, "request_id": f"req_{index:06d}", "body": failure}}
    content, stopped = _content(call, fault, random)
    refusal = "I cannot help with that." if fault == "refused" else None
    body: dict[str, Any] = {
        "id": f"chatcmpl-{index:06d}",
        "object": "chat.completion",
        "created": CREATED + index,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, "refusal": refusal},
                "finish_reason": "length" if stopped else "stop",
            }
        ],
    }
    return envelope | {"response": {"status_code": 200, "request_id": f"req_{index:06d}", "body": body}}


def _content(call: Call, fault: str, random: Random) -> tuple[str | None, bool]:
    """The text of an answer, and whether it was cut off at its token limit."""
    level, rationale = call.disposition, call.example.rationales["llm"]
    if fault == "other_level":
        place = DISPOSITIONS.index(level)
        level = random.choice([DISPOSITIONS[i] for i in (place - 1, place + 1) if 0 <= i < len(DISPOSITIONS)])
        rationale = write_rationales(call.facts, level, call.reasons, random)["llm"]
    whole = f"{rationale} So the answer is {level}."
    variants: dict[str, tuple[str | None, bool]] = {
        "refused": (None, False),
        "empty": (" \n", False),
        "truncated": (" ".join(rationale.split()[: random.randint(4, 9)]), True),
        "no_label": (rationale, False),
        "invented_label": (f"{rationale} So the answer is {random.choice(INVENTED_LABELS)}.", False),
        "reasoning": (f"<think>Red flags first. Then onset, age and vitals.</think>\n{whole}", False),
        "run_on": (f"{whole}\n\nNote: 33 yo with a sprained ankle.\nThe pain is mild and so the answer is", True),
        "odd_spelling": (f"{rationale} So the answer is **{level.upper()}**.", False),
    }
    return variants.get(fault, (whole, False))


def _drawn_fault(random: Random) -> str:
    left = random.random()
    for fault, share in FAULTS.items():
        left -= share
        if left < 0:
            return fault
    return ""


def _failed(line: dict[str, Any]) -> bool:
    return line["error"] is not None or line["response"]["status_code"] != 200


def _written(path: Path, lines: list[str]) -> Path:
    aside = path.with_name(path.name + ".partial")
    aside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    aside.replace(path)
    return path
