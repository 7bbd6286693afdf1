"""Lineage as trees of text lines for a terminal: a version, a row, and the difference of two versions."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.tree import Tree

from r2d.config.gate import GATE_METRICS
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.summary import verdict_of
from r2d.gate.decision import GateDecision
from r2d.gate.rules import format_comparably
from r2d.lineage.difference import MetricChange, VersionDifference
from r2d.lineage.records import RowLineage, VersionLineage, method_of
from r2d.text import flatten, plural

WIDTH = 104
"""Columns, on a terminal and in a log; the hash of a file of the model folder fits in its line."""
SHORT_LINES = 30
SAFETY_FIRST = GATE_METRICS["under_triage_rate"].name
STORED = ("ZenML step", "MLflow run")
DIGITS = 12
"""Of the hash of an artifact or a prompt; `--json` has all. Hashes of files are written whole."""
HASH_OF_NO_FILE = hashlib.sha256().hexdigest()
STATUS_WORDS = {"completed": "ran"}
ORIGIN_KEYS = {
    "code_commit", "code_dirty", "lock_sha256", "sources_sha256", "data_sha256", "rationales_sha256", "model_sha256",
    "model_files", "files_read", "files_sha256", "num_rows", "seeds", "signed_by",
}  # fmt: skip
"""Keys of the origin with a line of their own; any other stands below the data."""
FIRST_SECTIONS = ("method", "model", "data", "rationales", "stage1", "stage2")
USES = {
    "train": "trained on it", "validation": "chosen by it (validation)",
    "calibration": "its threshold chosen by it (calibration)", "test": "measured on it (test)",
}  # fmt: skip
VERDICTS = "not told apart: the interval of the difference holds 0; no interval: it may be chance alone"
PROVENANCE_SHOWN_ELSEWHERE = ("example_id", "split", "source", "stages", "file", "row", "counted")


def render(tree: Tree) -> str:
    """The tree as plain text; a line that is too long goes on below itself."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(tree)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def version_tree(version: VersionLineage) -> Tree:
    """From the gate back to the files, the code and the configuration."""
    aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
    root = Tree(f"{version.name} version {version.version}{aliases}, registered {version.registered_at}")
    run, origin, config = version.pipeline_run, version.origin, version.config
    if run is not None:
        root.add(f"pipeline run {run.name} of {run.pipeline}, ZenML {run.id}, {run.at}")
    for reason in version.not_reachable:
        root.add(f"not reachable: {reason}")

    if version.gate is not None:
        compared = GateDecision.from_json(version.gate).compared
        node = root.add(f"gate: {version.gate['outcome']}, {compared}; {version.gate.get('signed', 'not signed')}")
        for verdict in version.gate["verdicts"]:
            node.add(f"{verdict['status'].replace('_', ' ')}: {verdict['reason']}")
        if version.gate.get("what_follows"):
            node.add(f"so: {version.gate['what_follows']}")
        _add_step(node, version, "register_model")

    node = root.add(f"metrics, on {version.num_test_rows:,} test rows")
    for name, estimate in version.metrics.items():
        node.add(f"{GATE_METRICS[name].name} {estimate.text()}")
    _add_step(node, version, "evaluate")

    for stage in ("stage2", "stage1"):
        _add_stage(root, version, stage)

    node = root.add(f"rationales, sha256 {origin.get('rationales_sha256')}")
    for file in version.rationales["files"]:
        place = file["file"] or "the data itself"
        node.add(f"{file['source']}: {file['num_rationales']:,} taken from {place}, all splits")
    if not version.rationales["files"]:
        node.add("none were taken")
    _add_step(node, version, "ingest_rationales")

    _add_validation(root, version)
    _add_data(root, version)

    node = root.add("code")
    commit = origin.get("code_commit")
    changes = ", with changes that are in no commit" if origin.get("code_dirty") else ""
    node.add("commit: not known, the code lay in no repository" if commit is None else f"commit {commit}{changes}")
    lock = origin.get("lock_sha256")
    node.add("locked versions: not known" if lock is None else f"locked versions, sha256 {lock}")
    if origin.get("sources_sha256"):
        node.add(f"what weights and metrics depend on, sha256 {origin['sources_sha256']}")
    seeds = ", ".join(f"{name} {seed}" for name, seed in (origin.get("seeds") or {}).items())
    node.add(f"seeds: {seeds or 'not known'}")

    node = root.add("configuration (config.yaml runs it again)")
    for section in sorted(config, key=lambda name: (name not in FIRST_SECTIONS, list(config).index(name))):
        settings = ", ".join(f"{key}={_short(value)}" for key, value in flatten(config[section]).items())
        node.add(f"{section}: {settings}")

    model_files = origin.get("model_files") or {}
    files = root.add(f"files that are registered: {len(model_files) + len(version.files)}")
    signed = f"signed by key {origin['signed_by']}" if origin.get("signed_by") else "not signed"
    model = files.add(f"model/, fingerprint {origin.get('model_sha256')}")
    model.add(signed)
    for name, sha256 in model_files.items():
        model.add(f"{name}, sha256 {sha256}")
    for name, sha256 in version.files.items():
        files.add(f"{name}, sha256 {sha256}")
    return root


