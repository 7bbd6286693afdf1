"""The main job: from a data source to an evaluated, registered model that decides and explains.

zenml pipeline run reason2decide                                  # configs/demo.yaml
zenml pipeline run reason2decide --config configs/pubmedqa.yaml
"""

from pathlib import Path
from typing import Any

from zenml.steps.entrypoint_function_utils import StepArtifact

from mlops.registry.aliases import champion_to_compare
from mlops.registry.forgotten import without_forgotten
from mlops.registry.versions import pin_models, require_trust
from mlops.run_record import RunRecord
from pipelines.outcome import pipeline
from r2d.config.loading import load_config, parse_config
from r2d.config.run import RunConfig
from r2d.config.training import MethodConfig
from r2d.data.fingerprint import data_fingerprint, files_fingerprint
from r2d.rationales.sources import source_files
from steps.evaluate import evaluate
from steps.ingest_rationales import ingest_rationales
from steps.load_examples import load_examples
from steps.register_model import register_model
from steps.train_stage1 import train_stage1
from steps.train_stage2 import train_stage2
from steps.validate_examples import validate_examples

DEMO = Path(__file__).resolve().parent.parent / "configs" / "demo.yaml"


@pipeline("reason2decide")
def reason2decide(config: dict[str, Any] | None = None) -> None:
    """Reason2Decide (arXiv 2512.20074) as a DAG.

    Args:
        config: the sections of `r2d.config.RunConfig`; by default those of `configs/demo.yaml`.
    """
    run = load_config(DEMO) if config is None else parse_config(config)
    run = without_forgotten(pin_models(run))
    labels, record = run.data.labels, RunRecord.of(run)
    champion = champion_to_compare(run.registration.model_name, record.key)
    require_trust(run, champion)

    stage2_model, stage2_examples, provenance = trained_model(run)
    label_only = None
    if run.evaluation.compare_with_sft:
        label_only, _ = train_stage2(
            stage2_examples, None, run.stage2, MethodConfig(name="sft"), run.model, labels, id="train_sft"
        )
    metrics, predictions, report, *_ = evaluate(
        stage2_examples, stage2_model, run.evaluation, run.data, run.validation.privacy, champion, label_only,
        files_fingerprint(run.evaluation.files()), run.judge_remarks(),
    )  # fmt: skip
    register_model(stage2_model, metrics, report, predictions, stage2_examples, provenance, record)


def trained_model(run: RunConfig) -> tuple[StepArtifact, StepArtifact, StepArtifact]:
    """The weights, the rows with their rationales, and where each rationale is from."""
    valid_examples, quarantined = validated_examples(run)
    sources = files_fingerprint(source_files(run.rationales.sources))
    stage1_examples, stage2_examples, provenance, *_ = ingest_rationales(
        valid_examples, quarantined, run.rationales, run.data, run.validation.privacy, sources
    )
    stage1_model = None
    if run.method.has_stage1:
        stage1_model, _ = train_stage1(stage1_examples, run.stage1, run.model, run.data.labels)
    stage2_model, _ = train_stage2(stage2_examples, stage1_model, run.stage2, run.method, run.model, run.data.labels)
    return stage2_model, stage2_examples, provenance


def validated_examples(run: RunConfig) -> tuple[StepArtifact, StepArtifact]:
    """The rows that go on, and those set aside."""
    examples, findings = load_examples(run.data, run.validation.privacy, data_fingerprint(run.data))
    valid_examples, quarantined, *_ = validate_examples(
        examples,
        findings,
        run.validation,
        run.data.labels,
        run.model,
        files_fingerprint(run.validation.files()),
        run.evaluation.seen_rows == "refuse",
    )
    return valid_examples, quarantined
