"""What the tests of the judge share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from r2d.config.evaluation import IntervalsConfig, JudgeConfig
from r2d.evaluation.judge.judge import Judgement, judge_rationales
from r2d.evaluation.judge.questions import JudgedRow
from r2d.evaluation.judge.rubric import load_rubric
from tests.llm.server import RunningServer

SHIPPED = Path(__file__).resolve().parents[3] / "configs" / "rubrics" / "rationale.yaml"
QUICK = IntervalsConfig(num_resamples=1_000)


def judged_rows(num_rows: int) -> list[JudgedRow]:
    """Rows whose notes carry their id as the marker that the test server reads; two of a group."""
    return [
        JudgedRow(
            id=f"e{number:03d}",
            note=f"SECRET-NOTE {number} <<e{number:03d}>>",
            decision="self care",
            rationale=f"because of {number}",
            reference=f"REFERENCE-{number}",
            group=f"g{number // 2}",
        )
        for number in range(num_rows)
    ]


def answer(**scores: Any) -> str:
    """What a judge writes."""
    return json.dumps({name: {"why": "so it is", "score": score} for name, score in scores.items()})


def criterion(name: str, **changes: Any) -> dict[str, Any]:
    anchors = {score: f"meaning {score} of {name}" for score in range(1, 6)}
    return {"id": name, "question": f"Is it {name}?", "anchors": anchors, "passes_from": 4, **changes}


def write_rubric(folder: Path, *criteria: Mapping[str, Any], name: str = "rubric.yaml") -> Path:
    path = folder / name
    values = {"name": "toy", "instructions": "You judge.", "criteria": list(criteria)}
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


def judge_config(server: RunningServer | str, rubric: Path, **changes: Any) -> JudgeConfig:
    base_url = server if isinstance(server, str) else server.base_url
    return JudgeConfig.model_validate({"base_url": base_url, "model": "toy-judge", "rubric": str(rubric), **changes})


def judge(rows: list[JudgedRow], config: JudgeConfig, work_dir: Path, **changes: Any) -> Judgement:
    rubric = load_rubric(Path(config.rubric))
    return judge_rationales(rows, rubric, config, work_dir, **{"interval": QUICK, **changes})
