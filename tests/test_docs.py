"""What README, CONTRIBUTING and docs name is there: files, modules, functions, links, commands with their options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from mlops.cli.main import app
from r2d.config.data import DataConfig
from r2d.config.rationales import RationalesConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks/results/README.md",
    *sorted((ROOT / "tests/kubernetes").glob("*/README.md")),
]
PACKAGES = ("r2d", "steps", "pipelines", "mlops", "benchmarks", "tests")
NOT_OURS = ("None", "MLFLOW_TRACKING_URI")
FOLDERS = (*PACKAGES, "configs", "docs", "k8s", ".github")
SOURCES = {path: path.read_text(encoding="utf-8") for name in PACKAGES for path in (ROOT / name).rglob("*.py")}

of_every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def lines(page: Path) -> list[str]:
    return page.read_text(encoding="utf-8").splitlines()


def quoted(line: str) -> list[str]:
    return re.findall(r"`([^`]+)`", line)


def files_named(line: str) -> list[str]:
    """Every path in backticks: one below a folder of the project, or the end of the path of a source file."""
    named = [text.removesuffix("/") for text in quoted(line) if re.fullmatch(r"[\w./*-]+", text)]
    return [text for text in named if text.split("/")[0] in FOLDERS or re.search(r"\w\.(py|j2)$", text)]


def found(path: str) -> list[Path]:
    """The files of that name: the path from the project's root, or its end."""
    return [*ROOT.glob(path), *(file for file in SOURCES if f"/{file}".endswith(f"/{path}"))] or [
        file for name in PACKAGES for file in (ROOT / name).rglob(Path(path).name) if f"{file}".endswith(f"/{path}")
    ]


def module_of(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.exists()), None)


def commands(page: Path) -> Iterator[list[str]]:
    """Every command of a fenced block or of an inline code, in words, without its comment."""
    text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))
    blocks = re.findall(r"```(?:bash|yaml)\n(.*?)```", text, flags=re.DOTALL)
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for line in [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", prose):
        for part in re.split(r"&&|\||;|\$\(|--(?= )", line.split("  #")[0]):
            words = part.strip().removeprefix("- ").split()
            while words and "=" in words[0] and "/" not in words[0].split("=")[0]:
                words = words[1:]  # a variable before the command
            try:
                yield shlex.split(" ".join(words))
            except ValueError:  # half of a quoted text
                continue


@of_every_page
def test_every_file_in_backticks_exists(page: Path) -> None:
    assert [name for line in lines(page) for name in files_named(line) if not found(name)] == []


@of_every_page
def test_every_module_in_backticks_exists_and_has_the_name(page: Path) -> None:
    for line in lines(page):
        for name in quoted(line):
            if not re.fullmatch(rf"({'|'.join(PACKAGES)})(\.\w+)+", name) or found(name):
                continue
            module, _, last = name.rpartition(".")
            path = module_of(name) or module_of(module)
            assert path, name
            assert module_of(name) or re.search(rf"\b{last}\b", path.read_text(encoding="utf-8")), name


@of_every_page
def test_every_function_in_backticks_is_defined(page: Path) -> None:
    """In a table, in a file of the same row."""
    for line in lines(page):
        for name in re.findall(r"`(?:\w+\.)?(\w+)\(\)`", line):
            files = [file for path in files_named(line) for file in found(path)] if line.startswith("|") else SOURCES
            defined = rf"\b(def|class) {name}\b"
            assert any(re.search(defined, SOURCES.get(file, "")) for file in files), f"{name}: {line}"


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/tour.md", "docs/decisions.md"])
def test_every_class_and_constant_in_backticks_is_defined(page: str) -> None:
    for line in lines(ROOT / page):
        for name in quoted(line):
            if name in NOT_OURS:
                continue
            if re.fullmatch(r"[A-Z][A-Za-z0-9]+(_[A-Z0-9]+)*(\.[a-z_]+)?", name) and not (ROOT / name).exists():
                first, _, attribute = name.partition(".")
                defined = rf"(?m)^(class {first}\b|{first}\b[^=\n]*=)"
                files = [text for text in SOURCES.values() if re.search(defined, text)]
                assert any(re.search(rf"\b{attribute or first}\b", text) for text in files), name


@of_every_page
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", page.read_text(encoding="utf-8")):
        link = "".join(target)
        if re.match(r"https?:", link):
            continue
        path, _, heading = link.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), link
        if heading:
            titles = [line.lstrip("# ").lower() for line in lines(linked) if line.startswith("#")]
            assert heading in [re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles], link


@of_every_page
def test_every_command_exists_with_its_options_and_files(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in commands(page):
        program = Path(words[0]).name if words else ""
        if program == "make" and len(words) > 1 and re.fullmatch(r"[a-z-]+", words[1]):
            assert re.search(rf"^{words[1]}:", makefile, flags=re.MULTILINE), words
        elif program.startswith("python") and words[1:2] == ["-m"] and words[2].split(".")[0] in PACKAGES:
            assert module_of(words[2]), words
        elif program == "r2d" and len(words) > 1:
            check_r2d(words[1:])
        elif words[:3] == ["zenml", "pipeline", "run"] and "--config" in words:
            assert (ROOT / words[words.index("--config") + 1]).is_file(), words


def check_r2d(words: list[str]) -> None:
    command = typer.main.get_command(app)
    rest = list(words)
    while rest and hasattr(command, "commands"):
        assert rest[0] in command.commands, words
        command = command.commands[rest.pop(0)]
    options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    assert {word for word in rest if word.startswith("--")} <= options, words
    files = [word for word in rest if word.startswith(("configs/", "docs/", "k8s/"))]
    assert [file for file in files if not (ROOT / file).exists()] == []


README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_fits_a_sitting_and_its_commands_begin_as_known() -> None:
    assert len(README.splitlines()) < 250
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    programs = {line.split()[0] for block in blocks for line in block.splitlines() if line.strip()}
    assert programs == {"make", ".venv/bin/r2d", ".venv/bin/zenml"}


@pytest.mark.parametrize("config", sorted(set(re.findall(r"r2d check (configs/\S+\.yaml)", README))))
def test_the_check_command_of_the_readme_runs_as_it_stands(config: str) -> None:
    assert CliRunner().invoke(app, ["check", config]).exit_code == 0


def test_the_example_config_of_the_readme_is_right() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    sections = yaml.safe_load(block)["parameters"]["config"]
    DataConfig.model_validate(sections["data"])
    RationalesConfig.model_validate(sections["rationales"])


def test_every_departure_that_a_docstring_cites_has_its_row() -> None:
    cited = {
        number
        for text in SOURCES.values()
        for numbers in re.findall(r"\bdepartures? (\d+(?: and \d+)*)", text)
        for number in numbers.split(" and ")
    }
    rows = re.findall(r"^\| ([\d, ]+) \|", (ROOT / "docs/method.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert cited <= {number for row in rows for number in row.split(", ")}
