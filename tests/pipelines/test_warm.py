"""The door that makes these tests quick is the one that a user goes through."""

from __future__ import annotations

from pathlib import Path

from tests.pipelines.conftest import Workplace

FACTS = """
import os, sys
import r2d.config
answer = [r2d.config.__file__, os.getcwd(), sys.argv, sys.stdin.read(), dict(os.environ), sys.path]
answer += [sorted(name for name in sys.modules if name.split(".")[0] in ("r2d", "steps", "pipelines", "tests"))]
print(json.dumps(answer))
sys.exit(3)
"""


def test_a_warm_command_is_given_what_one_in_a_process_of_its_own_is_given(tmp_path: Path) -> None:
    place = Workplace(tmp_path, warm=True)
    program = ("python", "-c", f"import json{FACTS}", "argument")
    warm, anew = (place.type(*program, stdin="a line\n", check=False, anew=anew) for anew in (False, True))
    assert (warm.returncode, warm.stdout) == (3, anew.stdout)
    assert str(place.folder / "r2d") in warm.stdout
