"""Cache keys that see the `r2d` sources a step uses.

ZenML hashes a step's own function only, so that thin steps would keep stale results when the library behind them
changes. The key here is a hash of every source file that a step's module imports, directly or through others.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path

from zenml.config.cache_policy import CachePolicy

OUR_PACKAGES = ("r2d", "steps")
ROOT = Path(__file__).resolve().parent.parent


def by_sources(module_name: str) -> CachePolicy:
    """The cache policy of the step in that module; use as `@step(cache_policy=by_sources(__name__))`."""
    return CachePolicy(cache_func=f"{__name__}.{module_name.rsplit('.', 1)[-1]}")


def __getattr__(step_name: str) -> Callable[[], str]:
    """`steps.cache.<step>`: the function without arguments that ZenML looks up and calls for the key of that step."""
    if not (ROOT / "steps" / f"{step_name}.py").exists():
        raise AttributeError(f"module {__name__!r} has no attribute {step_name!r}")
    return partial(sources_hash, f"steps.{step_name}")


def sources_hash(module_name: str) -> str:
    """SHA-256 over the names and contents of all our source files that a module depends on."""
    digest = hashlib.sha256()
    for path in source_files(module_name):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def source_files(module_name: str) -> list[Path]:
    """Our files that a module depends on: modules imported anywhere in them, and templates beside those."""
    found: set[Path] = set()
    waiting = [module_name]
    asked = set(waiting)
    while waiting:
        path = _file_of(waiting.pop())
        if path is None or path in found:
            continue
        found.add(path)
        found.update(other for other in path.parent.glob("*.j2"))
        new = set(_imported_modules(path, path.stat().st_mtime_ns)) - asked
        asked |= new
        waiting += new
    return sorted(found)


def _file_of(module_name: str) -> Path | None:
    base = ROOT.joinpath(*module_name.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.exists()), None)


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
