"""The demo's LLM rationales as raw output of an LLM batch: out of order, with the kinds of faults of real batch files.

The shares of the faults are invented.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from r2d.config.data import SyntheticTriageConfig
from r2d.files import write_text
from r2d.synthetic.calls import Call, generate_call
from r2d.synthetic.facts import neighbour
from r2d.synthetic.wording import write_rationales

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
    """Write `output.jsonl` and `errors.jsonl` for the calls of `generate_calls`, in the format of an OpenAI batch.

    The same config gives the same bytes. One answer in 300 appears twice, and three belong to no call.
    """
    answers: list[str] = []
    errors: list[str] = []
    for index in range(config.num_calls):
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
    output_path, errors_path = folder / "output.jsonl", folder / "errors.jsonl"
    write_text(output_path, "".join(f"{line}\n" for line in answers))
    write_text(errors_path, "".join(f"{line}\n" for line in errors))
    return output_path, errors_path


def _batch_line(call: Call, index: int, fault: str, random: Random) -> str:
    """The JSON line of a request: its answer, or its failure."""
    level, rationale = call.disposition, call.rationales["llm"]
    if fault == "other_level":
        level = neighbour(level, random)
        rationale = write_rationales(call.facts, level, call.reasons, random)["llm"]
    whole = f"{rationale} So the answer is {level}."
    content: str | None = {
        "empty": " \n",
        "truncated": " ".join(rationale.split()[: random.randint(4, 9)]),
        "no_label": rationale,
        "invented_label": f"{rationale} So the answer is {random.choice(INVENTED_LABELS)}.",
        "reasoning": f"<think>Red flags first. Then onset, age and vitals.</think>\n{whole}",
        "run_on": f"{whole}\n\nNote: 33 yo with a sprained ankle.\nThe pain is mild and so the answer is",
        "odd_spelling": f"{rationale} So the answer is **{level.upper()}**.",
    }.get(fault, whole)
    message = {"role": "assistant", "content": content, "refusal": None}
    if fault == "refused":
        message |= {"content": None, "refusal": "I cannot help with that."}
    finish_reason = "length" if fault in ("truncated", "run_on") else "stop"
    body: dict[str, object] = {
        "id": f"chatcmpl-{index:06d}",
        "object": "chat.completion",
        "created": CREATED + index,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
    }
    if fault == "failed":
        failure = {"message": "The server had an error.", "type": "server_error", "param": None, "code": None}
        body = {"error": failure}
    status_code = 500 if fault == "failed" else 200
    response = {"status_code": status_code, "request_id": f"req_{index:06d}", "body": body}
    expired = "This request could not be executed before the completion window expired."
    line = {
        "id": f"batch_req_{index:06d}",
        "custom_id": call.id,
        "response": None if fault == "expired" else response,
        "error": {"code": "batch_expired", "message": expired} if fault == "expired" else None,
    }
    return json.dumps(line, ensure_ascii=False)
