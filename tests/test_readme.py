"""The README's commands are real: make's targets exist, and what is quick is run as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from r2d.config.data import DataConfig
from r2d.config.rationales import RationalesConfig

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("  #")[0].strip().removesuffix("#").split("    #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


def test_the_readme_fits_a_sitting() -> None:
    assert len(README.splitlines()) < 250


def test_every_command_of_the_readme_is_known_here() -> None:
    assert {shlex.split(command)[0] for command in COMMANDS} == {"make", ".venv/bin/r2d", ".venv/bin/zenml"}


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make")])
def test_make_knows_the_target(command: str) -> None:
    target = shlex.split(command)[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("command", [c for c in COMMANDS if "r2d check" in c])
def test_the_check_command_runs_as_it_stands(command: str) -> None:
    program, *arguments = shlex.split(command)
    done = subprocess.run(
        [Path(sys.executable).parent / Path(program).name, *arguments], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0


LONG = [c for c in COMMANDS if re.search("r2d (predict|evaluate|history|lineage)|zenml pipeline run", c)]


@pytest.mark.parametrize("command", LONG)
def test_the_long_commands_have_options_that_exist_and_files_that_are_there(command: str) -> None:
    program, *arguments = shlex.split(command)
    end = next((i for i, part in enumerate(arguments) if part.startswith("-")), len(arguments))
    subcommand = [part for part in arguments[:end] if part != "reason2decide"]
    shown = subprocess.run(
        [Path(sys.executable).parent / Path(program).name, *subcommand, "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for option in (part for part in arguments if part.startswith("--")):
        assert option in shown.stdout + shown.stderr
    for file in (part for part in arguments if part.endswith(".yaml")):
        assert (ROOT / file).exists()


def test_the_example_config_of_the_readme_is_right() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    sections = yaml.safe_load(block)["parameters"]["config"]
    DataConfig.model_validate(sections["data"])
    RationalesConfig.model_validate(sections["rationales"])
