"""Files are whole or not there, and hashes depend on names and contents alone."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from r2d.errors import ConfigError, TrainingError
from r2d.files import (
    file_hashes,
    folder_hash,
    held_alone,
    order_by_hash,
    partial_file,
    read_yaml,
    write_json,
    write_text,
)


def test_a_write_that_fails_leaves_the_old_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"a": 1})

    def fail_half_way() -> None:
        with partial_file(path) as aside:
            aside.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert json.loads(path.read_text()) == {"a": 1}
    write_json(path, {"b": "ü"})
    assert path.read_text(encoding="utf-8") == '{\n  "b": "ü"\n}\n'


def test_a_folder_is_known_by_names_and_contents_of_its_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "inner").mkdir(parents=True)
        write_text(tmp_path / name / "inner" / "a.txt", "content")
    assert folder_hash(tmp_path / "one") == folder_hash(tmp_path / "two")
    assert list(file_hashes(tmp_path / "one")) == ["inner/a.txt"]
    (tmp_path / "two" / "inner" / "a.txt").rename(tmp_path / "two" / "inner" / "b.txt")
    assert folder_hash(tmp_path / "one") != folder_hash(tmp_path / "two")


def test_the_order_by_hash_stays_when_rows_are_added_or_moved() -> None:
    ids = [f"row-{number}" for number in range(50)]
    order = [ids[place] for place in order_by_hash(ids)]
    moved = [*reversed(ids), "new"]
    assert [moved[place] for place in order_by_hash(moved) if moved[place] != "new"] == order
    assert order != ids


ALIASES = "\n".join(
    ["a0: &a0 [secret]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))]
).encode()
LINES = (
    "lines of one level begin in the same column, after spaces and no tab, a space follows a colon, and brackets and "
    "quotation marks are closed"
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory); give the path of a YAML file"),
        (b"a: [", f"is no YAML, faulty on line 1; {LINES}"),
        (b"secret: [\nsecret", f"is no YAML, faulty on line 2; {LINES}"),
        (b"a:\n  b: secret\n   c: 2\n", f"is no YAML, faulty on line 3 (mapping values are not allowed here); {LINES}"),
        (b"\xff", "is no text in UTF-8, or holds control characters; save it as UTF-8"),
        (ALIASES, "holds more than 100,000 values, or repeats so many by aliases; a run has hundreds"),
        (b"a: \x00", "is no text in UTF-8, or holds control characters; save it as UTF-8"),
    ],
)
def test_a_yaml_that_cannot_be_read_is_refused_without_its_content(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "file.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_yaml_looked_for_in_the_wrong_folder_is_told_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"a relative path starts in the folder where you are, {tmp_path}$"):
        read_yaml(Path("configs/run.yaml"))


def test_a_folder_is_held_by_one_process_and_a_second_is_told_by_whom(tmp_path: Path) -> None:
    hold = (
        "import sys; from pathlib import Path; from r2d.files import held_alone; from r2d.errors import TrainingError\n"
        "with held_alone(Path(sys.argv[1]), TrainingError): print('held', flush=True); input()"
    )
    folder = tmp_path / "stage"
    process = subprocess.Popen([sys.executable, "-c", hold, str(folder)], stdin=-1, stdout=-1, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        told = rf"stage: another run works here: process {process.pid} on {socket.gethostname()}, since 20.*Wait"
        with pytest.raises(TrainingError, match=told), held_alone(folder, TrainingError):
            pass
    finally:
        process.kill()
        process.wait()
    with held_alone(folder, TrainingError):
        pass
