"""The code that the result of a step depends on, and its hash: for cache keys, run keys and retraining.

The code of a step is every source file of `r2d` and `steps` that its module imports, directly or through others, read
as a syntax tree: comments, docstrings and formatting do not count. The YAML files beside them, such as the shipped
findings, count too. Left out is what cannot change a result: progress, tracking and the registry (`mlops`) always,
pages and pictures where a step's result is weights.
"""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from functools import cache, lru_cache
from pathlib import Path

from mlops.remembered import Remembered
from r2d.files import work_root

ROOT = Path(__file__).resolve().parent.parent
OUR_PACKAGES = ("r2d", "steps")
WITHOUT_EFFECT = (
    "r2d.training.progress", "r2d.reports.progress", "r2d.modeling.manifest", "r2d.signing",
    "steps.cache", "steps.private", "steps.work_dir",
)  # fmt: skip
"""Modules and packages that report, store, look up or check: no result depends on how they do it."""
PRESENTATION = (
    "r2d.reports",
    "r2d.data.validation.plots",
    "r2d.training.curves",
    "r2d.evaluation.plots",
    "r2d.evaluation.report",
    "r2d.evaluation.summary",
)
"""Modules and packages that draw and render. They count only for steps that return pages."""
COMMIT_VARIABLE = "R2D_CODE_COMMIT"
"""Names the commit where the code lies without its repository, as in an image; ends in `+dirty` for changed files."""
MOST_READINGS = 2000
"""Kept of Python files in their present and earlier states; the project has about 300."""
CODE = ("r2d", "steps", "pipelines", "mlops", "reason2decide.py", "pyproject.toml", "requirements.lock")
MODEL_STEPS = ("load_examples", "validate_examples", "ingest_rationales", "train_stage1", "train_stage2", "evaluate")
"""Every step of the main job that the weights and metrics of a model depend on."""


def step_code_hash(step_name: str, *, with_pages: bool = False) -> str:
    """SHA-256 over the code that the result of a step depends on.

    Args:
        step_name: of a module in `steps/`.
        with_pages: whether pages are a result of the step, so that templates and plots count too.
    """
    digest = hashlib.sha256()
    for path in source_files(f"steps.{step_name}", with_pages=with_pages):
        digest.update(f"{path.relative_to(ROOT)}\0{_read_code(path, path.stat().st_mtime_ns)[0]}\n".encode())
    _readings(work_root()).keep()
    return digest.hexdigest()


def model_code_hash() -> str:
    """SHA-256 over the code that the weights and metrics of a model depend on, whatever its commit."""
    return hashlib.sha256("".join(map(step_code_hash, MODEL_STEPS)).encode()).hexdigest()


def source_files(module_name: str, *, with_pages: bool = False) -> list[Path]:
    """Our files that a module's results depend on: modules, the YAML files beside them, and the templates beside them
    where pages are a result."""
    left_out = WITHOUT_EFFECT if with_pages else (*WITHOUT_EFFECT, *PRESENTATION)
    files: set[Path] = set()
    seen, waiting = {module_name}, [module_name]
    while waiting:
        path = module_file(waiting.pop())
        if path is None or path in files:
            continue
        files |= {path, *path.parent.glob("*.yaml"), *(path.parent.glob("*.j2") if with_pages else ())}
        imported = {
            name
            for name in _read_code(path, path.stat().st_mtime_ns)[1] - seen
            if not any(f"{name}.".startswith(f"{package}.") for package in left_out)
        }
        waiting += imported
        seen |= imported
    return sorted(files)


def module_file(name: str) -> Path | None:
    """The file of one of our modules or packages; None where there is none of that name."""
    base = ROOT.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.exists()), None)


@lru_cache(maxsize=1024)
def _read_code(path: Path, mtime_ns: int) -> tuple[str, frozenset[str]]:
    """SHA-256 of a Python file's syntax tree without docstrings, or of another file's bytes; and our modules that it
    imports, anywhere in it, with the packages around them, which run first."""
    content = path.read_bytes()
    if path.suffix != ".py":
        return hashlib.sha256(content).hexdigest(), frozenset()
    digest, packages = _readings(work_root()).of(content)
    return digest, frozenset(packages)


class _Readings:
    """What was read of Python files, by their bytes, now and by earlier processes: parsing them all takes seconds."""

    def __init__(self) -> None:
        reader = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
        self._kept = Remembered("Python files", lambda: f"{sys.version} {reader}")  # another reader, another reading
        self._by_content: dict[str, tuple[str, list[str]]] = self._kept.answer() or {}
        self._has_new = False

    def of(self, content: bytes) -> tuple[str, list[str]]:
        """As of `_read_code`."""
        key = hashlib.sha256(content).hexdigest()
        if key not in self._by_content:
            imports = _Imports()
            tree = ast.dump(imports.visit(ast.parse(content)))
            ours = [name.split(".") for name in imports.names if name.split(".")[0] in OUR_PACKAGES]
            packages = {".".join(parts[: end + 1]) for parts in ours for end in range(len(parts))}
            self._by_content[key] = hashlib.sha256(tree.encode()).hexdigest(), sorted(packages)
            self._has_new = True
        return self._by_content[key]

    def keep(self) -> None:
        """Keep the newest for later processes."""
        if self._has_new:
            self._kept.keep(dict(list(self._by_content.items())[-MOST_READINGS:]))
            self._has_new = False


_readings = cache(lambda root: _Readings())  # the folder may change, in tests


class _Imports(ast.NodeTransformer):
    """Collects the names that are imported, and removes every string that stands alone as a statement: docstrings of
    modules, classes, functions, attributes."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_docstring = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_docstring else node

    def visit_Import(self, node: ast.Import) -> ast.Import:
        self.names += [alias.name for alias in node.names]
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        if node.module and not node.level:
            self.names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        return node


def code_state(root: Path) -> tuple[str | None, bool | None]:
    """The commit of the code at `root`, and whether its files were changed since; None where no commit is known."""
    declared = os.environ.get(COMMIT_VARIABLE, "").strip()
    if declared:
        return declared.removesuffix("+dirty"), declared.endswith("+dirty")
    top = _git(root, "rev-parse", "--show-toplevel")
    # A copy of the code inside another repository does not have that repository's commit.
    if top is None or Path(top).resolve() != root.resolve():
        return None, None
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", *CODE)
    return (None, None) if commit is None or changes is None else (commit, bool(changes))


def lock_hash(root: Path) -> str | None:
    """SHA-256 of `requirements.lock`; None where there is none."""
    lock = root / "requirements.lock"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None


def _git(root: Path, *arguments: str) -> str | None:
    """Output of a git command; None where there is no git, no repository, or no commit."""
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
