"""Which code the result of a step depends on, and its hash: one answer for caching, for run keys and for retraining.

The code of a step is every source file of `r2d` and `steps` that its module imports, directly or through others, read
as a syntax tree: comments, docstrings and formatting do not count. Left out is what cannot change a result: progress,
tracking and the registry (`mlops`) always, pages and pictures where a step's result is weights.
"""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUR_PACKAGES = ("r2d", "steps")
WITHOUT_EFFECT = (
    "r2d.training.progress",
    "r2d.training.step_clock",
    "r2d.reports.progress",
    "steps.cache",
    "steps.work_dir",
)
"""Modules and packages that report, store or look up: no result depends on how they do it."""
PRESENTATION = ("r2d.reports", "r2d.training.curves")
"""Modules and packages that draw and render. They count only for steps that return pages."""
COMMIT_VARIABLE = "R2D_CODE_COMMIT"
"""Names the commit where the code lies without its repository, as in an image; ends in `+dirty` for changed files."""
CODE = ("r2d", "steps", "pipelines", "mlops", "reason2decide.py", "pyproject.toml", "requirements.lock")
MODEL_STEPS = (
    "load_examples",
    "validate_examples",
    "ingest_rationales",
    "train_stage1",
    "train_stage2",
    "evaluate",
)
"""Every step of the main job that the weights and metrics of a model depend on."""


def step_code_hash(step_name: str, *, with_pages: bool = False) -> str:
    """SHA-256 over the code that the result of a step depends on.

    Args:
        step_name: of a module in `steps/`.
        with_pages: whether pages are a result of the step, so that templates and plots count too.
    """
    digest = hashlib.sha256()
    for path in source_files(f"steps.{step_name}", with_pages=with_pages):
        digest.update(f"{path.relative_to(ROOT)}\0{_file_hash(path, path.stat().st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def model_code_hash() -> str:
    """SHA-256 over the code that the weights and metrics of a model depend on, whatever its commit."""
    return hashlib.sha256("".join(map(step_code_hash, MODEL_STEPS)).encode()).hexdigest()


def source_files(module_name: str, *, with_pages: bool = False) -> list[Path]:
    """Our files that a module's results depend on, templates among them where pages are a result."""
    left_out = WITHOUT_EFFECT if with_pages else (*WITHOUT_EFFECT, *PRESENTATION)
    found: set[Path] = set()
    seen = {module_name}
    waiting = [module_name]
    while waiting:
        path = _file_of(waiting.pop())
        if path is None or path in found:
            continue
        found.add(path)
        if with_pages:
            found.update(path.parent.glob("*.j2"))
        imported = {name for name in _imported_modules(path, path.stat().st_mtime_ns) if not _is_in(name, left_out)}
        waiting += imported - seen
        seen |= imported
    return sorted(found)


def _is_in(module_name: str, packages: tuple[str, ...]) -> bool:
    return any(module_name == package or module_name.startswith(f"{package}.") for package in packages)


def _file_of(module_name: str) -> Path | None:
    base = ROOT.joinpath(*module_name.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.exists()), None)


@lru_cache(maxsize=1024)
def _file_hash(path: Path, mtime_ns: int) -> str:
    """Of a template its bytes; of a Python file its syntax tree without docstrings."""
    content = path.read_bytes()
    if path.suffix == ".py":
        content = ast.dump(_WithoutDocstrings().visit(ast.parse(content))).encode()
    return hashlib.sha256(content).hexdigest()


class _WithoutDocstrings(ast.NodeTransformer):
    """Removes every string that stands alone as a statement: docstrings of modules, classes, functions, attributes."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_docstring = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_docstring else node


@lru_cache(maxsize=1024)
def _imported_modules(path: Path, mtime_ns: int) -> list[str]:
    return list(_imports(ast.parse(path.read_text(encoding="utf-8"))))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            if parts[0] in OUR_PACKAGES:
                # A module's packages run before it does.
                yield from (".".join(parts[: end + 1]) for end in range(len(parts)))


def code_state(root: Path) -> tuple[str | None, bool | None]:
    """The commit of the code at `root`, and whether files of it were changed since."""
    named = os.environ.get(COMMIT_VARIABLE, "").strip()
    if named:
        return named.removesuffix("+dirty"), named.endswith("+dirty")
    top = _git(root, "rev-parse", "--show-toplevel")
    # A copy of the code inside another repository does not have that repository's commit.
    if top is None or Path(top).resolve() != root.resolve():
        return None, None
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--", *CODE)
    return (None, None) if commit is None or changed is None else (commit, bool(changed))


def lock_hash(root: Path) -> str | None:
    """SHA-256 of `requirements.lock`."""
    lock = root / "requirements.lock"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None


def _git(root: Path, *arguments: str) -> str | None:
    """What git says; None where there is no git, no repository, or no commit."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