def short_tree(version: VersionLineage) -> Tree:
    """What a reader asks first of `version_tree`, in at most `SHORT_LINES` lines; the last says where the rest is."""
    whole = version_tree(version)
    root = Tree(whole.label)
    for node in whole.children:
        root.add(node.label)
    # The lines below each part are taken in turn, so that every part says something; steps and hashes come last.
    waiting = [(kept, _first_asked(node)) for kept, node in zip(root.children, whole.children, strict=True)]
    for place in range(max((len(lines) for _, lines in waiting), default=0)):
        for kept, lines in waiting:
            if place < len(lines):
                kept.add(lines[place])
                if len(render(root).splitlines()) >= SHORT_LINES:
                    kept.children.pop()
    for kept, lines in waiting:  # what is left out in the middle of a list would pass for absent
        if 0 < len(kept.children) < len(lines):
            last = kept.children[-1]
            last.label = f"{last.label}; and {len(lines) - len(kept.children)} more"
            if len(render(root).splitlines()) >= SHORT_LINES:
                kept.children.pop()
                kept.label = f"{kept.label}; {len(lines) - len(kept.children)} more"
    root.add("the rest, with every hash, step and setting: --all, or --json for machines")
    return root


def _first_asked(node: Tree) -> list[str]:
    """The lines below a part that say more than where it was stored."""
    lines = [str(child.label) for child in node.children if not child.children]
    if "configuration" in str(node.label):
        return []
    lines = [line for line in lines if not line.startswith(STORED) and "sha256" not in line]
    return sorted(lines, key=lambda line: not line.startswith(SAFETY_FIRST))


def _add_stage(root: Tree, version: VersionLineage, stage: str) -> None:
    """Start, selected step and rationales of a stage."""
    config, seeds, method = version.config, version.origin.get("seeds") or {}, method_of(version.config)
    title = stage.replace("stage", "Stage ")
    if stage == "stage1" and not method.has_stage1:
        root.add(f"{title}: none, method {method.name} has one stage")
        return
    node = root.add(f"{title}, method {method.name}, seed {seeds.get(stage, 'unknown')}")
    model = config.get("model") or {}
    revision = f", revision {model['revision']}" if model.get("revision") else ""
    start = "random weights" if model.get("name") == "scratch" else f"{model.get('name', 'unknown')}{revision}"
    node.add(f"started from {'the model of Stage 1' if stage == 'stage2' and method.has_stage1 else start}")
    step = version.step(f"train_{stage}")
    if step is not None and "selected_step" in step.logged:
        logged, metric = step.logged, str(step.logged["metric"]).removeprefix("eval_")
        caption = GATE_METRICS[metric].name if metric in GATE_METRICS else metric
        node.add(
            f"step {logged['selected_step']:,} of {logged['stopped_at_step']:,} was selected: {caption} "
            f"{logged['best_value']:.3f} on the validation rows"
        )
    for use in version.rationales["trained_on"]:
        if use["stage"] == stage:
            author = f", by {use['author']}" if use["author"] else ""
            prompt = f", prompt {use['prompt_hash'][:DIGITS]}" if use["prompt_hash"] else ""
            node.add(f"trained on {use['num_rationales']:,} rationales of {use['source']}{author}{prompt}")
    _add_step(node, version, f"train_{stage}")


def _add_validation(root: Tree, version: VersionLineage) -> None:
    """Rows, checks that are not met, and reasons of the quarantine."""
    if (result := version.data_result) is None:
        return
    node = root.add(
        f"validation: {result['num_rows']:,} rows, {result['num_valid']:,} valid, {result['num_quarantined']:,} "
        f"quarantined, {plural(result['num_errors'], 'error')}, {plural(result['num_warnings'], 'warning')}"
    )
    for split, labels in result["splits"].items():
        node.add(f"{split}: {', '.join(f'{label} {count:,}' for label, count in labels.items()) or 'no row'}")
    for check in result["checks"]:
        if check["not_measured"]:
            node.add(f"not measured: {check['title']} ({check['not_measured']})")
        elif check["num_unexpected"]:
            node.add(f"not met ({check['severity']}): {check['title']}; {check['num_unexpected']:,} do not")
    for reason, count in result["quarantine_reasons"].items():
        node.add(f"quarantined: {count:,} {reason}")
    _add_step(node, version, "validate_examples")


def _add_data(root: Tree, version: VersionLineage) -> None:
    """Where the data lie, their hashes, and whatever else the origin holds."""
    data, origin = version.config.get("data") or {}, version.origin
    node = root.add(f"data: {data.get('format', 'unknown format')} {data.get('path') or ''}".rstrip())
    if origin.get("num_rows") is not None:
        node.add(f"{origin['num_rows']:,} valid rows")
    for name, sha256 in (origin.get("files_read") or {}).items():
        node.add(f"read: {name}, sha256 {sha256}")
    node.add(f"fingerprint of the data {origin.get('data_sha256')}")
    if origin.get("files_sha256") not in (None, HASH_OF_NO_FILE):
        node.add(f"fingerprint of other files {origin['files_sha256']}")
    if test_ids := (data.get("split") or {}).get("test_ids"):
        node.add(f"test rows named by {test_ids}")
    for key, value in origin.items():
        if key not in ORIGIN_KEYS and value is not None:
            _add_value(node, key, value)
    _add_step(node, version, "load_examples")


