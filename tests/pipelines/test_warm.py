"""The door that makes these tests quick is the one that a user goes through."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pipelines.conftest import Workplace

FACTS = """
import gc, os, sys
import r2d.config.run
ours = ("r2d", "steps", "pipelines", "mlops", "tests")
print(json.dumps({
    "code": r2d.config.__file__, "folder": os.getcwd(), "arguments": sys.argv, "input": sys.stdin.read(),
    "variables": dict(os.environ), "path": sys.path,
    "imported": sorted(name for name in sys.modules if name.split(".")[0] in ours),
    "is warm": "torch" in sys.modules and gc.get_freeze_count() > 0,
}))
sys.exit(3)
"""


@pytest.mark.slow
def test_a_warm_command_is_given_what_one_in_a_process_of_its_own_is_given(tmp_path: Path) -> None:
    place = Workplace(tmp_path, warm=True)
    program = ("python", "-c", f"import json{FACTS}", "argument")
    done = [place.type(*program, stdin="a line\n", check=False, anew=anew) for anew in (False, True)]
    warm, anew = (json.loads(one.stdout) for one in done)
    assert (warm.pop("is warm"), anew.pop("is warm")) == (True, False)
    for fact in anew:
        assert warm[fact] == anew[fact], fact
    assert Path(warm["code"]).is_relative_to(place.folder)
    assert [one.returncode for one in done] == [3, 3]
