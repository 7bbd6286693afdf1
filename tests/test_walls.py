"""The walls of the architecture: who may import whom, and what an import may do."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def imported(folder: str) -> dict[str, set[str]]:
    """File -> top-level names of everything it imports, at the top or inside a function."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
        found[str(path.relative_to(ROOT))] = names
    return found


@pytest.mark.parametrize("stranger", ["zenml", "mlflow", "kubernetes", "typer", "steps", "pipelines", "mlops"])
def test_the_library_imports_no_orchestrator_and_no_registry(stranger: str) -> None:
    modules = imported("r2d")
    assert len(modules) > 20
    assert [path for path, names in modules.items() if any(n.split(".")[0] == stranger for n in names)] == []


def test_training_does_not_import_evaluation() -> None:
    offenders = [path for path, names in imported("r2d/training").items() if any("r2d.evaluation" in n for n in names)]
    assert offenders == [], "an edit of the evaluation would train every model anew"


@pytest.mark.parametrize("word", ["import pickle", "pickle.load", "trust_remote_code=True", "torch.load(", "eval("])
def test_nothing_unsafe_is_loaded(word: str) -> None:
    sources = [path for folder in ("r2d", "steps", "pipelines", "mlops") for path in (ROOT / folder).rglob("*.py")]
    code = {path: path.read_text(encoding="utf-8").replace(".eval()", "") for path in sources}
    assert [path for path, text in code.items() if word in text] == []


def test_importing_the_library_is_quick_and_light() -> None:
    code = (
        "import sys, r2d.config.run; print(sorted({'torch', 'transformers', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_pipeline_reads_without_arithmetic() -> None:
    for path in (ROOT / "pipelines").glob("*.py"):
        operators = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.Div | ast.BitOr)
        ]
        assert operators == [], f"{path.name}: paths may be joined and types united, nothing else"
