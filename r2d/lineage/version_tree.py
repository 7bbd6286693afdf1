"""The lineage of a version as a tree: from the gate back to the files, the code and the configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from r2d.config.gate import GATE_METRICS
from r2d.evaluation.metrics import IntervalEstimate
from r2d.lineage.facts import method_of
from r2d.lineage.tree import Node

DIGITS = 12
"""Of the hash of an artifact; `--json` has all. Hashes of files are written whole."""
OF_NO_FILE = hashlib.sha256().hexdigest()
STATES = {"completed": "ran", "cached": "cached"}
SHOWN_ORIGIN = {
    "code_commit", "code_dirty", "lock_sha256", "sources_sha256", "data_sha256", "rationales_sha256", "model_sha256",
    "model_files", "files_read", "files_sha256", "num_rows", "seeds",
}  # fmt: skip
"""Facts of the origin with a line of their own; any other stands below the data."""
FIRST_SECTIONS = ("method", "model", "data", "rationales", "stage1", "stage2")


def version_tree(facts: Mapping[str, Any]) -> Node:
    """The tree of the facts that a registry gives (`ModelRegistry.lineage_facts`)."""
    aliases = f" ({', '.join(facts['aliases'])})" if facts["aliases"] else ""
    root = Node(f"{facts['name']} version {facts['version']}{aliases}, registered {facts['registered_at']}")
    run = facts["pipeline_run"]
    if run is not None:
        root.add(f"pipeline run {run['name']} of {run['pipeline']}, ZenML {run['id']}, {run['at']}")
    for sentence in facts["not_reachable"]:
        root.add(f"not reachable: {sentence}")
    _add_gate(root, facts)
    _add_figures(root, facts)
    _add_stages(root, facts)
    _add_rationales(root, facts)
    _add_validation(root, facts)
    _add_data(root, facts)
    _add_code(root, facts["origin"])
    _add_config(root, facts)
    files = root.add("files that are registered")
    model = files.add(f"model/, fingerprint {facts['origin'].get('model_sha256')}")
    for name, sha256 in (facts["origin"].get("model_files") or {}).items():
        model.add(f"{name}, sha256 {sha256}")
    for name, sha256 in facts["files"].items():
        files.add(f"{name}, sha256 {sha256}")
    return root


def _add_gate(root: Node, facts: Mapping[str, Any]) -> None:
    gate = facts["gate"]
    if gate is None:
        return
    node = root.add(f"gate: {gate['outcome']}, compared with {gate['champion'] or 'no champion'}")
    for verdict in gate["verdicts"]:
        node.add(f"{verdict['status']}: {verdict['reason']}")
    if gate.get("what_follows"):
        node.add(f"so: {gate['what_follows']}")
    _add_step(node, facts, "register_model")


def _add_figures(root: Node, facts: Mapping[str, Any]) -> None:
    node = root.add(f"metrics, on {facts['num_test_rows']:,} test rows")
    for name, figure in facts["figures"].items():
        node.add(f"{GATE_METRICS[name].name} {IntervalEstimate(**figure).text()}")
    _add_step(node, facts, "evaluate")


def _add_stages(root: Node, facts: Mapping[str, Any]) -> None:
    config, seeds = facts["config"], facts["origin"].get("seeds") or {}
    has_stage1 = method_of(config).has_stage1
    start = _start_model(config)
    for stage, title in (("stage2", "Stage 2"), ("stage1", "Stage 1")):
        if stage == "stage1" and not has_stage1:
            root.add(f"Stage 1: none, method {method_of(config).name} has one stage")
            continue
        node = root.add(f"{title}, method {method_of(config).name}, seed {_or_unknown(seeds.get(stage))}")
        node.add(f"started from {'the model of Stage 1' if stage == 'stage2' and has_stage1 else start}")
        logged = _logged(facts, f"train_{stage}")
        if "selected_step" in logged:
            stopped, metric = logged["stopped_at_step"], str(logged["metric"]).removeprefix("eval_")
            named = GATE_METRICS[metric].name if metric in GATE_METRICS else metric
            node.add(
                f"step {logged['selected_step']:,} of {stopped:,} was selected: {named} {logged['best_value']:.3f} "
                "on the validation rows"
            )
        for one in _of_stage(facts["rationales"]["trained_on"], stage):
            node.add(one)
        _add_step(node, facts, f"train_{stage}")


def _add_rationales(root: Node, facts: Mapping[str, Any]) -> None:
    node = root.add(f"rationales, sha256 {facts['origin'].get('rationales_sha256')}")
    for one in facts["rationales"]["files"]:
        place = one["file"] or "the data itself"
        node.add(f"{one['source']}: {one['num_rationales']:,} taken from {place}, all splits")
    if not facts["rationales"]["files"]:
        node.add("none were taken")
    _add_step(node, facts, "ingest_rationales")


def _add_validation(root: Node, facts: Mapping[str, Any]) -> None:
    found = facts["data_result"]
    if found is None:
        return
    node = root.add(
        f"validation: {found['num_rows']:,} rows, {found['num_valid']:,} valid, {found['num_quarantined']:,} "
        f"quarantined, {found['num_errors']:,} errors, {found['num_warnings']:,} warnings"
    )
    for split, labels in found["splits"].items():
        counts = ", ".join(f"{label} {count:,}" for label, count in labels.items())
        node.add(f"{split}: {counts or 'no row'}")
    for check in found["checks"]:
        if check["not_measured"]:
            node.add(f"not measured: {check['title']} ({check['not_measured']})")
        elif check["num_unexpected"]:
            node.add(f"not met ({check['severity']}): {check['title']}; {check['num_unexpected']:,} do not")
    for reason, count in found["quarantine_reasons"].items():
        node.add(f"quarantined: {count:,} {reason}")
    _add_step(node, facts, "validate_examples")


def _add_data(root: Node, facts: Mapping[str, Any]) -> None:
    data, origin = facts["config"].get("data") or {}, facts["origin"]
    node = root.add(f"data: {data.get('format', 'unknown format')} {data.get('path') or ''}".rstrip())
    if origin.get("num_rows") is not None:
        node.add(f"{origin['num_rows']:,} valid rows")
    for name, sha256 in (origin.get("files_read") or {}).items():
        node.add(f"read: {name}, sha256 {sha256}")
    node.add(f"fingerprint of the data {origin.get('data_sha256')}")
    if origin.get("files_sha256") not in (None, OF_NO_FILE):
        node.add(f"fingerprint of other files {origin['files_sha256']}")
    split_file = (data.get("split") or {}).get("test_ids")
    if split_file:
        node.add(f"test rows named by {split_file}")
    for key, value in origin.items():
        if key not in SHOWN_ORIGIN and value is not None:
            _add_any(node, key, value)
    _add_step(node, facts, "load_examples")


def _add_code(root: Node, origin: Mapping[str, Any]) -> None:
    commit = origin.get("code_commit")
    changed = ", with changes that are in no commit" if origin.get("code_dirty") else ""
    node = root.add("code")
    node.add("commit: not known, the code lay in no repository" if commit is None else f"commit {commit}{changed}")
    lock = origin.get("lock_sha256")
    node.add("locked versions: not known" if lock is None else f"locked versions, sha256 {lock}")
    if origin.get("sources_sha256"):
        node.add(f"what weights and figures depend on, sha256 {origin['sources_sha256']}")
    seeds = origin.get("seeds") or {}
    node.add("seeds: " + (", ".join(f"{name} {seed}" for name, seed in seeds.items()) or "not known"))


def _add_config(root: Node, facts: Mapping[str, Any]) -> None:
    config = facts["config"]
    node = root.add("configuration (config.yaml runs it again)")
    for section in sorted(config, key=lambda name: (name not in FIRST_SECTIONS, list(config).index(name))):
        settings = ", ".join(f"{key}={_short(value)}" for key, value in flat(config[section]).items())
        node.add(f"{section}: {settings}")


def _add_step(node: Node, facts: Mapping[str, Any], name: str) -> None:
    """The run of a step in ZenML and in MLflow, and what it made."""
    step = ((facts["pipeline_run"] or {}).get("steps") or {}).get(name)
    if step is not None:
        child = node.add(f"ZenML step {name} {step['id']}, {STATES.get(step['status'], step['status'])}")
        if step["cached_from"]:
            child.text += f" from step {step['cached_from']}"
        for one in sorted(step["outputs"], key=lambda output: str(output["name"])):
            digest = f", hash {one['hash'][:DIGITS]}" if one["hash"] else ""
            child.add(f"{one['name']} version {one['version']}, {one['id']}{digest}")
    for run in facts["mlflow_runs"].get(name, []):
        node.add(f"MLflow run {run} ({name})")


def _add_any(node: Node, key: str, value: Any) -> None:
    """A fact of the origin that this code does not know by name."""
    if isinstance(value, Mapping):
        child = node.add(f"{key}: {'none' if not value else ''}".rstrip())
        for name, below in value.items():
            _add_any(child, str(name), below)
    elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        child = node.add(f"{key}:")
        for one in value:
            child.add(", ".join(f"{name}={_short(below)}" for name, below in flat(one).items()))
    else:
        node.add(f"{key}: {_short(value)}")


def _logged(facts: Mapping[str, Any], step: str) -> Mapping[str, Any]:
    found = ((facts["pipeline_run"] or {}).get("steps") or {}).get(step)
    return {} if found is None else found["logged"]


def _start_model(config: Mapping[str, Any]) -> str:
    model = config.get("model") or {}
    revision = f", revision {model['revision']}" if model.get("revision") else ""
    return "random weights" if model.get("name") == "scratch" else f"{_or_unknown(model.get('name'))}{revision}"


def _of_stage(trained: Sequence[Mapping[str, Any]], stage: str) -> list[str]:
    return [
        f"trained on {one['num_rationales']:,} rationales of {one['source']}"
        + (f", by {one['author']}" if one["author"] else "")
        + (f", prompt {one['prompt_hash'][:DIGITS]}" if one["prompt_hash"] else "")
        for one in trained
        if one["stage"] == stage
    ]


def flat(value: Any, before: str = "") -> dict[str, Any]:
    """A nested mapping as dotted key -> value; lists and empty mappings are values."""
    if not isinstance(value, Mapping) or not value:
        return {before: value} if before else {}
    found: dict[str, Any] = {}
    for key, below in value.items():
        found |= flat(below, f"{before}.{key}" if before else str(key))
    return found


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_short(one) for one in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_short(below)}" for key, below in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "none"}[value]
    return repr(value) if isinstance(value, str) and (not value or set(value) & set(" ,=")) else str(value)


def _or_unknown(value: Any) -> str:
    return "unknown" if value is None else str(value)
