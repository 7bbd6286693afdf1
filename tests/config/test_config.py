"""The schema: shipped files are right, and every fault of a wrong one is named at once."""

from __future__ import annotations

import copy
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from r2d.config.data import ColumnsConfig
from r2d.config.evaluation import OperatingPointsConfig
from r2d.config.jobs import DriftConfig, InferenceConfig, MonitorConfig, RetentionConfig, WatchConfig
from r2d.config.loading import as_settings, load_config, load_job, parse_config, parse_settings, read_parameters
from r2d.config.plan import PlanConfig
from r2d.config.run import RunConfig
from r2d.config.section import parse_section
from r2d.config.serving import ServingConfig
from r2d.config.training import CycleConfig, Stage2Config
from r2d.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
JOBS = {
    "batch_inference": InferenceConfig, "drift": DriftConfig, "monitor": MonitorConfig, "plan": PlanConfig,
    "retention": RetentionConfig,
    "serve": ServingConfig, "watch": WatchConfig,
}  # fmt: skip
"""Configurations of pipelines and commands that train nothing."""
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def demo() -> dict[str, Any]:
    return copy.deepcopy(read_parameters(ROOT / "configs" / "demo.yaml"))


def changed_demo(changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The demo with other values in its sections; a mapping within a section is changed, an empty one replaces."""
    values = demo()
    for section, change in changes.items():
        merged = values.setdefault(section, {})
        for key, value in change.items():
            merged[key] = merged[key] | value if isinstance(value, dict) and value and key in merged else value
    return values


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_config_is_complete_and_right(path: Path) -> None:
    if path.stem in JOBS:
        assert isinstance(load_job(JOBS[path.stem], path), JOBS[path.stem])
    else:
        run = load_config(path)
        assert RunConfig.model_validate_json(run.model_dump_json()) == run, "a step gets it with every default written"
    assert {path.stem for path in CONFIGS} >= {"demo", "pubmedqa", "paper", *JOBS}


def test_the_paper_preset_has_the_published_hyper_parameters() -> None:
    run = load_config(ROOT / "configs" / "paper.yaml")
    assert run.model.name == "google-t5/t5-large"
    assert (run.model.max_input_tokens, run.model.max_rationale_tokens, run.model.max_label_tokens) == (1024, 256, 49)
    assert (run.stage1.max_steps, run.stage1.eval_every_steps, run.stage1.patience) == (50_000, 1_000, 3)
    assert (run.stage2.max_steps, run.stage2.eval_every_steps, run.stage2.patience) == (30_000, 500, 5)
    assert {run.stage1.learning_rate, run.stage2.learning_rate} == {5e-5}
    assert {run.stage1.batch_size, run.stage2.batch_size} == {64}
    assert (run.stage2.alpha, run.stage2.warmup_fraction, run.stage2.sampling_fraction) == (0.7, 0.05, 0.6)
    assert (run.stage2.max_predicted_label_fraction, run.stage2.precision) == (0.9, "bf16")


def test_all_faults_are_named_in_one_message_with_key_found_allowed_and_nearest_name() -> None:
    values = demo()
    values["data"]["format"] = "cvs"
    values["data"]["labels"]["orderd"] = True
    values["stage2"]["alpha"] = 1.5
    values["stage_1"] = {}
    with pytest.raises(ConfigError) as caught:
        parse_config(values, where="my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml: 4 faults\n")
    assert "data.format: found 'cvs' (did you mean 'csv'?); allowed: 'csv', 'jsonl'" in message
    unknown = "data.labels.orderd: unknown key (did you mean 'ordered'?); allowed: names, per_row, row_label, ordered"
    assert unknown in message
    assert "stage2.alpha: found 1.5; input should be less than or equal to 1" in message
    assert "stage_1: unknown key (did you mean 'stage1'?)" in message


@pytest.mark.parametrize(("found", "num_faults"), [([0, 1], 2), ([0.1, 2], 1), ([], 1)])
def test_a_list_of_faulty_items_is_not_called_short_of_items(found: list[float], num_faults: int) -> None:
    with pytest.raises(ConfigError) as error:
        parse_section(OperatingPointsConfig, {"threshold_probabilities": found})
    lines = str(error.value).splitlines()[1:]
    assert len(lines) == num_faults
    is_short = "  threshold_probabilities: found []; needs at least 1"
    assert (is_short in lines) == (not found)


def test_an_unquoted_yes_is_told_to_be_quoted() -> None:
    values = demo()
    values["data"]["labels"]["names"] = yaml.safe_load("[yes, no, maybe]")
    with pytest.raises(ConfigError, match=r'data\.labels\.names\.0: found True.*put it in quotes \("yes"\)'):
        parse_config(values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage2": {"max_steps": 1000, "eval_every_steps": 600}}, "no evaluation falls into the phase"),
        ({"stage2": {"precision": "fp16"}}, r"stage2\.precision: found 'fp16'; T5 gives NaN in fp16"),
        ({"stage2": {"precision": "fp64"}}, r"stage2\.precision: found 'fp64'; allowed: 'fp32', 'bf16'"),
        (
            {"model": {"name": "some/llama", "lora": {"base": "bf16"}}},
            r"model\.lora\.base is 'bf16', and stage1\.precision and stage2\.precision 'fp32'; set bf16 there",
        ),
        ({"stage1": {"batch_size": 16, "gradient_accumulation_steps": 3}}, "is not a multiple"),
        ({"stage1": {"eval_every_steps": 5000}}, "nothing could be selected"),
        ({"data": {"path": "notes.csv"}}, "remove `path`"),
        ({"data": {"format": "csv"}}, "needs `path`"),
        ({"data": {"split": {"validation_fraction": 0.6, "test_fraction": 0.5}}}, "leave no row to train on"),
        ({"data": {"labels": {"names": ["urgent", "Urgent "]}}}, "are the same but for case, spaces or marks"),
        ({"data": {"labels": {"names": ["urgent", "l" * 81]}}}, "data.labels.names.1: found .* at most 80 characters"),
        ({"data": {"format": "csv", "path": "a.csv", "columns": {"rationales": {"nurse": "why"}}},
          "rationales": {"stage1_source": "llm", "sources": {}}}, r"stage1_source 'llm' is not among .*\['nurse'\]"),
        ({"rationales": {"stage1_source": None}}, r"stage1_source: missing; 'r2d' learns from rationales: .* 'sft'"),
        ({"method": {"name": "sft"}, "rationales": {"stage1_source": None}, "comparison": {"methods": ["dss"]}},
         r"stage1_source: missing; 'dss' learns from rationales"),
        ({"model": {"prompts": {"label": "{text} predict:"}}}, "end with {text}"),
        ({"data": {"labels": {"ordered": False}}, "evaluation": {"selective": {"risk": "under_triage"}}},
         "under_triage' needs data.labels.ordered: true"),
        ({"evaluation": {"safety": {"costs": {"self care": {}}}}}, "evaluation.safety.costs: .*is missing"),
        ({"evaluation": {"safety": {"costs": {"nobody": {}}}}}, "'nobody' is not declared"),
        ({"evaluation": {"slices": {"length_edges": [9, 3]}}}, "length_edges must rise"),
    ],
)  # fmt: skip
def test_a_contradiction_is_a_fault(changes: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(changed_demo(changes))


def test_placeholders_are_filled_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    values = demo()
    values["rationales"] = {"stage1_source": "llm"}
    values["data"] |= {"format": "csv", "path": "${NOTES:-fallback.csv}", "columns": {"rationales": {"llm": "why"}}}
    monkeypatch.delenv("NOTES", raising=False)
    assert parse_config(values).data.path == "fallback.csv"
    monkeypatch.setenv("NOTES", "mine.csv")
    assert parse_config(values).data.path == "mine.csv"
    values["data"]["path"] = "${NOT_SET_ANYWHERE}"
    with pytest.raises(ConfigError, match="NOT_SET_ANYWHERE"):
        parse_config(values)


def test_the_ending_of_a_file_in_place_of_its_format_is_answered_with_the_format_that_reads_it() -> None:
    values = demo()
    values["data"] = {"format": "xlsx", "path": "a.xlsx", "labels": {"names": ["a", "b"]}}
    values["rationales"] = {"stage1_source": "x", "sources": {"x": {"format": "xlsx", "paths": ["b.xlsx"]}}}
    with pytest.raises(ConfigError) as caught:
        parse_config(values)
    for key in ("data", "rationales.sources.x"):
        (line,) = (line for line in str(caught.value).splitlines() if line.startswith(f"  {key}.format: found 'xlsx'"))
        assert line.endswith("; a file .xlsx is read by format 'csv'")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("parameters: [1", "is no YAML"),
        ("data: {}", "`parameters: config:`"),
        ("parameter: {config: {}}", "did you mean 'parameters'?"),
        ("parameters: {data: {}}", "must hold the one key `config`"),
        ("- 1", "expected a mapping"),
    ],
)
def test_a_file_of_another_shape_says_what_is_expected(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "name", ["note", "yes", "1", "!x", "@id", "[x", "*", "a: b", "#", "it's", "~", "%Anteil", "2020-01-01"]
)
def test_a_column_of_any_name_is_declared_by_options_of_a_command(name: str) -> None:
    columns = ColumnsConfig(text=name)
    settings = parse_settings(shlex.split(as_settings(columns, ("text",)))[1::2])
    assert settings["columns"]["text"] == name


def test_a_method_without_a_schedule_needs_no_evaluation_late_in_training() -> None:
    values = demo()
    values["stage2"] |= {"max_steps": 100, "eval_every_steps": 60}
    for method in ("sft", "dss"):
        values["method"] = {"name": method}
        assert parse_config(values).method.name == method
    values["comparison"] = {"methods": ["sft", "r2d"]}
    with pytest.raises(ConfigError, match="no evaluation falls into the phase"):
        parse_config(values)


def test_alpha_has_one_key_and_the_old_one_names_it() -> None:
    values = demo() | {"method": {"name": "dss", "dss_alpha": 0.3}}
    with pytest.raises(ConfigError, match=r"method: dss_alpha is stage2\.alpha now; write stage2: \{alpha: 0\.3\}"):
        parse_config(values)
    values["method"]["dss_alpha"] = 0.5  # its default, as registered models hold it
    assert parse_config(values).stage2.alpha is None


WITHOUT_EFFECT = [
    ({"method": {"name": "sft"}}, {"stage1", "stage2.validation_rationales"}),
    ({"method": {"name": "sft"}, "stage2": {"alpha": 0.6}}, {"stage1", "stage2.alpha", "stage2.validation_rationales"}),
    ({"method": {"name": "stage2_only"}}, {"stage1"}),
    ({"method": {"name": "dss"}, "stage2": {"warmup_fraction": 0.1}}, {"stage1", "stage2.warmup_fraction"}),
    ({"method": {"name": "no_sampling"}, "stage2": {"max_predicted_label_fraction": 0.5}},
     {"stage2.max_predicted_label_fraction"}),
    ({"method": {"name": "r2d", "cycle": {"weight": 0.2}}}, {"method.cycle"}),
    ({"method": {"name": "r2d_c", "cycle": {"weight": 0.2}}}, set()),
    ({"method": {"name": "sft"}, "comparison": {"methods": ["sft", "r2d"]}, "stage2": {"alpha": 0.6}}, set()),
    ({"data": {"delimiter": ";"}}, {"data.delimiter"}),
    ({"data": {"split": {"test_ids": "ids.json", "test_fraction": 0.2}}}, {"data.split.test_fraction"}),
    ({"data": {"labels": {"ordered": False}}, "evaluation": {"safety": {"num_worst_cases": 3}}}, {"evaluation.safety"}),
    ({"model": {"name": "google-t5/t5-small"}}, {"model.scratch"}),
    ({}, set()),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "keys"), WITHOUT_EFFECT)
def test_a_key_that_nothing_reads_is_warned_of_with_its_reason(
    changes: dict[str, Any], keys: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    run = parse_config(changed_demo(changes), where="my.yaml")
    assert set(run.keys_without_effect()) == keys
    assert len(caplog.messages) == len(keys)
    for message in caplog.messages:
        assert message.startswith("my.yaml: ")
        assert "has no effect, because" in message


def test_a_run_extends_another_and_changes_what_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    base = {"parameters": {"config": {"extends": "demo.yaml", "stage1": {"max_steps": 7, "eval_every_steps": 7}}}}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    run = parse_config({"extends": "base.yaml", "stage1": {"patience": 2}, "data": {"labels": {"names": ["a", "b"]}}})
    shipped = load_config(ROOT / "configs" / "demo.yaml")
    assert (run.stage1.max_steps, run.stage1.patience) == (7, 2)
    assert run.stage1.batch_size == shipped.stage1.batch_size
    assert run.data.labels.names == ("a", "b")
    assert run.data.labels.ordered
    assert (run.stage2, run.rationales) == (shipped.stage2, shipped.rationales)


def test_a_null_takes_away_what_is_inherited_and_stays_a_value_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    columns = {"rationales": {"nurse": "remark", "doctor": "opinion"}, "attributes": {"age": "age"}}
    answers = {"format": "text", "paths": ["answers.jsonl"]}
    first = {
        "extends": "demo.yaml",
        "data": {"format": "csv", "path": "calls.csv", "columns": columns, "synthetic": None},
        "rationales": {"stage1_source": "doctor", "sources": {"llm": None, "answers": answers}},
        "retraining": {"min_new_rows": 10, "max_age_days": 90},
    }
    (tmp_path / "first.yaml").write_text(yaml.safe_dump({"parameters": {"config": first}}))
    second = {
        "extends": "first.yaml",
        "data": {"columns": {"rationales": {"nurse": None}, "attributes": None}},
        "retraining": {"min_new_rows": None},
    }
    before, run = load_config(tmp_path / "first.yaml"), parse_config(second)
    assert set(before.rationales.sources) == set(run.rationales.sources) == {"answers"}
    assert (run.data.columns.rationales, run.data.columns.attributes) == ({"doctor": "opinion"}, {})
    assert (run.retraining.min_new_rows, run.retraining.max_age_days) == (None, 90)


@pytest.mark.parametrize(
    "evaluation",
    [
        {"selective": {"per": "ward"}},
        {"slices": {"attributes": ["ward"]}},
        {"slices": {"intersections": [["sex", "ward"]]}},
        {"slices": {"pooled": ["ward"]}},
    ],
)
def test_an_attribute_that_no_row_has_is_refused(evaluation: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"'ward' is no attribute of the rows; allowed: .*age_band.*period"):
        parse_config(changed_demo({"evaluation": evaluation}))
    parse_config(changed_demo(yaml.safe_load(yaml.safe_dump({"evaluation": evaluation}).replace("ward", "site"))))


@pytest.mark.parametrize("section", ["sources", "attributes"])
def test_a_null_that_takes_away_nothing_is_refused(section: str) -> None:
    values = changed_demo({"rationales": {"sources": {"lmm": None}}})
    if section == "attributes":
        values = changed_demo({"data": {"columns": {"attributes": {"age": None}}}})
    with pytest.raises(ConfigError, match=rf"{section}\.\w+"):
        parse_config(values)


def test_a_run_that_extends_nothing_or_itself_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"my.yaml: extends: no file 'demmo.yaml'; looked for demmo.yaml, .*configs"):
        parse_config({"extends": "demmo.yaml"}, where="my.yaml")
    (tmp_path / "loop.yaml").write_text(yaml.safe_dump({"parameters": {"config": {"extends": "loop.yaml"}}}))
    with pytest.raises(ConfigError, match="extends itself"):
        load_config(Path("loop.yaml"))


@pytest.mark.parametrize(
    ("warmup", "sampling", "max_steps", "armed"),
    [(0.05, 0.6, 20, 13), (0.05, 0.6, 21, 14), (0.1, 0.2, 10, 3), (0.07, 0.5, 100, 57), (0.29, 0.28, 100, 57)],
)
def test_the_armed_step_is_a_whole_one_and_the_only_armed_evaluation_is_not_rounded_away(
    warmup: float, sampling: float, max_steps: int, armed: int
) -> None:
    config = Stage2Config(warmup_fraction=warmup, sampling_fraction=sampling, max_steps=max_steps, eval_every_steps=1)
    assert config.armed_from_step == armed


def test_a_confidence_slope_has_a_limit_below_that_at_which_its_exponential_overflows() -> None:
    assert CycleConfig(confidence_slope=500.0).confidence_slope == 500.0
    for value in (501.0, float("inf")):
        with pytest.raises(ValueError, match="less than or equal to 500"):
            CycleConfig(confidence_slope=value)


def test_a_judge_of_the_family_of_an_author_or_of_the_second_judge_is_remarked() -> None:
    def endpoint(model: str) -> dict[str, str]:
        return {"base_url": "http://127.0.0.1:1/v1", "model": model}

    source = endpoint("meta-llama/Llama-3.1-8B-Instruct") | {"format": "endpoint", "prompt": "p.yaml"}
    judge = endpoint("llama3:70b") | {"rubric": "r.yaml", "second": endpoint("gpt-4o")}
    changes = {"rationales": {"sources": {"asked": source}}, "evaluation": {"judge": judge}}
    (remark,) = parse_config(changed_demo(changes)).judge_remarks()
    assert remark.startswith(
        "the judge 'llama3:70b' is of the family of source 'asked', 'meta-llama/Llama-3.1-8B-Instruct'"
    )
    judge |= {"model": "openai/gpt-4o-mini"}
    (remark,) = parse_config(changed_demo(changes)).judge_remarks()
    assert "is of the family of the second judge, 'gpt-4o'" in remark
    judge |= {"model": "Qwen3-8B"}
    assert parse_config(changed_demo(changes)).judge_remarks() == []
    assert parse_config(demo()).judge_remarks() == []