def _add_value(node: Tree, key: str, value: Any) -> None:
    """A value that this code does not know by name, however nested."""
    if isinstance(value, Mapping) and value:
        child = node.add(f"{key}:")
        for name, inner in value.items():
            _add_value(child, str(name), inner)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        child = node.add(f"{key}:")
        for item in value:
            child.add(", ".join(f"{name}={_short(inner)}" for name, inner in flatten(item).items()))
    else:
        node.add(f"{key}: {_short(value) if value else 'none'}")


def _add_step(node: Tree, version: VersionLineage, name: str) -> None:
    """The runs of a step in ZenML and in MLflow, and its artifacts."""
    step = version.step(name)
    if step is not None:
        source = f" from step {step.cached_from}" if step.cached_from else ""
        child = node.add(f"ZenML step {name} {step.id}, {STATUS_WORDS.get(step.status, step.status)}{source}")
        for artifact in sorted(step.outputs, key=lambda artifact: artifact.name):
            digest = f", hash {artifact.hash[:DIGITS]}" if artifact.hash else ""
            child.add(f"{artifact.name} version {artifact.version}, {artifact.id}{digest}")
    for run in version.mlflow_runs.get(name, []):
        node.add(f"MLflow run {run} ({name})")


def row_tree(row_id: str, seen: Sequence[RowLineage]) -> Tree:
    """Which versions saw a row, and where it and its rationales come from."""
    root = Tree(f"row {row_id}, seen by {plural(len(seen), 'version')}")
    for version in seen:
        path, use = str(version.data["path"] or ""), USES.get(version.split, version.split)
        aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
        node = root.add(f"{version.name} version {version.version}{aliases} {use}")
        file, _, place = (version.place or "").partition(": ")  # of a row in a file; the path may end in its name
        if not (place and path.endswith(file)):
            place = version.place or ""
        places = ", ".join(part for part in (path, place) if part)
        source = node.add(f"row: {version.data['format'] or 'unknown format'} {places}".rstrip())
        source.add(f"fingerprint of the data {version.data_sha256}")
        for rationale in version.rationales:
            stages = " and ".join(stage.replace("stage", "Stage ") for stage in rationale["stages"])
            child = node.add(f"rationale of {rationale['source']}: taken by {stages or 'no stage'}")
            line = "" if rationale["row"] is None else f", {rationale['counted']} {rationale['row']}"
            child.add(f"from {rationale['file'] or 'the row itself'}{line}")
            for name, value in rationale.items():
                if name not in PROVENANCE_SHOWN_ELSEWHERE and value not in (None, "", []):
                    text = ", ".join(map(str, value)) if isinstance(value, list) else value
                    child.add(f"{name.replace('_', ' ')}: {text}")
        if not version.rationales:
            node.add("rationale: none, its label alone was used")
        if version.not_reachable:
            node.add(f"not reachable: {version.not_reachable}; so where the row lies in its file is not known")
    return root


def difference_tree(difference: VersionDifference) -> Tree:
    """What changed, part by part, and the metrics before and after."""
    root = Tree(f"{difference.before} -> {difference.after}")
    for part, changes in difference.changed.items():
        node = root.add(f"{part}: {len(changes)} changed")
        for key, change in changes.items():
            old, new = ("not set" if value is None else value for value in (change.before, change.after))
            node.add(f"{key}: {old} -> {new}")
    if not difference.changed:
        root.add("nothing changed in data, rationales, code, locked versions, seeds or configuration")
    caution = {
        True: "",
        False: ": the data, or how they are read, are not the same, so they may be of other test rows",
        None: ": it is not known whether the data are the same, so they may be of other test rows",
    }
    node = root.add(f"metrics{caution[difference.same_data]}")
    node.add(VERDICTS)
    for name, metric_change in difference.metrics.items():
        node.add(_metric_line(name, metric_change))
    return root


def _metric_line(name: str, change: MetricChange) -> str:
    metric = GATE_METRICS[name]
    old, new = ("not measured" if side is None else side.text() for side in (change.before, change.after))
    line = f"{metric.name}, {'more' if metric.higher_is_better else 'less'} is better: {old} -> {new}"
    if change.difference is None:
        return line
    if change.difference == 0:
        return f"{line}, the same"
    paired = change.paired or IntervalEstimate(None)
    line += f", {format_comparably(change.difference, 0.0, signed=True)[0]}"
    line += f", {verdict_of(paired, 1 if metric.higher_is_better else -1)}"
    return line if paired.low is None else f"{line}: on the same rows {paired.text(signed=True)}"


def _short(value: Any) -> str:
    """A value of a configuration in one line."""
    if isinstance(value, list):
        return "[" + ", ".join(map(_short, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_short(inner)}" for key, inner in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "none"}[value]
    return repr(value) if isinstance(value, str) and (not value or set(value) & set(" ,=")) else str(value)
