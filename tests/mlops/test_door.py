"""What a command shows when it ends by an error or a signal, and what it lets others read."""

from __future__ import annotations

import gc
import importlib.metadata
import io
import logging
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from zenml.logger import ZenMLConsoleFormatter

from mlops import door
from pipelines.outcome import RunError, ends_in_one_line
from pipelines.training import reason2decide
from r2d.config.loading import load_config
from r2d.errors import ConfigError
from r2d.signals import signals_caught

UNKNOWN_STACK = "Stack 'nostack' cannot be activated. Please make sure it is registered."


@pytest.fixture(autouse=True)
def work_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where logs go; the rights of new files come back afterwards."""
    monkeypatch.setenv("R2D_WORK_DIR", str(tmp_path))
    umask = os.umask(0o022)
    yield tmp_path
    os.umask(umask)


def raised(code: str, file: str) -> Exception:
    """The error of a program that stands in that file."""
    try:
        exec(compile(code, file, "exec"), {})
    except Exception as error:
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # without this file
        return error
    raise AssertionError


def test_an_unknown_stack_is_said_in_one_line_with_its_fix(
    work_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/venv/bin/zenml", "pipeline", "run"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.delenv("ZENML_ENABLE_RICH_TRACEBACK", raising=False)
    door.enter()
    error = raised(f"raise KeyError({UNKNOWN_STACK!r})", "/site-packages/zenml/client.py")
    sys.excepthook(type(error), error, error.__traceback__)
    (log,) = (work_dir / "logs").iterdir()
    said = capsys.readouterr().err
    assert said == f"Error: ZenML: {UNKNOWN_STACK[:-1]}; `zenml stack list` names the stacks [log: {log}]\n"


def test_ctrl_c_before_a_run_begins_is_said_as_later_and_is_no_error(
    work_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    door.show_error(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert capsys.readouterr().err == f"{door.STOPPED.format('Ctrl-C')}\n"
    assert not (work_dir / "logs").exists()


def test_other_programs_keep_their_way_to_show_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.excepthook
    monkeypatch.setattr(sys, "argv", ["/home/nurse/notebook.py"])
    monkeypatch.delenv("ZENML_ENABLE_RICH_TRACEBACK", raising=False)
    door.enter()
    assert sys.excepthook is before
    assert "ZENML_ENABLE_RICH_TRACEBACK" not in os.environ


@pytest.mark.parametrize("terminal", [False, True])
def test_a_log_that_goes_to_a_file_has_no_escape_codes(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/venv/bin/zenml", "pipeline", "run"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    door.enter()
    record = logging.LogRecord("zenml.steps", logging.INFO, "", 0, "Step `%s` has started.", ("evaluate",), None)
    line = ZenMLConsoleFormatter().format(record)
    assert ("\x1b" in line) is terminal
    assert "evaluate" in line


@pytest.mark.parametrize(
    "content", ["", "- 1", "7", "parameter: {}", "parameters: 7", "parameters: {data: {}}", "parameters: {config: }"]
)
def test_a_run_says_of_a_yaml_of_another_shape_what_a_check_says(content: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as checked:
        load_config(path)
    with pytest.raises(RunError, match=re.escape(str(checked.value))):
        reason2decide.with_options(config_path=str(path))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("steps: 5", "steps: Input should be a valid dictionary"),
        ("enable_cache: maybe", "enable_cache: Input should be a valid boolean"),
        ("steps: {evaluate: {enable_cachee: false}}", "steps.evaluate.enable_cachee: unknown key (did you mean"),
    ],
)
def test_a_run_names_the_key_that_zenml_cannot_take(line: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(f"parameters: {{config: {{}}}}\n{line}\n")
    with pytest.raises(RunError, match=re.escape(f"run.yaml: 1 fault\n  {fault}")):
        reason2decide.with_options(config_path=str(path))


@pytest.mark.parametrize("name", ["ZENML_ACTIVE_STACK", "ZENML_STACK", "ZENML_STACK_NAME"])
def test_a_variable_that_would_select_no_stack_is_refused_with_the_one_that_does(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZENML_OTHER_STACK", "")  # which selects nothing
    monkeypatch.setenv(name, "gpu")
    with pytest.raises(RunError, match=f"^{name}: .*set ZENML_ACTIVE_STACK_ID to the name"):
        reason2decide(config={})


@pytest.mark.parametrize("pod", [False, True])
def test_files_are_their_owners_alone_and_in_a_pod_the_groups_too(
    pod: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    if pod:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    door.enter()
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("folder", "file")]
    assert modes == ([0o770, 0o660] if pod else [0o700, 0o600])


def test_an_error_where_our_code_had_a_part_is_shown_without_its_message() -> None:
    error = raised("int('Qanary')", "/project/r2d/data/load.py")
    said = door.one_line(error)
    assert said.startswith("unexpected ValueError (/project/r2d/data/load.py, line 1, in <module>)")
    assert "Qanary" not in said


def test_an_error_of_the_configuration_needs_no_log(work_dir: Path) -> None:
    assert door.one_line(ConfigError("a: unknown key")) == "a: unknown key"
    assert not (work_dir / "logs").exists()


def test_a_failed_step_ends_the_run_with_its_name_and_reason_and_no_traceback_on_the_screen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen, zenml = logging.StreamHandler(sys.stderr), logging.getLogger("zenml.orchestrators.local.local_orchestrator")

    def fail() -> None:
        with ends_in_one_line():
            try:
                raise ConfigError("the model is gone; restore it")
            except ConfigError as error:
                zenml.error("Failed to run step `%s`: %s", "train_stage2", error)
                zenml.exception("Step %s failed.", "train_stage2")
            zenml.warning("Skipping step %s due to the failed step(s)", "evaluate")
            zenml.warning("another line")
            raise RuntimeError("Pipeline run has failed")

    logging.root.addHandler(screen)
    try:
        with pytest.raises(RunError) as ended:
            fail()
    finally:
        logging.root.removeHandler(screen)
    assert str(ended.value).startswith("step train_stage2: the model is gone; restore it [log: ")
    assert capsys.readouterr().err == "another line\n"


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_ends_a_command_with_the_word_that_it_goes_on(
    number: signal.Signals, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left, signals_caught(door.stop):
        signal.raise_signal(number)
    assert left.value.code == 128 + number
    said = f"stopped by {name}; what is finished is kept: the same command goes on from there\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("first", ["import zenml\n", ""], ids=["after_zenml", "before_zenml"])
def test_a_remark_is_written_once_and_not_among_the_results_whatever_zenml_adds(first: str) -> None:
    program = first + (
        "import logging\nfrom mlops.door import log_to_console\nlog_to_console()\n"
        "logging.getLogger('r2d.data').info('before')\nimport zenml\n"
        "logging.getLogger('r2d.data').info('after')\nlogging.getLogger('zenml.steps').info('a step')\n"
        "logging.getLogger('other').info('of no interest')\nlogging.getLogger('other').warning('a warning')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert (done.stdout, done.stderr.splitlines()) == ("", ["before", "after", "a step", "a warning"])


def test_a_handler_that_writes_elsewhere_hears_every_line_too(caplog: pytest.LogCaptureFixture) -> None:
    before = logging.root.handlers[:]
    heard = io.StringIO()
    logging.root.addHandler(logging.StreamHandler(heard))
    try:
        door.log_to_console()
        logging.getLogger("r2d.data").info("of two ears")
    finally:
        logging.root.handlers[:] = before
    assert heard.getvalue() == "of two ears\n"
    assert "of two ears" in caplog.text


def test_cycles_are_searched_as_usual_once_a_command_outlasts_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()  # ends the start of a command of another test
    usual = gc.get_threshold()
    monkeypatch.setattr("mlops.door.keep_private", lambda: None)
    door.start()
    door.start()  # ZenML's hook may come after the command's own
    assert gc.get_threshold()[0] == door.OBJECTS_OF_A_START
    gc.collect()
    assert gc.get_threshold() == usual


def test_the_installed_packages_are_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlops.door.keep_private", lambda: None)
    door.start()
    first, again = (importlib.metadata.packages_distributions() for _ in range(2))
    assert again is first
    assert "zenml" in first["zenml"]
    gc.collect()
