"""The walls of the architecture: who may import whom, and what an import may do."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


ORDER = (
    "errors", "text", "registered", "signals", "files", "failures", "label_scores", "config", "signing", "reports",
    "privacy", "synthetic", "data", "llm", "rationales", "modeling", "training", "evaluation", "inference", "serving",
    "review", "drift", "monitoring", "gate", "planning", "lineage", "model_card", "papers", "workflows", "draft",
    "search",
)  # fmt: skip
"""The parts of `r2d` from the lowest to the highest: each may import itself and what stands to its left."""


def imported(folder: str) -> dict[str, set[str]]:
    """Module -> names of everything that it imports: at the top, inside a function, or for types alone."""
    imports: dict[str, set[str]] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        imports[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = names
    return imports


@pytest.mark.parametrize("stranger", ["zenml", "mlflow", "kubernetes", "typer", "steps", "pipelines", "mlops"])
def test_the_library_imports_no_orchestrator_and_no_registry(stranger: str) -> None:
    modules = imported("r2d")
    assert len(modules) > 20
    assert [module for module, names in modules.items() if any(n.split(".")[0] == stranger for n in names)] == []


def test_each_part_of_the_library_imports_only_those_below_it() -> None:
    modules = imported("r2d")
    parts = {module.split(".")[1] for module in modules if "." in module}
    assert parts == set(ORDER), "ORDER above names each part of r2d once"
    upwards = [
        f"{module} imports {name}"
        for module, names in modules.items()
        for name in names
        if "." in module and name.startswith("r2d.")
        if ORDER.index(name.split(".")[1]) > ORDER.index(module.split(".")[1])
    ]
    assert upwards == []
    tour = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8").replace("\n>", "")
    assert f" {', '.join(ORDER)}\n" in tour, "docs/tour.md has the same order"


def test_upwards_from_mlops_leads_what_starts_a_pipeline_and_what_reads_a_stored_table() -> None:
    upwards = {
        (module, name.split(".")[0])
        for folder, above in {"steps": ("pipelines",), "mlops": ("steps", "pipelines")}.items()
        for module, names in imported(folder).items()
        for name in names
        if name.split(".")[0] in above
    }
    assert upwards == {("mlops.retraining", "pipelines"), ("mlops.search", "pipelines"), ("mlops.erasure", "steps")}


def test_no_module_imports_itself_through_others() -> None:
    modules = {
        module: names for folder in ("r2d", "steps", "pipelines", "mlops") for module, names in imported(folder).items()
    }
    graph = {module: names & modules.keys() - {module} for module, names in modules.items()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("word", ["import pickle", "pickle.load", "trust_remote_code=True", "torch.load(", "eval("])
def test_nothing_unsafe_is_loaded(word: str) -> None:
    sources = [path for folder in ("r2d", "steps", "pipelines", "mlops") for path in (ROOT / folder).rglob("*.py")]
    code = {path: path.read_text(encoding="utf-8").replace(".eval()", "") for path in sources}
    assert [path for path, text in code.items() if word in text] == []


FINGERPRINT = """
from r2d.config.data import DataConfig
from r2d.data.fingerprint import data_fingerprint
data_fingerprint(DataConfig(format="csv", path="README.md", labels={"names": ["a", "b"]}))
"""
CHECK = """
from pathlib import Path
import mlops.cli.runs
from r2d.config.loading import load_config
load_config(Path("configs/demo.yaml"))
"""
MISSING = """
import contextlib
from pathlib import Path
from r2d.config.loading import load_config
from r2d.errors import DataError
from r2d.workflows import check_files
run = load_config(Path("docs/delivery/delivery.yaml"))
sources = {"llm": run.rationales.sources["llm"].model_copy(update={"paths": ("nowhere.jsonl",)})}
with contextlib.suppress(DataError):
    check_files(run.model_copy(update={"rationales": run.rationales.model_copy(update={"sources": sources})}))
"""
HISTORY = """
import contextlib, io
from mlops.cli.main import app
with contextlib.redirect_stdout(io.StringIO()):
    app(["history", "--help"], standalone_mode=False)
"""


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        (CHECK, {"torch", "transformers", "zenml", "mlflow", "pandas", "pyarrow", "sklearn"}),
        (FINGERPRINT, {"torch", "datasets", "pandas"}),
        (MISSING, {"great_expectations", "torch"}),
        (HISTORY, {"mlops.cli.models", "r2d.config.run", "mlflow", "pyarrow"}),
        ("import r2d.reports.progress", {"rich", "matplotlib", "jinja2"}),
        ("import r2d.inference.infer", {"torch", "transformers", "pandas"}),
        ("import r2d.workflows", {"torch", "transformers"}),
    ],
    ids=[
        "check of a config",
        "fingerprint",
        "missing file",
        "help of a command",
        "progress",
        "batch before its model",
        "validation",
    ],
)
def test_what_is_quick_imports_nothing_heavy(code: str, heavy: set[str]) -> None:
    command = [sys.executable, "-c", f"import sys\n{code}\nprint(sorted({heavy} & sys.modules.keys()))"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_pipeline_reads_without_arithmetic() -> None:
    for path in (ROOT / "pipelines").glob("*.py"):
        operators = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.Div | ast.BitOr)
        ]
        assert operators == [], f"{path.name}: paths may be joined and types united, nothing else"


def test_each_step_names_the_outputs_of_its_materializers() -> None:
    """ZenML gives one materializer to a set of names, whose order is another in each process, as is its cache key."""
    for path in (ROOT / "steps").glob("*.py"):
        keywords = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.keyword)]
        given = [keyword.value for keyword in keywords if keyword.arg == "output_materializers"]
        assert all(isinstance(value, ast.Dict) for value in given), f"{path.name}: name each output"
