"""What `make` says before it installs anything."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_an_environment_of_another_python_is_named_with_what_to_do(tmp_path: Path) -> None:
    for file in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path)
    older = tmp_path / ".venv" / "bin" / "python"
    older.parent.mkdir(parents=True)
    pretends = "import sys; sys.version_info = (3, 10, 13); sys.version = '3.10.13 (main)'"
    older.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{pretends}\n$2"\n')
    older.chmod(0o755)
    command = ["make", "setup", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    said = "Python 3.11 is needed; .venv has 3.10.13: delete it with `rm -r .venv`, and type the same again"
    assert done.stderr.splitlines()[0] == said
